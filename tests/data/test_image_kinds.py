"""Every kind of image: the ink stays visible, stands upright, and what was changed is named."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.data.convert.load import Load
from core.data.doctor.diagnosis import examine
from core.data.doctor.report import as_text, sections_of
from core.data.images import TURNS, decode, decode_image, read_image_file
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.prepare import main, prepare
from core.errors import UnreadableImage
from tests.support.formats import put

SIZE = (48, 20)
INK = np.zeros(SIZE[::-1], dtype=bool)
INK[4:9, 6:20] = True  # off the centre, so that every orientation shows it elsewhere
ORIENTATION = 0x0112


def encoded(image: Image.Image, form="PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def grey(ink: int, paper: int) -> np.ndarray:
    return np.where(INK, ink, paper).astype(np.uint8)


def photographed(orientation: int, form: str) -> bytes:
    """Black ink on white, stored turned so that `orientation` turns it back."""
    exif, image = Image.Exif(), Image.fromarray(grey(0, 255)).convert("RGB")
    exif[ORIENTATION] = orientation
    back = {6: TURNS[8], 8: TURNS[6]}.get(orientation, TURNS.get(orientation))
    options = {"lossless": True} if form == "WEBP" else {}
    return encoded(image.transpose(back) if back is not None else image, form, exif=exif, **options)


def contrast(content: bytes) -> int:
    """How far the mean of the ink is from the mean of its surroundings, in levels of grey."""
    levels = np.asarray(decode_image(content).convert("L")).astype(int)
    assert levels.shape == INK.shape
    return abs(levels[INK].mean() - levels[~INK].mean())


def with_alpha(mode: str, ink: int, hidden: int, alpha: int) -> bytes:
    """Ink of a level on a transparent ground, whose hidden level may be the ink's own."""
    if mode in ("P", "GIF"):
        image = Image.fromarray(grey(0, 1))
        image.putpalette([ink] * 3 + [hidden] * 3)
        return encoded(image, transparency=bytes([alpha, 0])) if mode == "P" else encoded(image, mode, transparency=1)
    image = Image.fromarray(grey(ink, hidden)).convert(mode)
    image.putalpha(Image.fromarray(grey(alpha, 0)))
    return encoded(image)


def in_mode(mode: str, pair: tuple[int, int]) -> bytes:
    image = Image.fromarray(grey(*pair))
    image = Image.merge("LAB", (image, *[Image.new("L", SIZE, 128)] * 2)) if mode == "LAB" else image.convert(mode)
    return encoded(image, "TIFF" if mode in ("CMYK", "LAB", "YCbCr") else "PNG")


def keyed(mode: str, ink: int, bits: int) -> bytes:
    """Ink beside one level that the file names as transparent."""
    levels, other = grey(ink, 77 if ink != 77 else 78), 77 if ink != 77 else 78
    if bits == 16:
        return encoded(Image.fromarray(levels.astype(np.uint16) * 257), transparency=other * 257)
    return encoded(Image.fromarray(levels).convert(mode), transparency=other if mode == "L" else (other,) * 3)


def numbers(kind: str, ink: int, paper: int) -> bytes:
    """Levels 0 to 255 as numbers of another size or range."""
    levels = grey(ink, paper).astype(np.float32)
    arrays = {
        "I;16": (levels * 257).astype(np.uint16),
        "12 of 16 bits": (levels * 16).astype(np.uint16),
        "8 of 16 bits": levels.astype(np.uint16),
        "I": (levels * 257).astype(np.int32),
        "32 bits": (levels * 8_000_000).astype(np.int32),
        "signed": (levels - 128).astype(np.int32) * 100,
        "shares": levels / 255,
        "F": levels,
        "large": levels * 1e30,
        "negative": levels / 255 - 0.5,
    }
    return encoded(Image.fromarray(arrays[kind]), "TIFF")


