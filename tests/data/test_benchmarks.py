"""Which folder is which benchmark, in a data root laid out as PARSeq's and CLIP4STR's archives: plan, evaluation and tables."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from ablations import plan as planning
from ablations.column_folders import fillings, strangers
from ablations.page import data_lines, lmdbs_grid, not_run
from ablations.plan.write import write_plan
from ablations.source import data_source
from core.data.benchmarks import PUBLISHED_SIZES, absent_message, benchmarks_of, canonical, count, distinct, unknown
from core.data.doctor.diagnosis import examine
from core.data.lmdb import write_lmdb
from core.data.sets import train_roots
from core.errors import DataError
from core.evaluate.run import evaluate
from core.experiment.experiment import load
from reports.build import build
from reports.collect.flips import stored_images

RELEASED = ("IIIT5k", "SVT", "IC13_857", "IC13_1015", "IC13_1095", "IC15_1811", "IC15_2077", "SVTP", "CUTE80", "ArT")
RELEASED += ("COCOv1.4", "Uber", "HOST", "WOST", "OCTT")


def samples(count: int) -> list[tuple[bytes, str]]:
    pictures = []
    for seed in range(count):
        stream = io.BytesIO()
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 60, 3), dtype=np.uint8)).save(stream, "PNG")
        pictures.append((stream.getvalue(), f"word{seed}"))
    return pictures


def fill(data: Path, names=RELEASED, images: int = 2) -> Path:
    """A data root with test/<name> for each name."""
    for name in names:
        write_lmdb(data / "test" / name, samples(images))
    return data


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The released layout: str_dataset with train/real and train/synth, str_dataset_ub beside it, linked as train/rbu."""
    root = tmp_path_factory.mktemp("dataset")
    data = fill(root / "str_dataset")
    for folder in (
        "str_dataset/train/real/SVT",
        "str_dataset/train/synth/MJ",
        "str_dataset_ub/train/real/union",
        "str_dataset/val/SVT",
    ):
        write_lmdb(root / folder, samples(2))
    (data / "train" / "rbu").symlink_to("../../str_dataset_ub/train")
    return data


@pytest.mark.parametrize(
    ("folder", "stored", "name"),
    [
        ("IIIT5k", 5, "IIIT5k"),
        ("iiit5k_3000", 3000, "IIIT5k"),
        ("IIIT-5K", 3000, "IIIT5k"),
        ("COCOv1.4", 9896, "COCO"),
        ("coco text", 1, "COCO"),
        ("CUTE", 288, "CUTE80"),
        ("Uber-Text", 2, "Uber"),
        ("IC15_1811", 2077, "IC15_1811"),  # an exact name is what it says; the plan and the doctor show its size
        ("ic15-2077", 1, "IC15_2077"),
        ("ICDAR2013_857", 1, "IC13_857"),
        ("IC13", 1015, "IC13_1015"),
        ("ICDAR2015", 1811, "IC15_1811"),
        ("IC15", 2000, "IC15"),  # of no published size: a benchmark of its own
        ("IC15", None, "IC15"),  # cannot be opened
        ("regular", 600, "regular"),
        ("SVTP2", 645, "SVTP2"),
    ],
)
def test_a_folder_is_the_benchmark_it_is_called_or_as_large_as(folder, stored, name):
    assert canonical(folder, lambda: stored) == name


def test_only_the_name_of_a_family_is_counted():
    for folder in ("IC15_2077", "COCOv1.4", "mine"):
        canonical(folder, lambda: pytest.fail("counted"))


def test_two_folders_may_not_hold_one_benchmark(tmp_path):
    fill(tmp_path, ["COCO", "COCOv1.4", "SVT"])
    message = "test: COCO and COCOv1.4 are both COCO: keep one below test/ and move the other out, or rename it"
    for read in (benchmarks_of, lambda data: data_source(str(data), "smoke", tmp_path)):
        with pytest.raises(DataError, match=message):
            read(tmp_path)
    notes = {name: size.note for name, size in examine(tmp_path, [], workers=1).sizes.items()}
    assert notes["test/COCO"] == notes["test/COCOv1.4"] and "are both COCO" in notes["test/COCO"]


