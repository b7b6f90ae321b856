"""What a rendered world is: every value that decides a pixel is part of its identity, and where things lie is not."""

import re
from dataclasses import fields, replace

import pytest

from ablations.source import data_source, rendered_world
from core import config, moved
from core.data.benchmarks import FAMILIES, MICRO_WORLD
from core.data.render.family import Family
from core.data.render.fonts import font_path
from core.data.render.page import Page
from core.experiment.identity import counts, world_identity
from core.files import ROOT, text_digest

SHIPPED, IDENTITY = rendered_world()
PINNED = "c4cbf06c"
FONTS = "page.Page.fonts = {!r}".format
BY_OTHER_TESTS = {"families", "lexicon", "page", "fonts", "synthetic", "synthetic_page"}


def identity(*bindings):
    return rendered_world(bindings)[1]


def another(value):
    """Another value of the same kind that nearly every field takes."""
    if isinstance(value, str):
        return value + "_too"
    if isinstance(value, tuple):
        return tuple(map(another, value))
    return value + 1 if isinstance(value, int) else value * 0.5 if value else 0.25


def changes(scoped, built):
    """A binding for each field of an object, to another value."""
    for field in fields(built):
        if field.name not in BY_OTHER_TESTS:
            value = (24, 160) if field.name == "widths" else another(getattr(built, field.name))
            yield f"{scoped}.{field.name} = {max(value, 1.5) if field.name == 'downscale' else value!r}"


def test_every_value_of_the_world_and_its_page_is_part_of_it():
    bindings = [*changes("micro.World", SHIPPED), *changes("page.Page", SHIPPED.page)]
    assert len(bindings) == len(fields(SHIPPED)) + len(fields(Page)) - len(BY_OTHER_TESTS)
    assert len({IDENTITY, *map(identity, bindings)}) == 1 + len(bindings)


@pytest.mark.parametrize("number", range(len(SHIPPED.families)), ids=SHIPPED.names)
def test_every_value_of_a_family_is_part_of_it(number):
    name = SHIPPED.names[number]
    bindings = list(changes(f"{name}/family.Family", SHIPPED.families[number]))
    if name == "regular":
        bindings.remove("regular/family.Family.name = 'regular_too'")  # no world is without that family
    else:
        assert len(bindings) == len(fields(Family))
    assert len({IDENTITY, *map(identity, bindings)}) == 1 + len(bindings)


@pytest.mark.parametrize(
    ("name", "idle"),
    [
        *((name, 0.0) for name in ("upper", "capitalised", "numbers", "signs", "arc")),
        *((name, 0.5) for name in ("least_arc", "least_patches")),
        ("patches", 0),
    ],
)
def test_a_value_that_came_later_counts_where_it_draws_something(name, idle):
    """Worlds from before it was a value keep their identity."""
    path = f"rotated/core.data.render.family.Family.{name}"
    assert not counts(path, idle, ()) and counts(path, 1.0, ()) and counts(path, idle + 0.25, ())


def test_a_synthetic_set_of_its_own_is_part_of_it_and_changes_no_other_set():
    without = ("micro.World.synthetic = None", "micro.World.synthetic_page = None")
    world, fonts = rendered_world(without)[0], "synthetic/page.Page.fonts = ('cmr10.ttf',)"
    others = [identity(*without[:1]), identity(*without), identity("synthetic/family.Family.blur = 1.0"), identity(fonts)]
    assert len({IDENTITY, *others}) == 5
    words = SHIPPED.words()[0]
    for stage, family in (("synth", "regular"), ("train", None), ("test", "rotated")):
        ours, theirs = (each.draw(stage, family, 3, words)[0].tobytes() for each in (world, SHIPPED))
        assert (ours == theirs) == (stage != "synth")


def test_a_wrong_character_is_of_the_same_kind():
    world, _ = rendered_world(["micro.World.mislabelled = 1.0"])
    for word in ("table", "TABLE", "2019"):
        wrong = {world.stored_label("regular", index, word) for index in range(50)}
        assert all(sum(a != b for a, b in zip(word, label, strict=True)) == 1 for label in wrong)
        assert {(label.isdigit(), label.islower()) for label in wrong} == {(word.isdigit(), word.islower())}


def test_which_families_there_are_and_their_order_are_part_of_it():
    backwards, fewer = ([f"@{name}/family.Family()" for name in names] for names in (SHIPPED.names[::-1], SHIPPED.names[:-1]))
    bindings = [f"micro.World.families = ({', '.join(names)})" for names in (backwards, fewer)]
    assert len({IDENTITY, *map(identity, bindings)}) == 3


