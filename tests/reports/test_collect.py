"""What a table is counted from: predictions, labels, facts; and every way they can be wrong."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from core.data.samples import BEYOND
from core.errors import ReportError
from core.moved import with_new_settings
from reports.collect.predictions import problems_of, read_predictions
from reports.collect.runs import check_protocols, facts, read_runs
from reports.columns import Column, absent
from reports.layout import read_layout
from reports.render.appendix import appendix
from tests.support.results import PROTOCOL, write_results, write_run


@pytest.fixture
def results(tmp_path):
    """Three made-up rows of Table VI, four images in each of two benchmarks."""
    scores = {"image0-text6": [1, 1, 1, 0], "image6-text6": [1, 1, 0, 0], "image12-text6": [0, 0, 0, 1]}
    return write_results(tmp_path, "table_VI", scores)


@pytest.fixture
def runs(results):
    return read_runs(results / "tables", "table_VI")


def test_predictions_are_scored_without_case(results, runs):
    frame = read_predictions(results, runs.loc["image0-text6"])
    assert frame[frame.benchmark == "incidental"].correct.tolist() == [True, True, True, False]
    assert list(frame.columns) == ["benchmark", "lmdb", "index", "seed", "label", "reading", "correct"]


def test_a_missing_list_or_file_is_named(results, runs):
    with pytest.raises(ReportError, match="table_V.runs.csv is missing; `snakemake -n table_V` writes it"):
        read_runs(results / "tables", "table_V")
    with pytest.raises(ReportError, match="row image0-text6: .*predictions.parquet is missing; run the evaluation again"):
        read_predictions(results, runs.loc["image0-text6"].replace("00000000", "11111111"))


def test_predictions_of_another_protocol_are_refused(results, runs):
    run = runs.loc["image0-text6"].copy()
    run["protocol"] = json.dumps(PROTOCOL | {"refine_steps": 3})
    with pytest.raises(ReportError, match=r"was read with refine_steps = 1, the row asks for 3; delete that\s+folder"):
        read_predictions(results, run)


def test_predictions_shorter_than_their_benchmark_are_refused(results, runs):
    path = next(results.glob("runs/micro-00000000/seed0/evaluations/*/predictions.parquet"))
    pd.read_parquet(path).iloc[:-1].to_parquet(path)
    with pytest.raises(ReportError, match="row image0-text6: .* holds 3 predictions of regular, its benchmark has 4"):
        read_predictions(results, runs.loc["image0-text6"])


def test_samples_beyond_those_that_a_benchmark_counts_lack_no_prediction(results, runs):
    """They are not among the stored ones that others are left out of."""
    path = next(results.glob("runs/micro-00000000/seed0/evaluations/*/metrics.json"))
    metrics = json.loads(path.read_text())
    beyond, empty = {"count": 7, "examples": ["image-000000005"]}, {"count": 1, "examples": ["label-000000004"]}
    metrics["benchmarks"]["regular"] |= {"stored": 5, "left_out": {BEYOND: beyond, "empty label": empty}}
    path.write_text(json.dumps(metrics))
    assert len(read_predictions(results, runs.loc["image0-text6"])) > 0
    metrics["benchmarks"]["regular"]["left_out"].pop("empty label")
    path.write_text(json.dumps(metrics))
    with pytest.raises(ReportError, match="holds 4 predictions of regular, its benchmark has 5 images"):
        read_predictions(results, runs.loc["image0-text6"])


def test_an_output_the_model_does_not_have_is_named(results, runs):
    run = runs.loc["image0-text6"].copy()
    run["output"] = "visual"
    with pytest.raises(ReportError, match="has no output 'visual'; set the row's OUTPUT macro"):
        read_predictions(results, run)


def test_mixed_protocols_are_refused_but_for_what_the_table_is_about(runs):
    layout = read_layout("table_VI")
    check_protocols(runs, layout)
    runs.loc["image12-text6", "protocol"] = json.dumps(PROTOCOL | {"refine_steps": 0})
    with pytest.raises(ReportError, match="refine_steps is 1 for image0-text6 and 0 for image12-text6; list it under 'var"):
        check_protocols(runs, layout)
    check_protocols(runs, read_layout("table_IX"))
    runs.loc["image12-text6", "protocol"] = json.dumps(PROTOCOL | {"normalisation": "half"})
    with pytest.raises(ReportError, match="normalisation is 'clip' for image0-text6 and 'half' for image12-text6"):
        check_protocols(runs, read_layout("table_VI"))
    check_protocols(runs, read_layout("table_V"))  # some rows train as PARSeq does


def test_charsets_by_size_and_by_their_characters_are_one_protocol(results, runs):
    """Files of earlier versions say 36, new ones the characters."""
    before = read_predictions(results, runs.loc["image0-text6"])
    runs.loc["image0-text6", "protocol"] = json.dumps(with_new_settings(PROTOCOL))
    check_protocols(runs, read_layout("table_VI"))
    assert read_predictions(results, runs.loc["image0-text6"]).equals(before)
    runs.loc["image0-text6", "protocol"] = json.dumps(PROTOCOL | {"scoring_charset_size": 94})
    with pytest.raises(ReportError, match="scoring_charset is "):
        check_protocols(runs, read_layout("table_VI"))


def test_cleaned_labels_score_the_same_readings_again(results, runs):
    """The fourth word was read right under another label; one benchmark has cleaned labels, the other is left out."""
    folder = results / "labels"
    folder.mkdir()
    run = runs.loc["image0-text6"].copy()
    run["labels"] = str(folder)
    assert read_predictions(results, run).empty and problems_of(results, run)["regular"] == f"no regular.csv in {folder}"
    (folder / "regular.csv").write_text("index,label\n1,\u24e6\uff10\n2,w1\n3,w2\n4,no\n")  # written W0 in other letters
    frame = read_predictions(results, run)
    assert set(frame.benchmark) == {"regular"} and frame.correct.all()
    (folder / "regular.csv").write_text("index,label\n1,w0\n2,w1\n3,w2\n")
    with pytest.raises(ReportError, match="regular.csv: 3 labels for a benchmark of 4 stored images"):
        read_predictions(results, run)
    (folder / "regular.csv").write_text("image,text\n1,w0\n")
    with pytest.raises(ReportError, match="regular.csv: columns are image, text; expected index,label"):
        read_predictions(results, run)


def test_facts_come_from_plan_run_and_timing(results, runs):
    folder = results / "runs" / "micro-00000000" / "seed0"
    known = facts(results, runs.loc["image0-text6"])
    assert known["params_M_paper"] == pytest.approx(158.3, abs=0.1) and "hours" not in known
    (folder / "model.safetensors").touch()
    (folder / "provenance.json").write_text(json.dumps({"train": {"images": 6400, "steps": 750}}))
    (folder / "metrics.jsonl").write_text(
        '{"step": 10, "seconds": 1800}\n{"step": 10, "val_n": 8}\n{"step": 20, "seconds": 1800}\n'
    )
    (folder / "reading_time.json").write_text(
        json.dumps({"readings": {"0" * 8: {"outputs": {"cross": {"ms_per_image": 2.5}}}}})
    )
    known = facts(results, runs.loc["image0-text6"])
    assert (known["hours"], known["epochs"], known["train_images"], known["milliseconds"]) == (1.0, 7.5, 6400, 2.5)
    shutil.copytree(folder, folder.with_name("seed1"))
    (folder.with_name("seed1") / "metrics.jsonl").write_text('{"step": 20, "seconds": 10800}')
    run = runs.loc["image0-text6"].copy()
    run["seeds"] = "0 1"
    known = facts(results, run)
    assert (known["hours"], known["epochs"], known["train_images"]) == (2.0, 7.5, 6400)


def test_parameters_stand_under_their_names(results, runs):
    run = runs.loc["image0-text6"].copy()
    names = {"total": "params_M", "frozen": "frozen_M", "total_paper": "params_M_paper", "frozen_paper": "frozen_M_paper"}
    for number, name in enumerate(names, 1):
        run[name] = number * 1e6
    known = facts(results, run)
    assert [known[name] for name in names.values()] == [1, 2, 3, 4]


@pytest.mark.parametrize("content", ['{"train": {"images"', "[]", '{"train": {}}', '{"readings": {"00000000": 1}}'])
@pytest.mark.parametrize("name", ["provenance.json", "metrics.jsonl", "reading_time.json"])
def test_a_damaged_file_of_a_run_is_named_with_what_to_do(results, runs, name, content):
    folder = results / "runs" / "micro-00000000" / "seed0"
    (folder / "model.safetensors").touch()
    (folder / "provenance.json").write_text(json.dumps({"train": {"images": 6400, "steps": 750}}))
    (folder / "metrics.jsonl").write_text('{"step": 10, "seconds": 1800}')
    (folder / name).write_text(content)
    if name == "metrics.jsonl" and content.endswith("}"):
        assert facts(results, runs.loc["image0-text6"])["hours"] == 0  # a line that logs no time
        return
    if name == "reading_time.json" and content == '{"train": {}}':
        assert "milliseconds" not in facts(results, runs.loc["image0-text6"])  # not timed
        return
    with pytest.raises(ReportError, match=f"{name}.*(missing|cannot be read).*; (train the run|delete it and run)") as error:
        facts(results, runs.loc["image0-text6"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "content"), [("predictions.parquet", "PAR1"), ("metrics.json", "{"), ("metrics.json", "{}")])
def test_a_damaged_evaluation_is_named_with_what_to_do(results, runs, name, content):
    (results / "runs/micro-00000000/seed0/evaluations/00000000" / name).write_text(content)
    with pytest.raises(ReportError, match=f"{name}.*; delete .* and run the command again"):
        read_predictions(results, runs.loc["image0-text6"])


@pytest.mark.parametrize(("name", "content"), [("provenance.json", "{"), ("provenance.json", "{}"), ("metrics.jsonl", "{")])
def test_the_appendix_names_a_damaged_file(results, runs, name, content):
    for folder in results.glob("runs/*/seed0"):
        (folder / "provenance.json").write_text(json.dumps({"train": {"images": 6400, "steps": 750}}))
        (folder / "metrics.jsonl").write_text('{"step": 10}')
        (folder / name).write_text(content)
    with pytest.raises(ReportError, match=f"{name}.*; train the run again"):
        appendix(runs.assign(table="table_VI"), results)


def test_a_damaged_list_of_runs_is_named(results):
    for content in ("", "gin,run\na,b\n"):
        (results / "tables" / "table_VI.runs.csv").write_text(content)
        with pytest.raises(ReportError, match="table_VI.runs.csv.*; delete it, and `snakemake -n table_VI` writes it again"):
            read_runs(results / "tables", "table_VI")


def test_a_list_without_rows_or_with_a_row_twice_is_named(results):
    path = results / "tables" / "table_VI.runs.csv"
    head, *rows = path.read_text().splitlines()
    for lines, message in (([head], "it lists no row"), ([head, *rows, rows[1]], "it lists row image6-text6 twice")):
        path.write_text("\n".join(lines))
        with pytest.raises(ReportError, match=rf"table_VI.runs.csv cannot be read \({message}\); delete it, and `snakemake -n"):
            read_runs(results / "tables", "table_VI")


def test_an_empty_cell_says_why():
    assert absent(Column("SVT"), set(), {}) == "no family of the rendered world stands for it"
    assert (
        absent(Column("Avg.", ("SVT", "COCO")), {"SVT"}, {}) == "no folder test/COCO with a data.mdb (nor COCOv1.4, COCO_Text)"
    )
    reason = "no folder test/IC15_1811 with a data.mdb (nor IC15 with 1,811 images)"
    assert absent(Column("Avg.", ("SVT", "IC15_1811")), set(), {"SVT": "cut off"}) == f"SVT: cut off; {reason}"
    assert absent(Column("SVT", ("SVT",)), set(), {"SVT": "no data.mdb"}) == "SVT: no data.mdb"


def test_seeds_are_kept_apart(tmp_path):
    write_results(tmp_path, "table_VI", {"image0-text6": [1, 1, 0, 0]}, seeds="0 1")
    write_run(tmp_path, "micro-00000000", [1, 0, 0, 0], seed=1)
    frame = read_predictions(tmp_path, read_runs(tmp_path / "tables", "table_VI").loc["image0-text6"])
    assert frame.groupby("seed").correct.mean().tolist() == [0.5, 0.25] and not np.isnan(frame["index"]).any()


@pytest.fixture
def two_lmdbs(results, runs):
    """The benchmarks as LMDBs a and b of two images each; the folder of labels, and the row that is scored with them."""
    for path in results.glob("runs/*/seed0/evaluations/*/predictions.parquet"):
        frame = pd.read_parquet(path)
        frame = frame.assign(lmdb=np.where(frame["index"] > 2, "b", "a"), index=(frame["index"] - 1) % 2 + 1)
        frame.to_parquet(path)
        metrics = json.loads(path.with_name("metrics.json").read_text())
        for entry in metrics["benchmarks"].values():
            entry["lmdbs"] = {"a": 2, "b": 2}
        path.with_name("metrics.json").write_text(json.dumps(metrics))
    (results / "labels").mkdir()
    run = runs.loc["image0-text6"].copy()
    run["labels"] = str(results / "labels")
    return results / "labels" / "regular.csv", run


def test_labels_are_matched_by_lmdb_and_key(results, two_lmdbs):
    path, run = two_lmdbs
    path.write_text("lmdb,index,label\nb,2,no\nb,1,w2\na,2,w1\na,1,w0\n")
    frame = read_predictions(results, run)
    assert list(zip(frame["lmdb"], frame["index"], frame.label, strict=True)) == [
        ("a", 1, "w0"),
        ("a", 2, "w1"),
        ("b", 1, "w2"),
        ("b", 2, "no"),
    ]
    assert frame.correct.all()


def test_an_image_that_was_not_read_shifts_no_label(results, two_lmdbs):
    path, run = two_lmdbs
    path.write_text("lmdb,index,label\nb,2,no\nb,1,w2\na,2,w1\na,1,w0\n")
    predictions = next(results.glob("runs/micro-00000000/seed0/evaluations/*/predictions.parquet"))
    frame = pd.read_parquet(predictions)
    frame[(frame["lmdb"] != "a") | (frame["index"] != 1)].to_parquet(predictions)
    metrics = json.loads(predictions.with_name("metrics.json").read_text())
    for entry in metrics["benchmarks"].values():
        entry["left_out"] = {"image cannot be decoded": {"count": 1, "examples": ["a: image-000000001"]}}
    predictions.with_name("metrics.json").write_text(json.dumps(metrics))
    read = read_predictions(results, run)
    assert read.label.tolist() == ["w1", "w2", "no"] and read.correct.all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("index,label\n1,w\n2,w\n3,w\n4,w\n", "regular.csv: the benchmark is 2 LMDBs, .*; add a column lmdb that holds a or b"),
        (
            "lmdb,index,label\na,1,w\na,2,w\nb,1,w\n",
            r"1 labels for a benchmark of 2 stored images \(lmdb b\): index 2 is missing",
        ),
        ("lmdb,index,label\na,1,w\na,2,w\nb,1,w\nc,2,w\n", "lmdb 'c' is not of this benchmark, which has a, b"),
    ],
)
def test_labels_that_do_not_cover_every_lmdb_are_refused(results, two_lmdbs, content, message):
    path, run = two_lmdbs
    path.write_text(content)
    with pytest.raises(ReportError, match=message):
        read_predictions(results, run)


def test_predictions_of_several_lmdbs_that_do_not_name_them_are_refused(results, two_lmdbs, runs):
    """As earlier versions wrote them."""
    path = next(results.glob("runs/micro-00000000/seed0/evaluations/*/predictions.parquet"))
    pd.read_parquet(path).drop(columns="lmdb").to_parquet(path)
    with pytest.raises(
        ReportError, match=r"image 1 of incidental \(LMDB .\) comes twice.*; delete .* and run the command again"
    ):
        read_predictions(results, runs.loc["image0-text6"])