level = st.integers(0, 255)
pairs = st.tuples(level, level).filter(lambda pair: abs(pair[0] - pair[1]) >= 96)
opaque = st.builds(in_mode, st.sampled_from(("L", "RGB", "P", "CMYK", "YCbCr", "LAB", "RGBA", "LA")), pairs)
black_and_white = st.sampled_from(((0, 255), (255, 0))).map(lambda pair: encoded(Image.fromarray(grey(*pair)).convert("1")))
transparent = st.builds(with_alpha, st.sampled_from(("RGBA", "LA", "P", "GIF")), level, level, st.integers(220, 255))
key_colour = st.one_of(
    st.builds(keyed, st.sampled_from(("L", "RGB")), level, st.just(8)), st.builds(keyed, st.just("L"), level, st.just(16))
)
kinds = ("I;16", "12 of 16 bits", "8 of 16 bits", "I", "32 bits", "signed", "shares", "F", "large", "negative")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_of_several_frames_is_read_and_said(form):
    first, second = (Image.new("RGB", SIZE, colour) for colour in ("red", "blue"))
    several = decode(encoded(first, form, save_all=True, append_images=[second]))
    assert ("first of several frames" in several.changes) == (form != "MPO")  # whose second image is another view
    red, green, blue = several.image.getpixel((3, 3))
    assert red > 250 and green < 5 and blue < 5
    assert "first of several frames" not in decode(encoded(first, form)).changes


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.one_of(opaque, black_and_white, transparent, key_colour))
def test_the_ink_stays_visible_in_every_mode(content):
    assert contrast(content) >= 80


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(kinds), pairs)
def test_numbers_of_any_size_keep_their_contrast(kind, pair):
    assert contrast(numbers(kind, *pair)) >= 90
    if kind in ("I;16", "I", "shares", "F") and max(pair) > 16:
        np.testing.assert_allclose(np.asarray(decode_image(numbers(kind, *pair)).convert("L")), grey(*pair), atol=1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_exif_says(form, orientation):
    content = photographed(orientation, form)
    assert contrast(content) > 200
    as_stored = decode(content, turn=False)
    assert as_stored.orientation == orientation and as_stored.image.size == (SIZE if orientation < 5 else SIZE[::-1])
    assert decode(content).changes == (() if orientation == 1 else (f"turned as EXIF orientation {orientation} says",))


def test_ink_of_two_colours_is_blended_onto_neither():
    levels, alpha = np.where(np.arange(48) < 12, 0, 255) * np.ones((20, 1)), grey(255, 0)
    image = Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    image.putalpha(Image.fromarray(alpha))
    decoded = decode(encoded(image))
    assert decoded.changes == ("transparency blended onto grey",) and decoded.image.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("alpha", [0, 1, 255])
def test_alpha_that_is_the_same_everywhere_hides_nothing(alpha):
    image = Image.fromarray(grey(0, 255)).convert("RGBA")
    image.putalpha(alpha)
    assert contrast(encoded(image)) == 255


def test_damaged_exif_data_does_not_cost_the_image():
    content = encoded(Image.fromarray(grey(0, 255)), "JPEG", exif=b"Exif\0\0no tags at all")
    assert contrast(content) > 200 and decode(content).orientation == 1


def test_numbers_that_are_none_are_refused_or_clipped():
    levels = grey(0, 255).astype(np.float32)
    levels[0, :3] = np.nan, np.inf, -np.inf
    assert contrast(encoded(Image.fromarray(levels), "TIFF")) > 200
    with pytest.raises(UnreadableImage, match="no pixel is a finite number"):
        decode_image(encoded(Image.fromarray(np.full_like(levels, np.nan)), "TIFF"))


def test_one_rule_in_training_reading_and_the_doctor(tmp_path):
    """The same pixels wherever an image is read, and the doctor counts what differs from the file."""
    black = with_alpha("RGBA", 0, 0, 255)
    contents = [photographed(6, "JPEG"), black, numbers("shares", 0, 255), encoded(Image.fromarray(grey(0, 255)))]
    write_lmdb(tmp_path / "test" / "Mine", [(content, f"w{i}") for i, content in enumerate(contents)])
    stored = WordLmdb(tmp_path / "test" / "Mine")
    for index, content in enumerate(contents, start=1):
        path = put(tmp_path / f"{index}.img", content)
        assert stored.image(index).tobytes() == read_image_file(path).tobytes() == decode_image(content).tobytes()
    diagnosis = examine(tmp_path, [], workers=1)
    text = as_text(sections_of(diagnosis))
    assert "1 images are JPEG in mode RGB: turned as EXIF orientation 6 says (image-000000001)" in text
    assert "1 images are PNG in mode RGBA: transparency blended onto white (image-000000002)" in text
    assert "1 images are TIFF in mode F: scaled to 8 bits (image-000000003)" in text
    assert [index for index, _ in diagnosis.scans[0].image_facts()["odd"]] == [f"image-00000000{i}" for i in (1, 2, 3)]


def test_preparing_counts_what_is_changed(tmp_path, capsys):
    names = [f"{name}.png" for name in "abcd"]
    contents = [with_alpha("RGBA", 0, 0, 255)] * 2 + [photographed(8, "JPEG"), encoded(Image.fromarray(grey(0, 255)))]
    for name, content in zip(names, contents, strict=True):
        put(tmp_path / "src" / name, content)
    put(tmp_path / "src" / "labels.tsv", "".join(f"{name}\tword\n" for name in names))
    main([str(tmp_path / "src"), str(tmp_path / "out"), "--workers", "1"])
    printed = capsys.readouterr().out
    assert "changed         2  transparency blended onto white (first: labels.tsv:1 a.png)" in printed
    assert "changed         1  turned as EXIF orientation 8 says (first: labels.tsv:3 c.png)" in printed
    assert WordLmdb(tmp_path / "out").image(3).size == SIZE
    report = prepare([tmp_path / "src"], tmp_path / "as_stored", load=Load(exif="ignore"))
    assert report["changed"]["EXIF orientation 8 ignored"] == {"count": 1, "first": "labels.tsv:3 c.png"}
    assert WordLmdb(tmp_path / "as_stored").image(3).size == SIZE[::-1]  # stored without the tag: no reader turns it


def test_scenes_with_an_orientation_need_a_choice(tmp_path, capsys):
    """A box that only the turned image has: applied, it is the ink; ignored, another place; unsaid, an error."""
    put(tmp_path / "src" / "img_1.jpg", photographed(6, "JPEG"))
    put(tmp_path / "src" / "img_2.png", encoded(Image.fromarray(grey(0, 255))))
    for scene in (1, 2):
        put(tmp_path / "src" / f"gt_img_{scene}.txt", "7,5,19,5,19,8,7,8,INK\n")
    with pytest.raises(ValueError, match=r"1 of 2 scenes .*img_1.jpg, orientation 6.*--exif apply .*--exif ignore") as refused:
        prepare([tmp_path / "src"], tmp_path / "out")
    assert not (tmp_path / "out").exists() and "img_2" not in str(refused.value)
    prepare([tmp_path / "src"], tmp_path / "turned", load=Load(exif="apply"))
    assert all(np.asarray(WordLmdb(tmp_path / "turned").image(index)).mean() < 40 for index in (1, 2))
    report = prepare([tmp_path / "src"], tmp_path / "stored", load=Load(exif="ignore"))
    assert np.asarray(WordLmdb(tmp_path / "stored").image(1)).mean() > 60
    assert report["changed"] == {"EXIF orientation 6 ignored": {"count": 1, "first": "gt_img_1.txt:1"}}
