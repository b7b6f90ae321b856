"""Photographs beside rendered words: columns of every table, a training set, and a table of their own."""

import shutil

import pandas as pd
import pytest
import yaml

from ablations import plan
from ablations.photos import ADDED
from ablations.plan.write import write_plan
from core import config
from core.data.benchmarks import FAMILIES, MICRO_WORLD
from core.data.lmdb import write_lmdb
from core.data.micro import World
from core.errors import ConfigError, DataError
from core.files import write_json
from core.run_files import EVALUATIONS_LIST
from reports.columns import columns_of
from reports.layout import read_layout
from tests.support.checkout import copied_checkout, jobs_of, snakemake

SETS = {"test/IIIT5k": 6, "test/SVT": 5, "train/real/IIIT5k": 12, "train/real/SVT": 8}
SETTINGS = {"scale": "smoke", "data": None, "seeds": [0], "replicates": 1}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One folder of results for all plans, which read each row once."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder in the layout of photographs; its words are rendered, which nothing here depends on."""
    root, world = tmp_path_factory.mktemp("photos"), config.build(World, MICRO_WORLD)
    words, _ = world.words()
    for part, count in SETS.items():
        write_lmdb(root / part, [world.draw_png("pretrain", None, len(part) * 100 + index, words) for index in range(count)])
    return root


def planned(results, photos, trained=False, tables=("photographs",), **others):
    return plan.make({**SETTINGS, "results": str(results), "photos": photos and str(photos), "photos_train": trained} | others,
                     list(tables))  # fmt: skip


def test_the_table_of_photographs_has_three_runs_named_by_content(tmp_path, results, photos):
    made = planned(results, photos, True)
    rows = {row.name: row for row in made.tables["photographs"]}
    assert [*rows] == ["rendered", "real", "both"] and len({row.run for row in rows.values()}) == 3
    assert made.source.train_images(("photographs",)) == 20 and made.study.startswith("smoke-photos-")
    shutil.copytree(photos, tmp_path / "elsewhere")
    moved = {row.name: row for row in planned(results, tmp_path / "elsewhere", True).tables["photographs"]}
    assert {name: (row.run, row.evaluation) for name, row in moved.items()} == {
        name: (row.run, row.evaluation) for name, row in rows.items()
    }
    shutil.rmtree(tmp_path / "elsewhere/train/real/SVT")
    other = {row.name: row.run for row in planned(results, tmp_path / "elsewhere", True).tables["photographs"]}
    assert [name for name in rows if other[name] != rows[name].run] == ["real", "both"]


def test_photographs_that_are_only_read_train_nothing_again(results, photos):
    without, beside = (planned(results, given, tables=("table_X",)) for given in (None, photos))
    (one,), (two,) = (made.tables["table_X"][:1] for made in (without, beside))
    assert one.run == two.run and one.evaluation != two.evaluation
    assert without.trained_on(one.run) == beside.trained_on(two.run) and without.test_root == without.data
    assert set(beside.source.benchmarks) == {*FAMILIES, "IIIT5k", "SVT"}


def test_a_plan_beside_a_workflow_at_work_changes_nothing_of_its(tmp_path, photos):
    """Not its seeds, its list of evaluations or its link to photographs; what is missing is written."""
    mine = planned(tmp_path, photos, True, ("table_X",), seeds=[0, 1])
    write_plan(mine)
    write_json(mine.seed_folder(mine.rows[0].run, 0) / EVALUATIONS_LIST, {})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file() and "cache" not in path.parts}
    learned = mine.data / "train/photographs"
    other = planned(tmp_path, None, tables=("table_X", "table_XI"))
    write_plan(other, shared=True)
    write_plan(planned(tmp_path, photos, True, ("table_X",)), shared=True)
    assert learned.is_symlink() and before == {path: path.read_bytes() for path in before}
    assert (other.tables_folder / "table_XI.runs.csv").is_file()
    write_plan(other)
    assert not learned.is_symlink()