def test_unknown_folders_are_read_and_said_and_hidden_ones_are_not(tmp_path):
    fill(tmp_path, ["mine", "COCO_Txt", "IC15", ".trash"], images=3)
    assert list(benchmarks_of(tmp_path)) == ["COCO_Txt", "IC15", "mine"]
    source = data_source(str(tmp_path), "smoke", tmp_path)
    said = strangers({}, source)
    assert said == [unknown(name, 3) for name in ("COCO_Txt", "IC15", "mine")]
    assert said[0].startswith("test/COCO_Txt (3 images) is not a benchmark of the paper and is read under its own name")
    assert said[0].endswith("; the closest name is COCO") and said[2].endswith("its own name")
    assert "by size it would be one of IC15_1811 1,811 and IC15_2077 2,077: rename it" in said[1]
    assert source.test_images() == 9


def test_subsets_are_counted_once_and_absences_name_the_aliases():
    assert distinct(["IC15_1811", "IC15_2077", "IC13_857", "SVT"]) == {"IC15_2077", "IC13_857", "SVT"}
    assert "IC13_1095" in distinct(PUBLISHED_SIZES) and not {"IC13_857", "IC13_1015"} & distinct(PUBLISHED_SIZES)
    assert absent_message("COCO") == "no folder test/COCO with a data.mdb (nor COCOv1.4, COCO_Text)"
    assert absent_message("IC13_1015") == "no folder test/IC13_1015 with a data.mdb (nor IC13 with 1,015 images)"
    assert absent_message("OCTT") == "no folder test/OCTT with a data.mdb"


def test_a_second_root_is_linked_or_the_link_is_said(released, tmp_path):
    (found,) = train_roots(released, ["rbu"])
    assert count(found).stored == 2
    beside = fill(tmp_path / "a" / "data", ["SVT"])
    write_lmdb(tmp_path / "a" / "str_dataset_ub" / "train" / "union", samples(1))
    with pytest.raises(DataError, match="put or link the LMDBs there"):
        train_roots(beside, ["real"])
    inside = fill(tmp_path / "b" / "data", ["SVT"])
    write_lmdb(inside / "str_dataset_ub" / "union", samples(1))
    for data, target in ((beside, "../../str_dataset_ub/train"), (inside, "../str_dataset_ub")):
        with pytest.raises(DataError, match=f"link it: mkdir -p {data}/train && ln -s {target} {data}/train/rbu$"):
            train_roots(data, ["rbu"])
        (data / "train").mkdir()
        (data / "train" / "rbu").symlink_to(target)
        assert [count(root).stored for root in train_roots(data, ["rbu"])] == [1]


def test_an_evaluation_reads_each_benchmark_under_its_name(model, tmp_path):
    fill(tmp_path, ["COCOv1.4", "cute", "mine"], images=1)
    protocol = load("ablations/table_VI/image0-text6.gin", "smoke").protocol
    metrics = evaluate(model, tmp_path, {tmp_path / "out": protocol})[tmp_path / "out"]
    assert list(metrics["benchmarks"]) == ["COCO", "CUTE80", "mine"]
    assert set(pd.read_parquet(tmp_path / "out" / "predictions.parquet").benchmark) == set(metrics["benchmarks"])
    assert stored_images(tmp_path)("COCO", ".", 1).size == (60, 24)


def write_evaluations(plan: planning.Plan) -> None:
    """What the evaluations of every row would leave, all words read right."""
    entries = {name: count(folder) for name, folder in benchmarks_of(plan.data).items()}
    metrics = {
        name: {"error": held.problem} if held.problem else {"stored": held.stored, "left_out": {}}
        for name, held in entries.items()
    }
    good = {name: held.stored for name, held in entries.items() if not held.problem}
    words = [(name, index, f"word{index - 1}") for name, stored in good.items() for index in range(1, stored + 1)]
    frame = pd.DataFrame(words, columns=["benchmark", "index", "label"])
    for row in plan.rows:
        folder = plan.seed_folder(row.run, 0) / "evaluations" / row.evaluation
        folder.mkdir(parents=True, exist_ok=True)
        frame.assign(visual=frame.label, cross=frame.label).to_parquet(folder / "predictions.parquet")
        content = {"protocol": json.loads(row.config.protocol), "benchmarks": metrics}
        (folder / "metrics.json").write_text(json.dumps(content))


def planned(data: Path, results: Path, tables: list[str] | None) -> planning.Plan:
    made = planning.make({"scale": "paper", "data": str(data), "results": str(results), "seeds": [0]}, tables)
    write_plan(made)
    write_evaluations(made)
    return made


