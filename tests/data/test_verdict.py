"""Which tables a folder can reproduce, runs on data that changed, labels a model doubts, and the real sample."""

import json
import shutil

import pytest
import yaml

from core.data.benchmarks import PUBLISHED_SIZES, Size
from core.data.doctor.diagnosis import examine
from core.data.doctor.run import stale_runs
from core.data.doctor.scan import scan_all
from core.data.doctor.suspicious import doubts
from core.data.doctor.verdict import judge, read_needs
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.sets import fingerprint
from core.errors import ConfigError, DataError, ReportError
from core.evaluate.staleness import stale_reason
from core.files import ROOT, write_json
from core.weights.checkpoint import save_model
from tests.data.test_doctor import png

GOOD = Size(1, True, "as published")


@pytest.fixture(scope="module")
def needs():
    return {need.table: need for need in read_needs(ROOT / "ablations")}


def everything():
    return (
        dict.fromkeys(PUBLISHED_SIZES, GOOD),
        dict.fromkeys(("real", "synth", "rbu"), GOOD),
        {"cleaned": set(PUBLISHED_SIZES)},
    )


def test_all_ten_tables_in_their_order_and_all_reproducible_with_everything(needs):
    assert list(needs) == [f"table_{n}" for n in ("II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI")]
    assert {judge(need, *everything(), {}).answer for need in needs.values()} == {"yes"}


def test_what_is_missing_is_named(needs):
    benchmarks, training, labels = everything()
    del benchmarks["OCTT"], training["rbu"]
    verdict = judge(needs["table_III"], benchmarks, training, labels, {})
    assert verdict.answer == "in part" and "OCTT" not in verdict.columns and "Avg." in verdict.columns
    assert verdict.reasons == ("no benchmark OCTT", "no training set train/rbu (3 of 8 rows)")
    assert judge(needs["table_XI"], benchmarks, training, labels, {}).answer == "no"
    assert judge(needs["table_VI"], benchmarks, training, labels, {}).answer == "yes"


def test_an_average_needs_all_its_sets_and_cleaned_labels_their_files(needs):
    benchmarks, training, labels = everything()
    benchmarks["IC15_1811"] = Size(1811, False, "1,810 stored")
    verdict = judge(needs["table_V"], benchmarks, training, labels, {})
    assert (verdict.answer, verdict.columns, verdict.reasons) == ("no", (), ("IC15_1811: 1,810 stored",))
    verdict = judge(needs["table_X"], *everything()[:2], {"cleaned": {"SVT"}}, {})
    assert verdict.columns == ("SVT",) and "labels/cleaned/<name>.csv for IIIT5k" in verdict.reasons[0]


def test_overlap_counts_only_where_a_table_uses_both(needs):
    overlap = {("real", "IIIT5k"): 13, ("mine", "IIIT5k"): 4}
    assert judge(needs["table_III"], *everything(), overlap).reasons == (
        "13 images of IIIT5k have a copy or near copy in train/real",
    )
    assert judge(needs["table_VI"], *everything(), overlap).reasons == ()


@pytest.fixture
def swept(tmp_path):
    """Reads the needs of a table.yaml with a sweep; further arguments are gin files beside it, by stem."""

    def needs_of(sweep, baseline=None, **files):
        folder = tmp_path / "table_XII"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        content = {"title": "Swept", "about": "A", "columns": [{"name": "SVT", "paper": "SVT"}], "sweep": sweep}
        (folder / "table.yaml").write_text(yaml.safe_dump(content | ({"baseline": baseline} if baseline else {})))
        for name, text in files.items():
            (folder / f"{name}.gin").write_text(f"include 'ablations/base.gin'\n{text}\n")
        (needs,) = read_needs(tmp_path)
        return needs

    return needs_of


def test_rows_of_a_sweep_alone_are_rows(swept):
    need = swept({"DROPOUT": [0.0, 0.3], "PERMUTATIONS": [2]})
    assert need.rows == {"dropout0-permutations2": ("real",), "dropout0.3-permutations2": ("real",)}
    assert judge(need, *everything(), {}).answer == "yes"
    benchmarks, training, labels = everything()
    del training["real"]
    verdict = judge(need, benchmarks, training, labels, {})
    assert (verdict.answer, verdict.reasons) == ("no", ("no training set train/real (2 of 2 rows)",))


def test_a_sweep_may_vary_the_training_set_or_start_from_another_row(swept):
    need = swept({"TRAIN_DATA": [["real"], ["synth", "rbu"]]})
    assert list(need.rows.values()) == [("real",), ("synth", "rbu")]
    files = {"mine": "TRAIN_DATA = ('rbu',)", "base": "TRAIN_DATA = ('synth',)"}
    assert swept({"DROPOUT": [0.3]}, "base", **files).rows == {"mine": ("rbu",), "base": ("synth",), "dropout0.3": ("synth",)}
    many = [{"DROPOUT": [0.3], "from": "mine"}, {"PERMUTATIONS": [2], "from": "ablations/base.gin"}]
    assert swept(many, "base", **files).rows == {
        **{"mine": ("rbu",), "base": ("synth",)},
        **{"dropout0.3": ("rbu",), "permutations2": ("real",)},
    }


