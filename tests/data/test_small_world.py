"""The small world: all characters and lengths, colour, the fonts at hand."""

import hashlib
import re
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from ablations.source import rendered_world
from core.charset import CHARSET_94
from core.config import gin_files
from core.data.benchmarks import FAMILIES
from core.data.micro import bare
from core.data.render import font_search
from core.data.render.fonts import font_path, fonts_in
from core.data.render.lexicon import WordList
from core.data.render.scene import LUMINANCE, coloured
from core.data.render.sheet import contact_sheet
from core.data.render.texts import RULES, Texts
from core.data.render.word import shaped
from core.errors import UserError

FONTS = ("DejaVuSans.ttf", "STIXGeneral.ttf")
FIXED = [f"page.Page.fonts = {FONTS}", f"synthetic/page.Page.fonts = {FONTS}"]
PINNED = "3ea0166f5d16e373"  # of images of both fonts; raise SCENES, TEXTS or RENDERER where code makes others


@pytest.fixture(scope="module")
def world():
    return rendered_world(FIXED, gin_files.world_of("small"))[0]


def test_the_same_seed_gives_the_same_bytes(world):
    words, digest = world.words()[0], hashlib.sha256()
    for family in (None, *FAMILIES):
        for index in range(3):
            image, label = world.draw("test" if family else "train", family, index, words)
            assert image.mode == "RGB" and image.height == 32 and 24 <= image.width <= 160
            digest.update(image.tobytes() + label.encode())
    assert digest.hexdigest()[:16] == PINNED
    assert world.draw_png("train", None, 7, words) == world.draw_png("train", None, 7, WordList(words))


def test_texts_have_all_characters_all_lengths_and_the_case_of_benchmarks(world):
    words, rng = world.words()[0], np.random.default_rng(0)
    labels = [world.choose(words, world.families[0], rng)[0] for _ in range(20000)]
    lengths = Counter(map(len, labels))
    assert {*"".join(labels)} == {*CHARSET_94} and {*range(1, 25)} <= {*lengths} <= {*range(1, 26)}
    shares = {length: count / len(labels) for length, count in lengths.items()}
    assert shares[3] == pytest.approx(0.16, abs=0.02) and shares[4] == pytest.approx(0.20, abs=0.02)
    assert sum(share for length, share in shares.items() if length > 12) == pytest.approx(0.02, abs=0.01)
    letters = [label for label in labels if label.isalpha()]
    assert sum(map(str.isupper, letters)) / len(letters) == pytest.approx(0.56, abs=0.03)
    assert sum(map(str.islower, letters)) / len(letters) == pytest.approx(0.18, abs=0.03)
    plain = sum(label.isdigit() for label in labels) / len(labels)
    assert plain == pytest.approx(0.04, abs=0.02)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_writes_short_printable_texts(rule):
    words, rng = WordList(["table", "of", "photograph"]), np.random.default_rng(1)
    for _ in range(500):
        text = RULES[rule](int(rng.integers(1, 25)), words, rng)
        assert text and {*text} <= {*CHARSET_94}


def test_blends_are_in_no_list_and_as_long_as_asked(world):
    words, rng = world.words()[0], np.random.default_rng(2)
    for length in [*range(1, 13)] * 40:
        text = RULES["blends"](length, words, rng)
        assert len(text) == max(2, length) and (length < 4 or text not in words.known)


def test_codes_and_names_keep_their_capitals(world):
    """Also in a family that writes words with a capital first letter."""
    only = [replace(world.texts, **(dict.fromkeys(RULES, 0.0) | {name: 1.0})) for name in ("codes", "names")]
    family = replace(world.families[0], upper=0.0, capitalised=1.0)
    words, rng = world.words()[0], np.random.default_rng(0)
    codes, names = ([replace(world, texts=texts).choose(words, family, rng)[0] for _ in range(100)] for texts in only)
    assert all(text == text.upper() for text in codes) and any(re.fullmatch(r"Mc[A-Z][a-z]+", text) for text in names)


def test_the_contact_sheet_is_in_colour_where_images_are(world, tmp_path):
    words = world.words()[0]
    image, label = world.draw("train", None, 3, words)
    for mode in ("RGB", "L"):
        contact_sheet([(image.convert(mode), label, "regular")], ["regular"], world.page, tmp_path / "sheet.png")
        assert Image.open(tmp_path / "sheet.png").mode == mode


def test_lengths_that_the_lexicon_lacks_are_made_of_two_words(world):
    only = replace(world.texts, lengths=(0,) * 22 + (1,), **dict.fromkeys(RULES, 0.0))
    words = WordList(["table", "twelveletter", "reading"])
    drawn = {only.draw(words, np.random.default_rng(seed)) for seed in range(60)}
    assert len(drawn) > 10 and max(map(len, drawn)) <= 24


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"numbers": -0.1}, "Texts.numbers: shares are not negative"),
        ({"numbers": 0.9}, "Texts.numbers, ...: shares are .*at most 1 in all"),
        ({"lengths": ()}, "Texts.lengths = .*expected 1 to 24 numbers"),
        ({"lengths": (0, 0)}, "Texts.lengths = "),
    ],
)
def test_shares_that_cannot_be_are_refused(world, changed, message):
    with pytest.raises(UserError, match=message):
        replace(world.texts, **changed)