def same_in_plan_and_tables(plan: planning.Plan) -> dict[tuple[str, str], str]:
    """The reason of every column by table, empty where it is filled; asserts that the tables say what the plan says."""
    said = {(table, found.column): found.reason for found in fillings(plan.layouts, plan.source) for table in found.tables}
    for name, rows in plan.tables.items():
        table = build(name, plan.results, plan.tables_folder)
        run = {row.name for row in rows if row.runnable}
        for column in table.columns:
            if not column.fact and column.published:
                cells = table.cells[(table.cells.column == column.name) & table.cells.row.isin(run)]
                assert set(cells.reason) == {said[name, column.name]}
                assert cells.value.isna().all() == bool(said[name, column.name])
    return said


def test_every_column_is_filled_from_the_released_layout(released, tmp_path):
    for name in ("IIIT5k", "SVT", "IC13_1015", "IC15_1811", "IC15_2077", "SVTP", "CUTE80"):
        path = released / "labels" / "cleaned" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("index,label\n1,word0\n2,word1\n")
    plan = planned(released, tmp_path, None)
    assert not_run(plan) == [] and len(plan.rows) == 87
    assert set(same_in_plan_and_tables(plan).values()) == {""}
    coco = next(found for found in fillings(plan.layouts, plan.source) if found.column == "COCO")
    assert (coco.filled_by, coco.stored, coco.published) == ("test/COCOv1.4", 2, 9825)
    assert coco.tables == ("table_IV", "table_VI", "table_VII", "table_VIII", "method_choices", "recipe_choices")


def test_sizes_are_those_of_benchmarks_whatever_their_folders_are_called(tmp_path):
    """COCOv1.4 is COCO, and a folder without words is none."""
    fill(tmp_path, ["COCOv1.4"])
    (tmp_path / "test" / "notes").mkdir()
    assert list(data_source(str(tmp_path), "paper", tmp_path / "results").benchmark_images()) == ["COCO"]


def test_columns_that_nothing_fills_say_the_same_in_plan_and_table(tmp_path):
    data = fill(tmp_path / "data", [name for name in RELEASED if name not in ("OCTT", "IC13_1015", "COCOv1.4")])
    (data / "test" / "ArT" / "data.mdb").write_bytes(b"no database" * 1000)
    write_lmdb(data / "train" / "real" / "SVT", samples(2))
    write_lmdb(data / "val" / "SVT", samples(2))
    plan = planned(data, tmp_path / "results", ["table_III", "table_IV", "table_V"])
    said = not_run(plan)
    assert len(said) == 2 and all("train/rbu is missing" in line or "train/synth is missing" in line for line in said)
    reasons = same_in_plan_and_tables(plan)
    assert reasons["table_III", "OCTT"] == "no folder test/OCTT with a data.mdb"
    assert reasons["table_IV", "COCO"] == absent_message("COCO") and reasons["table_IV", "Uber"] == ""
    assert reasons["table_V", "Avg."] == reasons["table_III", "IC13"] == absent_message("IC13_1015")
    assert reasons["table_IV", "ArT"].startswith(f"ArT: {data}/test/ArT/data.mdb cannot be opened")


def test_the_plan_lists_what_is_read_and_tells_copies(tmp_path):
    data = fill(tmp_path / "data", ["SVT"])
    for name in ("one", "two", ".Trash-1000"):
        write_lmdb(data / "train" / "real" / name, samples(3))
    shutil.copytree(data / "test" / "SVT", data / "test" / "IIIT5k" / "first")
    shutil.copytree(data / "test" / "SVT", data / "test" / "IIIT5k" / "second")
    (data / "train" / "real" / "two" / "data.mdb").write_bytes(b"no database" * 1000)
    settings = {"scale": "paper", "data": str(data), "results": str(tmp_path / "results"), "seeds": [0]}
    plan = planning.make(settings, ["table_VI"])
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(lmdbs_grid(plan))
    words = [line.replace("\u2502", " ").split() for line in console.export_text().splitlines()]
    for row in (["train/real", "one", "3"], ["test/SVT", "2"], ["test/IIIT5k", "first", "2"], ["test/IIIT5k", "second", "2"]):
        assert row in words
    broken, copy = data_lines(plan)
    assert "two/data.mdb cannot be opened" in broken
    assert copy.startswith(f"{data}/test/IIIT5k/second holds the same as {data}/test/IIIT5k/first, so that each")
