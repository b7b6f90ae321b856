"""A benchmark is read once by a model in one way, whatever lies beside it in the test folder and however it is called."""

import json
import shutil

import pandas as pd
import pytest
import torch

from core.evaluate import run
from core.evaluate.__main__ import main
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
    read, read_words = [], run.read_words

    def counted(model, words, protocols, name, **options):
        read.append((name, len(protocols)))
        return read_words(model, words, protocols, name, **options)

    def call(*arguments, rows=(BASELINE,)):
        read.clear()
        main([str(tmp_path / "run"), *rows, "--data", str(data), "--scale", "smoke", "--tracking", "off", *map(str, arguments)])
        return list(read)

    monkeypatch.setattr(run, "read_words", counted)
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
