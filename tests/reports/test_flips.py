import base64
import io

import pandas as pd
import pytest
from PIL import Image

from core.data.lmdb import write_lmdb
from core.data.sets import fingerprint
from core.errors import UnreadableImage
from reports.build import build
from reports.collect import flips as collected
from reports.collect.flips import data_uri, flips_of, stored_images
from tests.support.results import write_results, write_run
from tests.support.tables import coloured, readings


def encoded(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


def decoded(uri: str) -> Image.Image:
    assert uri.startswith("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_flips_by_hand():
    flips = flips_of(readings([1, 0, 1, 0, 1, 1]), readings([0, 1, 1, 0, 0, 1], wrong="other"), coloured, 5)
    assert (flips.n, flips.won, flips.lost) == (6, 2, 1)
    assert [(flip.index, flip.ours, flip.baseline) for flip in flips.won_shown] == [
        (1, "word1", "other"),
        (5, "word5", "other"),
    ]
    assert [(flip.index, flip.label, flip.ours, flip.baseline) for flip in flips.lost_shown] == [(2, "word2", "wrong", "word2")]
    swapped = flips_of(readings([0, 1, 1, 0, 0, 1]), readings([1, 0, 1, 0, 1, 1]), coloured, 5)
    assert (swapped.won, swapped.lost) == (1, 2)


def test_flips_of_a_table_are_those_of_its_rows_and_of_the_first_seed(tmp_path, monkeypatch):
    """Image 4 is won and image 3 lost; another seed says otherwise."""
    baseline, row = "image0-text6", "image6-text6"
    write_results(tmp_path, "table_VI", {baseline: [1, 1, 1, 0], row: [1, 1, 0, 1]}, seeds="0 1")
    for number in (0, 1):
        write_run(tmp_path, f"micro-{number:08d}", [0, 0, 0, 0], seed=1)
    monkeypatch.setattr(collected, "stored_images", lambda *_: coloured)
    found = collected.flips_of_table(build("table_VI", tmp_path, tmp_path / "tables"))[row, "IC15"]
    assert (found.n, found.won, found.lost) == (4, 1, 1)
    assert [flip.index for flip in found.won_shown] == [4] and [flip.index for flip in found.lost_shown] == [3]


def test_the_choice_looks_at_no_reading():
    """What is shown of few flips is shown of more flips too, as long as it is among the first of the shuffle."""
    nothing, everything = readings([0] * 60), readings([1] * 60)
    some = [flips_of(everything, nothing, coloured, limit).won_shown for limit in (3, 12, 60)]
    indices = [[flip.index for flip in shown] for shown in some]
    assert [len(shown) for shown in some] == [3, 12, 60]
    assert set(indices[0]) < set(indices[1]) and all(found == sorted(found) for found in indices)
    assert indices[1] != list(range(1, 13))
    kept = [int(number + 1 in indices[1]) for number in range(60)]
    assert [flip.index for flip in flips_of(readings(kept), nothing, coloured, 12).won_shown] == indices[1]


def test_rows_of_different_images_are_refused():
    ours = readings([1, 0, 1])
    with pytest.raises(ValueError, match="2 of 3 and 2 images are in both rows"):
        flips_of(ours, ours.head(2), coloured, 1)
    with pytest.raises(ValueError, match="give the readings of one seed"):
        flips_of(pd.concat([ours, ours]), pd.concat([ours, ours]), coloured, 1)


def test_thumbnails_are_small_and_keep_their_shape():
    assert decoded(data_uri(Image.new("RGB", (512, 128)))).size == (128, 32)
    assert decoded(data_uri(Image.new("RGB", (64, 16)))).size == (64, 16)
    red, green, blue = decoded(data_uri(coloured("", ".", 10))).convert("RGB").getpixel((60, 16))
    assert (abs(red - 200), abs(green - 100), abs(blue - 50)) < (12, 12, 12)


def test_images_come_from_the_lmdb(tmp_path):
    pictures = [encoded(Image.new("RGB", (40, 20), (80 * number, 0, 0))) for number in range(3)]
    write_lmdb(tmp_path / "test" / "incidental", [(pictures[0], "a"), (pictures[1], "b"), (b"no image", "c")])
    write_lmdb(tmp_path / "test" / "twice" / "one", [(pictures[0], "a")])
    write_lmdb(tmp_path / "test" / "twice" / "two", [(pictures[0], "a")])
    images = stored_images(tmp_path)
    assert images("incidental", ".", 2).getpixel((0, 0)) == (80, 0, 0)
    flips = flips_of(readings([1] * 4), readings([0] * 4), images, 4)
    assert [bool(flip.thumbnail) for flip in flips.won_shown] == [True, True, False, False]
    assert flips.won_shown[3].unseen == "no such key" and "UnidentifiedImageError" in flips.won_shown[2].unseen
    both = readings([1, 1]).assign(benchmark=["twice", "gone"])
    unseen = {flip.benchmark: flip.unseen for flip in flips_of(both, both.assign(correct=False), images, 4).won_shown}
    assert "LMDB of twice cannot be opened" in unseen["twice"] and "gone is not in the data" in unseen["gone"]
    assert not [text for text in unseen.values() if str(tmp_path) in text]


def test_an_image_is_looked_up_in_its_own_lmdb(tmp_path):
    reds = [encoded(Image.new("RGB", (40, 20), (red, 0, 0))) for red in (80, 160)]
    for name, picture in zip(("one", "two"), reds, strict=True):
        write_lmdb(tmp_path / "test" / "twice" / name, [(picture, "a")])
    images = stored_images(tmp_path)
    assert [images("twice", name, 1).getpixel((0, 0))[0] for name in ("one", "two")] == [80, 160]
    write_lmdb(tmp_path / "test" / "nested" / "deep" / "one", [(reds[0], "a")])  # which earlier predictions call "."
    images = stored_images(tmp_path)
    assert [images("nested", name, 1).getpixel((0, 0))[0] for name in (".", "deep/one")] == [80, 80]


def test_no_image_is_shown_that_was_not_read(tmp_path):
    """A test set replaced in place: its images are not those of the predictions."""
    folder = tmp_path / "test" / "incidental"
    write_lmdb(folder, [(encoded(Image.new("RGB", (40, 20))), "a")])
    read = {"incidental": {"fingerprint": fingerprint(folder)}}
    assert stored_images(tmp_path, read)("incidental", ".", 1).size == (40, 20)
    write_lmdb(folder, [(encoded(Image.new("RGB", (44, 20))), "b")])
    with pytest.raises(UnreadableImage, match="incidental holds other images now than were read"):
        stored_images(tmp_path, read)("incidental", ".", 1)
