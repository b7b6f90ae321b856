"""A benchmark is read once by a model in one way, whatever lies beside it in the test folder and however it is called."""

import json
import shutil
from dataclasses import asdict

import pandas as pd
import pytest
import torch

from core.errors import DataError, PassingError
from core.evaluate import run
from core.evaluate.__main__ import main
from core.evaluate.previous_readings import UNFINISHED, is_reading_of
from core.experiment.experiment import load
from core.files import write_json
from core.weights.checkpoint import save_model
from tests.support.checkout import BASELINE

FIRST, SECOND, THIRD = "regular", "rotated", "incidental"  # families of the rendered world


@pytest.fixture
def data(world_folder, tmp_path):
    """Two benchmarks."""
    for name in (FIRST, SECOND):
        shutil.copytree(world_folder / "test" / name, tmp_path / "data" / "test" / name)
    return tmp_path / "data"


@pytest.fixture
def evaluate(model, smoke, data, tmp_path, monkeypatch):
    """Calls the command with a trained model; returns the benchmarks that it reads, each with the number of protocols."""
    save_model(model, smoke.training, {}, tmp_path / "run")
    read, read_images_of = [], run.read_images_of

    def counted(model, words, protocols, name, **options):
        read.append((name, len(protocols)))
        return read_images_of(model, words, protocols, name, **options)

    def call(*arguments, rows=(BASELINE,)):
        read.clear()
        main([str(tmp_path / "run"), *rows, "--data", str(data), "--scale", "smoke", "--tracking", "off", *map(str, arguments)])
        return list(read)

    monkeypatch.setattr(run, "read_images_of", counted)
    return call