def test_links_lead_to_all_test_sets_and_go_with_the_setting(results, photos):
    made = planned(results, photos, True)
    write_plan(made)
    links = {path.name: path for path in (made.test_root / "test").iterdir()}
    assert links.keys() == {*FAMILIES, "IIIT5k", "SVT"} and links["SVT"].resolve() == photos / "test/SVT"
    assert links["regular"].resolve() == (made.data / "test/regular").resolve()
    assert (made.data / "train/photographs").resolve() == photos / "train"
    marks = {path for run in made.rows_by_run for path in made.trained_on(run)} | set(made.data_inputs.test_inputs)
    assert {path.is_file() for path in marks if path.suffix == ".json"} == {True}
    write_plan(planned(results, photos, tables=("table_X",)))
    assert not (made.data / "train/photographs").is_symlink()


def test_columns_of_photographs_stand_beside_and_enter_no_mean():
    evaluated = [*FAMILIES, "IIIT5k", "SVT"]
    columns = columns_of(read_layout("table_X"), True, evaluated)
    assert [(column.heading, column.published) for column in columns[-2:]] == [
        ("IIIT5k (photographs)", False),
        ("SVT (photographs)", False),
    ]
    assert [column.benchmarks for column in columns_of(read_layout("photographs"), True, evaluated)] == [("IIIT5k",), ("SVT",)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"photos": "nowhere"}, "photos: nowhere does not exist; it should hold test/<benchmark>/"),
        ({"photos_train": True, "photos": None}, f"photos_train: yes, but there are no photographs; .*{ADDED}"),
        ({"data": "somewhere"}, "goes with rendered words; put its sets below somewhere/test instead"),
        ({"scale": "paper"}, "goes with rendered words; put its sets into the folder of data instead"),
        ({}, f"photographs/table.yaml: this table is for photographs: add {ADDED}"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(results, photos, changed, message):
    with pytest.raises(ConfigError, match=message):
        settings = {**SETTINGS, "results": str(results), "photos": str(photos), "photos_train": False}
        plan.make(settings | changed, ["photographs"])


def test_folders_that_lack_a_part_are_refused(tmp_path, results, photos):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty/test: no benchmark here"):
        planned(results, tmp_path / "empty")
    shutil.copytree(photos / "test", tmp_path / "untrained/test")
    with pytest.raises(ConfigError, match="photos_train: yes, but .*untrained/train holds no data.mdb"):
        planned(results, tmp_path / "untrained", True)
    shutil.copytree(photos / "test/SVT", tmp_path / "untrained/test/street")
    with pytest.raises(ConfigError, match="untrained/test/street has the name of a family of rendered words"):
        planned(results, tmp_path / "untrained")


def test_from_photographs_to_their_table(tmp_path, photos):
    """The whole command, at smoke scale."""
    copy = copied_checkout(tmp_path, ("photographs",))
    (copy / "ablations/claims.yaml").write_text(yaml.safe_dump({"title": "None", "claims": []}))
    for row in ("both",):
        (copy / f"ablations/photographs/{row}.gin").unlink()
    layout = copy / "ablations/photographs/table.yaml"
    layout.write_text(layout.read_text().replace("  - both\n", "") + "figures: []\n")
    asked = ("photographs", "--config", "scale=smoke", f"photos={photos}", "photos_train=yes", "replicates=1", "tracking=off")
    done = snakemake(copy, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs_of(done.stdout + done.stderr)["train"] == 2
    (table,) = (copy / "results/tables").glob("smoke-photos-????/photographs.csv")
    cells = pd.read_csv(table)
    assert set(zip(cells.column, cells.n, strict=True)) == {("IIIT5K", 6), ("SVT", 5)} and set(cells.row) == {
        "rendered",
        "real",
    }
    again = snakemake(copy, *asked)
    assert "Nothing to be done" in again.stdout + again.stderr
