"""Worlds in another script: words of a file, drawn, mistaken and identified by their letters; tables that are made on them."""

import pytest

from ablations import plan as planning
from ablations.source import data_source, rendered_world
from core.charset import read_charset
from core.data.lmdb import ImageLmdb
from core.data.micro import render_world
from core.errors import ConfigError, UserError
from core.files import ROOT
from tests.support.plans import SETTINGS

WORLD = "ablations/micro/cyrillic.gin"
CYRILLIC = set(read_charset(ROOT / "ablations/charsets/cyrillic.txt"))
SMALL = [f"micro.World.{name} = {size}" for name, size in (("train", 40), ("val", 10), ("test", 6), ("mislabelled", 1.0))]


@pytest.mark.parametrize("path", [WORLD, "ablations/small/cyrillic.gin"])
def test_words_images_and_wrong_labels_are_of_the_script(path, tmp_path):
    world, _ = rendered_world(SMALL, path)
    render_world(world, tmp_path, 1, ["train/real", "val", "test"])
    stored = [label for part in ("train/real", "val/micro", "test/rotated") for label in labels(tmp_path / part)]
    assert len(stored) == 56 and all(set(label) <= CYRILLIC for label in stored)
    assert sum(any("а" <= letter.lower() <= "я" for letter in label) for label in stored) > 40
    right = (tmp_path / "labels/cleaned/rotated.csv").read_text().splitlines()[1:]
    wrong = labels(tmp_path / "test/rotated")
    assert all(line.partition(",")[2] != label for line, label in zip(right, wrong, strict=True))


def labels(folder):
    database = ImageLmdb(folder)
    return [sample.label.decode() for sample in database.raw_samples(1, database.stored, ["label"])]


def test_the_words_are_part_of_the_world_and_their_file_is_not(tmp_path):
    identity = rendered_world(path=WORLD)[1]
    words = (ROOT / "ablations/micro/cyrillic.txt").read_text()
    moved, other = tmp_path / "moved.txt", tmp_path / "other.txt"
    moved.write_text(words)
    other.write_text(words.replace("хлеб", "хлебы"))
    assert rendered_world([f"micro.World.lexicon = {str(moved)!r}"], WORLD)[1] == identity
    assert rendered_world([f"micro.World.lexicon = {str(other)!r}"], WORLD)[1] != identity


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("page.Page.fonts = ('DejaVuSans.ttf', 'cmss10.ttf')", "cyrillic.txt: cmss10.ttf cannot draw .*take the font out of"),
        ("synthetic/page.Page.fonts = ('cmr10.ttf',)", "cyrillic.txt: cmr10.ttf cannot draw"),
        ("micro.World.lexicon_size = 5000", "lexicon of 5000 words of 3-12 letters: only 727 exist in .*cyrillic.txt"),
        ("micro.World.lexicon = 'no/such.txt'", "no/such.txt: no such word list"),
    ],
)
def test_words_that_cannot_be_had_or_drawn_are_refused(binding, message):
    with pytest.raises(UserError, match=message):
        rendered_world([binding], WORLD)


def test_a_table_on_a_world_of_its_own_is_planned_where_it_is_named(tmp_path):
    settings = {**SETTINGS, "results": str(tmp_path)}
    common = planning.tables_for(["report"])
    assert "table_VI" in common and "cyrillic" not in common
    for target in ("cyrillic", "results/tables/cyrillic.wide.csv", "results/figures/forest_cyrillic.png"):
        assert planning.tables_for([target]) == ["cyrillic"]
    for target in ("all", "figures", "report", "claims"):
        assert set(planning.tables_for(["cyrillic", target])) == {"cyrillic", *common}
    assert planning.tables_for(["finetune", "figure_6"]) == ["finetune", "table_III"]
    assert planning.tables_for(["finetune", "results/figures/forest_table_VI.png"]) == ["finetune", "table_VI"]
    plan, other = planning.make(settings, ["cyrillic"]), planning.make(settings, ["table_VI"])
    assert plan.source.world_file == WORLD and plan.data != other.data and len(plan.rows) == 4
    assert planning.make({**settings, "scale": "small"}, ["cyrillic"]).source.world_file == "ablations/small/cyrillic.gin"
    with pytest.raises(ConfigError, match="table_VI.*cyrillic are of different words: ask for one of them at a time"):
        planning.make(settings, targets=["cyrillic", "table_VI"])


def test_a_scale_that_lacks_a_world_is_named(tmp_path):
    with pytest.raises(ConfigError, match="scale: small has no ablations/{scale}/ours.gin .ablations/small/ours.gin is not"):
        data_source(None, "small", tmp_path, world="ablations/{scale}/ours.gin")
