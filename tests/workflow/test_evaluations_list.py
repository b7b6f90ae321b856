"""The list of a model's evaluations, which a workflow watches in the place of their predictions."""

import os

from core.evaluate.evaluations_list import (
    is_current,
    listed_evaluations,
    missing_evaluations,
    settle_evaluations_list,
    write_evaluations_list,
)
from core.run_files import EVALUATIONS_LIST


def put(run, *ways, age=0):
    for way in ways:
        path = run / "evaluations" / way / "predictions.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"read by {way}")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))


def train(run):
    run.mkdir(parents=True, exist_ok=True)
    (run / "model.safetensors").write_text("weights")
    os.utime(run / "model.safetensors", (1_000_000, 1_000_000))


def test_predictions_are_as_young_as_their_model(tmp_path):
    put(tmp_path, "ar", age=60)
    assert missing_evaluations(tmp_path, ["ar", "cloze"]) == ["cloze"]  # no model: nothing outdates them
    train(tmp_path)
    assert missing_evaluations(tmp_path, ["ar", "cloze"]) == ["ar", "cloze"]
    put(tmp_path, "ar")
    assert missing_evaluations(tmp_path, ["ar", "cloze"]) == ["cloze"]
    assert not is_current(tmp_path / "reading_time.json", tmp_path / "model.safetensors")


def test_the_list_agrees_with_the_files(tmp_path):
    train(tmp_path)
    put(tmp_path, "ar", "cloze")
    settle_evaluations_list(tmp_path, ["ar"])  # results that are older than lists
    assert listed_evaluations(tmp_path).keys() == {"ar"}
    before = (tmp_path / EVALUATIONS_LIST).stat().st_mtime_ns
    settle_evaluations_list(tmp_path, ["ar"])
    assert (tmp_path / EVALUATIONS_LIST).stat().st_mtime_ns == before
    settle_evaluations_list(tmp_path, ["ar", "cloze"])
    assert listed_evaluations(tmp_path).keys() == {"ar", "cloze"}
    (tmp_path / "evaluations/cloze/predictions.parquet").unlink()
    settle_evaluations_list(tmp_path, ["ar"])
    assert (tmp_path / EVALUATIONS_LIST).is_file()  # nobody asks for the other
    for _ in range(2):  # also where there is no list
        settle_evaluations_list(tmp_path, ["ar", "cloze"])
        assert not (tmp_path / EVALUATIONS_LIST).exists()


def test_a_touched_model_and_list_leave_predictions_current(tmp_path):
    train(tmp_path)
    put(tmp_path, "ar", "cloze", age=60)
    write_evaluations_list(tmp_path, ["ar", "cloze"])  # now, so younger than the model
    assert missing_evaluations(tmp_path, ["ar", "cloze"]) == []
    (tmp_path / "evaluations/cloze/predictions.parquet").write_text("others")
    os.utime(tmp_path / "evaluations/cloze/predictions.parquet", (1, 1))
    assert missing_evaluations(tmp_path, ["ar", "cloze"]) == ["cloze"]
    os.utime(tmp_path / EVALUATIONS_LIST, (1, 1))  # trained again since
    assert missing_evaluations(tmp_path, ["ar", "cloze"]) == ["ar", "cloze"]


def test_equal_predictions_make_an_equal_list_and_others_another(tmp_path):
    put(tmp_path, "ar")
    write_evaluations_list(tmp_path, ["ar"])
    first = (tmp_path / EVALUATIONS_LIST).read_text()
    put(tmp_path, "ar", age=60)
    write_evaluations_list(tmp_path, ["ar"])
    assert (tmp_path / EVALUATIONS_LIST).read_text() == first
    (tmp_path / "evaluations/ar/predictions.parquet").write_text("other words")
    write_evaluations_list(tmp_path, ["ar"])
    assert (tmp_path / EVALUATIONS_LIST).read_text() != first


def test_a_broken_list_lists_nothing(tmp_path):
    (tmp_path / EVALUATIONS_LIST).write_text('{"ar": ')
    assert listed_evaluations(tmp_path) == {}
    put(tmp_path, "ar")
    settle_evaluations_list(tmp_path, ["ar"])
    assert listed_evaluations(tmp_path).keys() == {"ar"}