@pytest.mark.parametrize(
    ("sweep", "error", "message"),
    [
        ({"TRAIN_DATA": ["real"]}, ConfigError, "table.yaml: sweep: train-data-real: TRAIN_DATA = 'real': expected folders"),
        ({"DROPOUT": [0.1], "from": "gone"}, ConfigError, "from is 'gone', which is neither a row beside it nor a file"),
        ({"DROPOUT": []}, ReportError, "sweep: DROPOUT is"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_named(swept, sweep, error, message):
    with pytest.raises(error, match=message):
        swept(sweep)


def test_a_rendered_world_runs_at_micro_scale_only(world_folder, needs):
    diagnosis = examine(world_folder, list(needs.values()), workers=1)
    answers = {verdict.table: verdict.answer for verdict in diagnosis.verdicts}
    assert set(answers.values()) == {"rendered"} and len(answers) == 10


@pytest.fixture
def run(tmp_path, smoke):
    """A run directory as training and evaluation leave it, on data that is fresh."""
    data = tmp_path / "data"
    write_lmdb(data / "train" / "real" / "A", [(png(i), "word") for i in range(3)])
    write_lmdb(data / "test" / "SVT", [(png(9), "word")])
    folder = tmp_path / "runs" / "one" / "seed0"
    folder.mkdir(parents=True)
    (folder / "operative.gin").write_text(smoke.operative)
    lmdbs = [{"path": str(data / "train" / "real" / "A"), "stored": 3, "used": 3}]
    recorded = {"data": str(data), "data_fingerprint": fingerprint(data / "train" / "real"), "train": {"lmdbs": lmdbs}}
    write_json(folder / "provenance.json", recorded)
    benchmarks = {"SVT": {"fingerprint": fingerprint(data / "test" / "SVT")}, "broken": {"error": "left out"}}
    write_json(folder / "evaluations" / "abc" / "metrics.json", {"benchmarks": benchmarks})
    return folder, data


def test_a_run_is_fresh_until_its_data_changes_and_the_reason_says_what(run):
    folder, data = run
    assert stale_reason(folder, data) == ""
    write_lmdb(data / "test" / "other", [(png(1), "x")])
    assert stale_reason(folder, data) == ""
    write_lmdb(data / "train" / "real" / "A", [(png(i), "word") for i in range(4)])
    assert "train/real/A stores 4 samples, then 3" in stale_reason(folder, data)
    write_lmdb(data / "train" / "real" / "A", [(png(i), "words") for i in range(3)])
    assert "their bytes differ" in stale_reason(folder, data)
    write_lmdb(data / "train" / "real" / "B", [(png(0), "x")])
    write_lmdb(data / "test" / "SVT", [(png(9), "sword")])
    reason = stale_reason(folder, data)
    assert "train/real/B is new" in reason and "benchmark SVT changed since" in reason


def test_stale_runs_are_listed_and_runs_on_other_data_are_not(run, tmp_path):
    folder, data = run
    assert stale_runs(tmp_path / "runs", data) == ({}, 0)
    assert stale_runs(tmp_path / "runs", tmp_path) == ({}, 1)
    shutil.copytree(data, tmp_path / "moved")  # the same words elsewhere
    assert stale_runs(tmp_path / "runs", tmp_path / "moved") == ({}, 0)
    write_lmdb(data / "test" / "SVT", [(png(9), "sword")])
    assert list(stale_runs(tmp_path / "runs", data)[0]) == [str(folder)]
    with pytest.raises(DataError, match="no provenance.json"):
        stale_runs(data, data)
    (folder / "provenance.json").write_text("{")
    with pytest.raises(DataError, match="provenance.json cannot be read"):
        stale_reason(folder, data)


def test_a_model_doubts_exactly_the_labels_it_reads_otherwise(tmp_path, smoke, model):
    write_lmdb(tmp_path / "test" / "X", [(png(i), f"word{i}") for i in range(5)] + [(b"no image", "x")])
    save_model(model, smoke.training, {}, tmp_path / "run")
    scans, seen = scan_all({"test/X": tmp_path / "test" / "X"}, 1), []
    found = doubts(tmp_path / "run", scans, 0.0, seen.append)
    assert [doubt.place.index for doubt in sorted(found)] == [1, 2, 3, 4, 5] and sum(seen) == 6
    assert [d.confidence for d in found] == sorted((d.confidence for d in found), reverse=True)
    assert doubts(tmp_path / "run", scans, 1.0) == []
    write_lmdb(tmp_path / "test" / "Y", [(png(d.place.index - 1), d.reading or "?") for d in found])
    assert WordLmdb(tmp_path / "test" / "Y").stored == 5
    again = doubts(tmp_path / "run", scan_all({"test/Y": tmp_path / "test" / "Y"}, 1), 0.0)
    assert not [doubt for doubt in again if doubt.reading == doubt.label]


def test_the_real_sample(realdata, needs):
    diagnosis = examine(realdata, list(needs.values()), workers=2)
    assert diagnosis.overlap == {("train/real", "test/IIIT5k"): 13, ("train/real", "val"): 5, ("val", "test/IIIT5k"): 2}
    assert {pair.kind for pair in diagnosis.pairs} == {"near"}
    assert not any(found.unreadable or found.dropped for found in diagnosis.scans)
    assert diagnosis.sizes["test/IIIT5k"].as_published and diagnosis.sizes["test/SVT"].as_published
    assert {verdict.answer for verdict in diagnosis.verdicts} == {"no"}
    json.dumps(diagnosis.as_dict())