def newest(tmp_path):
    """The metrics and the predictions that were written last."""
    folder = max((tmp_path / "run" / "evaluations").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    return json.loads((folder / "metrics.json").read_text())["benchmarks"], pd.read_parquet(folder / "predictions.parquet")


def test_a_new_benchmark_is_read_alone(evaluate, data, world_folder, tmp_path):
    assert evaluate() == [(FIRST, 1), (SECOND, 1)]
    before, rows = newest(tmp_path)
    shutil.copytree(world_folder / "test" / THIRD, data / "test" / THIRD)
    assert evaluate() == [(THIRD, 1)]
    after, more = newest(tmp_path)
    assert list(after) == [THIRD, FIRST, SECOND] and after[FIRST].pop("read_for") and after[FIRST] == before[FIRST]
    pd.testing.assert_frame_equal(more[more.benchmark != THIRD].reset_index(drop=True), rows)
    assert evaluate() == [] and evaluate("--again", "--out", tmp_path / "out") == [(THIRD, 1), (FIRST, 1), (SECOND, 1)]
    again = pd.read_parquet(tmp_path / "out" / "image0-text6" / "predictions.parquet")
    pd.testing.assert_frame_equal(again, more)


def test_a_chosen_benchmark_is_read_alone_and_not_read_again_with_all(evaluate, tmp_path, capsys):
    assert evaluate("--benchmarks", SECOND) == [(SECOND, 1)]
    assert list(newest(tmp_path)[0]) == [SECOND]
    assert evaluate("--update") == [(FIRST, 1)] and f"{SECOND}: read before, not again" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        evaluate("--benchmarks", "SVT")
    assert f"--benchmarks SVT: {tmp_path / 'data' / 'test'} holds {FIRST}, {SECOND}" in capsys.readouterr().err


def test_an_update_reads_other_words_and_other_ways_of_decoding(evaluate, data, world_folder, tmp_path):
    """A file of the same name may say something else, and so may a folder of the same name hold other words."""
    row = tmp_path / "row.gin"
    row.write_text(f"include '{BASELINE}'\n")
    assert evaluate("--update", rows=(str(row),)) == [(FIRST, 1), (SECOND, 1)]
    assert evaluate("--update", rows=(str(row),)) == []
    row.write_text(f"include '{BASELINE}'\nREFINE_STEPS = 3\n")
    assert evaluate("--update", rows=(str(row),)) == [(FIRST, 1), (SECOND, 1)]
    shutil.rmtree(data / "test" / FIRST)
    shutil.copytree(world_folder / "test" / THIRD, data / "test" / FIRST)
    assert evaluate("--update", rows=(str(row),)) == [(FIRST, 1)] and evaluate("--update", rows=(str(row),)) == []


def test_a_file_where_the_folder_would_be_is_told_before_anything_is_read(evaluate, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SystemExit):
        evaluate("--out", tmp_path / "file")
    said = capsys.readouterr()
    assert f"{tmp_path / 'file'} is a file, so" in said.err and "name another --out" in said.err and "read" not in said.out


def test_a_benchmark_is_known_by_its_content(evaluate, data, world_folder, tmp_path):
    evaluate()
    (data / "test" / FIRST).rename(data / "test" / "mine")
    shutil.rmtree(data / "test" / SECOND)
    shutil.copytree(world_folder / "test" / THIRD, data / "test" / SECOND)
    assert evaluate() == [(SECOND, 1)]
    metrics, rows = newest(tmp_path)
    assert list(metrics) == ["mine", SECOND] and set(rows.benchmark) == {"mine", SECOND}


def test_other_ways_of_decoding_and_other_weights_read_it_again(evaluate, model, smoke, tmp_path):
    evaluate()
    assert evaluate(rows=(BASELINE, "ablations/table_IX/visual-cloze.gin")) == [(FIRST, 1), (SECOND, 1)]  # the second row's
    torch.manual_seed(1)
    save_model(smoke.experiment.model(load_weights=False), smoke.training, {}, tmp_path / "run")
    assert evaluate() == [(FIRST, 1), (SECOND, 1)]


def test_an_interrupted_evaluation_goes_on_with_the_next_benchmark(evaluate, tmp_path, monkeypatch):
    counted = run.read_images_of

    def interrupted(model, words, protocols, name, **options):
        if name == SECOND:
            raise KeyboardInterrupt
        return counted(model, words, protocols, name, **options)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(run, "read_images_of", interrupted)
        evaluate()
    kept = tmp_path / "run" / "evaluations" / UNFINISHED
    assert len(list(kept.glob("*/predictions.parquet"))) == 1 and not list(kept.parent.glob("*/metrics.json"))
    assert evaluate() == [(SECOND, 1)] and not kept.exists()
    assert set(newest(tmp_path)[1].benchmark) == {FIRST, SECOND}


def test_a_benchmark_that_fails_while_it_is_read_is_left_out(evaluate, tmp_path, monkeypatch, capsys):
    counted = run.read_images_of

    def failing(model, words, protocols, name, **options):
        if name == FIRST:
            raise DataError("data.mdb: a page is damaged")
        return counted(model, words, protocols, name, **options)

    monkeypatch.setattr(run, "read_images_of", failing)
    assert evaluate() == [(SECOND, 1)]
    assert f"{FIRST}: left out: data.mdb: a page is damaged" in capsys.readouterr().out
    metrics, rows = newest(tmp_path)
    assert metrics[FIRST] == {"error": "data.mdb: a page is damaged"} and set(rows.benchmark) == {SECOND}


def test_a_benchmark_that_could_not_be_read_this_time_is_tried_again(evaluate, tmp_path, monkeypatch, capsys):
    """A disk that went away says nothing about the data: no evaluation is written, and what was read before is kept."""
    counted = run.read_images_of

    def failing(model, words, protocols, name, **options):
        if name == SECOND:
            raise PassingError("data.mdb is gone while it is being read")
        return counted(model, words, protocols, name, **options)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(run, "read_images_of", failing)
        evaluate()
    assert "gone while it is being read" in capsys.readouterr().err
    assert not list((tmp_path / "run" / "evaluations").glob("*/metrics.json"))
    assert evaluate() == [(SECOND, 1)]


def test_words_that_are_replaced_while_they_are_read_are_read_again(
    evaluate, data, world_folder, tmp_path, monkeypatch, capsys
):
    """Their old mapping is read to its end, and would be recorded as a reading of the new words."""
    counted = run.read_images_of

    def replacing(model, words, protocols, name, **options):
        read = counted(model, words, protocols, name, **options)
        if name == SECOND:
            shutil.copytree(world_folder / "test" / THIRD, tmp_path / "other")
            (tmp_path / "other" / "data.mdb").replace(data / "test" / SECOND / "data.mdb")
        return read

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(run, "read_images_of", replacing)
        evaluate()
    assert f"{SECOND} changed while it was read" in capsys.readouterr().err
    assert evaluate() == [(SECOND, 1)]


def test_an_evaluation_without_a_benchmark_is_not_a_reading_of_it(smoke, tmp_path):
    record = {"protocol": asdict(smoke.protocol), "benchmarks": {"SVT": {"error": "a page is damaged"}}}
    write_json(tmp_path / "metrics.json", record)
    assert not is_reading_of(tmp_path, smoke.protocol, {"SVT": "1a2b3c4d"}) and is_reading_of(tmp_path, smoke.protocol, {})


def test_a_link_to_nothing_is_left_out(evaluate, data, tmp_path, capsys):
    (data / "test" / FIRST / "data.mdb").unlink()
    (data / "test" / FIRST / "data.mdb").symlink_to(tmp_path / "nowhere")
    assert evaluate() == [(SECOND, 1)]
    assert f"{FIRST}: left out: " in capsys.readouterr().out


def test_a_model_is_not_read_as_it_was_never_trained(evaluate, model, smoke, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(model, "normalisation", "half")
    save_model(model, smoke.training, {}, tmp_path / "run")
    (tmp_path / "run" / "operative.gin").write_text("")
    evaluate()
    assert "was trained with NORMALISATION = 'half' and is read with 'clip'" in capsys.readouterr().out
    left_to_right = load(BASELINE, "smoke", ["PERMUTATIONS = 1", "REFINE_STEPS = 0"])
    save_model(left_to_right.experiment.model(load_weights=False), left_to_right.training, {}, tmp_path / "run")
    with pytest.raises(SystemExit):
        evaluate()
    assert "PERMUTATIONS = 1 trains no context that REFINE_STEPS = 1 reads" in capsys.readouterr().err