def test_a_text_never_shows_a_word_kept_for_testing(world):
    only = replace(world, texts=replace(world.texts, lengths=(0, 1), **(dict.fromkeys(RULES, 0.0) | {"names": 1.0})))
    words, rng = world.words()[0], np.random.default_rng(0)
    texts = {bare(only.draw_text(words, rng)) for _ in range(3000)}
    assert len(texts) > 300 and not texts & only.kept
    everything = WordList([*words, *only.kept])  # as test images have them
    assert {bare(only.draw_text(everything, rng)) for _ in range(3000)} & only.kept


def test_a_crop_leaves_room_and_has_the_width_of_its_word(world):
    family = replace(world.families[0], perspective=0.0, noise=0.0)
    masks = {}
    for slack in ((0.0, 0.0), (0.24, 0.1)):
        page = replace(world.page, slack=slack, margin=0.0)
        drawn = [np.asarray(shaped("HALLO", family, page, np.random.default_rng(seed))) > 127 for seed in range(60)]
        masks[slack] = drawn
    rows, columns = ([np.flatnonzero(mask.any(axis))[0] / mask.shape[1 - axis] for mask in masks[0.24, 0.1]] for axis in (1, 0))
    assert 0.04 < np.mean(rows) < 0.2 and 0.02 < np.mean(columns) < 0.1
    assert max(np.flatnonzero(mask.any(1))[0] for mask in masks[0.0, 0.0]) <= 4
    widths = {word: np.mean([shaped(word, family, page, np.random.default_rng(seed)).width for seed in range(60)])
              for word in ("it", "reading", "professionalism")}  # fmt: skip
    assert 24 <= widths["it"] < 40 < 70 < widths["reading"] < 120 < widths["professionalism"] <= 160


def test_a_colour_keeps_its_grey_level():
    rng = np.random.default_rng(0)
    for level in (0.0, 30.0, 128.0, 255.0):
        colours = [coloured(level, 1.0, rng) for _ in range(50)]
        assert all(
            colour @ LUMINANCE == pytest.approx(level) and -1e-6 <= colour.min() <= colour.max() < 255.001 for colour in colours
        )
    assert np.ptp(coloured(128.0, 0.0, rng)) == 0


def test_the_world_is_what_its_fonts_texts_and_scenes_are(world, tmp_path):
    path = gin_files.world_of("small")
    one = rendered_world(FIXED, path)[1]
    for name in FONTS:
        shutil.copy(font_path(name), tmp_path)
    moved = tuple(str(tmp_path / name) for name in FONTS)
    assert rendered_world([f"page.Page.fonts = {moved}", FIXED[1]], path)[1] == one
    others = (
        "texts.Texts.codes = 0.05",
        "family.Family.texture = 5.0",
        "page.Page.oversampling = 1",
        f"page.Page.fonts = {FONTS[:1]}",
    )
    assert len({one, *(rendered_world([*FIXED, other], path)[1] for other in others)}) == 1 + len(others)
    assert world.materials().endswith("texts 3") and "scenes 2" in world.materials()
    assert world.names == FAMILIES and isinstance(world.texts, Texts)


def test_fonts_at_hand_are_those_that_draw_all_characters_each_style_once(tmp_path, monkeypatch):
    shipped = font_path("cmr10.ttf").parent
    usable = [name for name in fonts_in(shipped) if font_search.draws_all(shipped / name)]
    assert {"DejaVuSans.ttf", "STIXGeneral.ttf"} <= {name.rsplit("/", 1)[1] for name in usable}
    assert not {"cmr10.ttf", "cmsy10.ttf", "cmex10.ttf", "LastResortHE-Regular.ttf"} & {
        name.rsplit("/", 1)[1] for name in usable
    }
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(font_path("DejaVuSans.ttf"), tmp_path / folder / f"{folder}.ttf")
    content = bytearray(font_path("DejaVuSans.ttf").read_bytes())
    content[-1] ^= 1
    (tmp_path / "two" / "other.ttf").write_bytes(content)
    (tmp_path / "two" / "broken.ttf").write_text("no font")
    renamed = TTFont(font_path("DejaVuSans.ttf"))
    for record in renamed["name"].names:
        if record.nameID in (1, 16):  # family, and the same in newer files
            record.string = "Other"
    renamed.save(tmp_path / "two" / "renamed.ttf")
    found = {}
    for name, folders in (("none", ()), ("two", (str(tmp_path), str(tmp_path / "missing")))):
        monkeypatch.setattr(font_search, "FOLDERS", folders)
        monkeypatch.setattr(font_search, "entry_points", lambda group: [])
        font_search.fonts_at_hand.cache_clear()
        font_search.every_font.cache_clear()
        found[name] = font_search.fonts_at_hand()
        drawn = Counter(found[name][file][0] for file in font_search.every_font())
        assert max(drawn.values()) < 1.6 * min(drawn.values())  # families, not files, are drawn about equally often
    font_search.fonts_at_hand.cache_clear()
    font_search.every_font.cache_clear()
    assert len(found["none"]) == len(usable)
    assert {family for family, _ in found["two"].values()} - {family for family, _ in found["none"].values()} == {"Other"}
    assert len(found["two"]) == len(usable) + 1  # not the other bytes of a style that is there