def test_fonts_count_by_what_is_in_them_and_not_by_where_they_lie(tmp_path):
    copies = [tmp_path / f"{number}.ttf" for number in range(len(SHIPPED.page.fonts))]
    for copy, name in zip(copies, SHIPPED.page.fonts, strict=True):
        copy.write_bytes(font_path(name).read_bytes())
    names = tuple(map(str, copies))
    assert identity(FONTS(names)) == IDENTITY
    assert identity(FONTS(names[::-1])) != IDENTITY != identity(FONTS(names[:-1]))
    content = bytearray(copies[3].read_bytes())
    content[len(content) // 2] ^= 1
    copies[3].write_bytes(content)
    assert identity(FONTS(names)) != IDENTITY


def test_a_word_of_the_lexicon_and_the_renderer_are_part_of_it(monkeypatch):
    words = SHIPPED.words()
    for number in (0, 1):
        other = [list(part) for part in words]
        other[number][7] = "zzzz"
        with monkeypatch.context() as patched:
            patched.setattr("core.data.micro.split_unseen", lambda *_, other=other: tuple(other))
            assert identity() != IDENTITY
    monkeypatch.setattr("core.data.micro.RENDERER", 2)
    assert identity() != IDENTITY


def test_the_values_of_the_micro_world_keep_their_name():
    """If this fails, every run at micro scale has a new name: a new value belongs in CAME_LATER (core.experiment.identity)."""
    rendered_world()
    values = world_identity(config.operative(), "")
    assert text_digest(values) == PINNED, values


def test_a_module_that_moves_renames_no_world(monkeypatch):
    rendered_world()
    text, materials = config.operative(), SHIPPED.materials()
    assert world_identity(text, materials) == IDENTITY
    for name in ("core.data.micro", "core.data.render.family"):
        package, module = name.rsplit(".", 1)
        there = text.replace(f"from {package} import {module}\n", f"from core.elsewhere import other as {module}\n")
        assert there != text and world_identity(there, materials) != IDENTITY
        monkeypatch.setitem(moved.MOVED, name, "core.elsewhere.other")
        assert world_identity(there, materials) == IDENTITY
        monkeypatch.delitem(moved.MOVED, name)


def test_comments_order_and_names_of_modules_decide_nothing(tmp_path):
    """The same values in another file: without comments, its paragraphs turned round, a module under another name."""
    bare = re.sub("^#.*\n|#.*", "", (ROOT / MICRO_WORLD).read_text(), flags=re.MULTILINE)
    first, imports, *paragraphs = re.split("\n{2,}", bare)
    text = "\n\n".join([first, imports, *reversed(paragraphs)])
    text = text.replace("import family\n", "import family as kind\n").replace("family.Family", "kind.Family")
    (tmp_path / "world.gin").write_text(text)
    config.parse(tmp_path / "world.gin")
    world = config.construct(type(SHIPPED), "world.gin")
    assert world == SHIPPED and world_identity(config.operative(), world.materials()) == IDENTITY


def test_the_folder_of_the_world_is_named_after_it(tmp_path):
    source = data_source(None, "micro", tmp_path)
    assert source.world_identity == source.test_digest == IDENTITY and source.root.name == f"micro-{text_digest(IDENTITY)}"


def test_the_tables_know_the_families():
    assert SHIPPED.names == FAMILIES


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("rotated/family.Family.name = 'regular'", "expected different names, 'regular' among them"),
        ("regular/family.Family.name = 'easy'", "expected different names, 'regular' among them"),
        ("rotated/family.Family.contrast = 200.0", r"Family.contrast = 200.0 of family 'rotated': it lies in \[0, 127\]"),
        ("family.Family.least_blur = 1.5", r"Family.least_blur = 1.5 of family 'regular': it lies in \[0, 1\]"),
        ("family.Family.noise = -1.0", "Family.noise = -1.0 of family 'regular'"),
        ("family.Family.arc = 200.0", r"Family.arc = 200.0 of family 'regular': it lies in \[0, 180\]"),
        ("family.Family.signs = 2.0", r"Family.signs = 2.0 of family 'regular': it lies in \[0, 1\]"),
        ("family.Family.upper = 1.0\nfamily.Family.capitalised = 0.5", "of family 'regular': more than all words"),
        ("micro.World.max_letters = 25", "World.max_letters = 25: expected 1 <= min_letters <= max_letters <= 24"),
        ("page.Page.margin = 0.5", "Page.margin = 0.5"),
        ("page.Page.fonts = ()", "expected one or more font files"),
        ("page.Page.width = 0", "Page.width = 0: take 1 or more"),
    ],
)
def test_values_that_draw_no_word_are_refused(binding, message):
    with pytest.raises(config.ConfigError, match=message):
        rendered_world([binding])


def test_a_family_of_test_sets_alone_changes_no_training_image():
    """It makes a benchmark more, and the training mixture, drawn by the trained families' numbers, stays as it was."""
    shown = replace(SHIPPED, families=(*SHIPPED.families, replace(SHIPPED.families[0], name="shadowed", trained=False)))
    for index in range(40):
        drawn = (world.draw("train", None, index, ["table", "reading"]) for world in (SHIPPED, shown))
        (image, label), (other, other_label) = drawn
        assert label == other_label and image.tobytes() == other.tobytes()
    assert shown.names[-1] == "shadowed"
