"""Evaluation at scale: loaders, transfers and seconds that change nothing of what is read."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch

from core.charset import CHARSET_94
from core.choices import MOST_WORKERS
from core.data.benchmarks import FAMILIES
from core.data.lmdb import write_lmdb
from core.data.loading import Words, collate
from core.errors import DataError
from core.evaluate import readings
from core.evaluate.__main__ import main
from core.evaluate.command import show_scores
from core.evaluate.readings import OUTPUTS, read_batch
from core.evaluate.run import evaluate
from core.experiment.experiment import load
from core.model.tokenizer import Tokenizer
from core.model.transfer import Download
from core.runtime.distributed import workers_each
from core.train.validation import validation_words
from tests.support.formats import picture


def test_loaders_change_nothing_of_what_is_read(model, world_folder, tmp_path, smoke):
    protocol = replace(smoke.protocol, batch=3)
    for workers in (0, 2):
        found = evaluate(model, world_folder, {tmp_path / str(workers): protocol}, workers)[tmp_path / str(workers)]
        assert found["workers"] == workers
    one, other = (tmp_path / str(workers) / "predictions.parquet" for workers in (0, 2))
    assert one.read_bytes() == other.read_bytes()
    assert len(pd.read_parquet(one)) == len(FAMILIES) * 8


def test_a_batch_comes_to_the_host_once(model, world_folder, smoke, monkeypatch):
    words = validation_words(world_folder, model, smoke.protocol)
    batch = collate([words[0, position] for position in range(5)])
    copies = []
    monkeypatch.setattr(readings, "Download", lambda tensor: copies.append(tensor.shape) or Download(tensor))
    monkeypatch.setattr(torch.Tensor, "item", None)
    seconds = [0.0, 0.0]
    protocols = [smoke.protocol, replace(smoke.protocol, refine_steps=0)]
    found = read_batch(model, batch, protocols, "val", seconds)
    assert copies == [(2, 5, len(OUTPUTS) * 26 + 1)] and all(second > 0 for second in seconds)
    prediction = model.predict(batch.normalised("cpu"), 0)
    for name, texts in zip(OUTPUTS, list(zip(*found.rows[1], strict=True))[5:9], strict=True):
        assert list(texts) == model.tokenizer.decode(getattr(prediction, name))[0]
    assert [row[-1] for row in found.rows[1]] == model.tokenizer.decode(prediction.output)[1]


def test_confidences_are_those_of_one_word_after_the_other():
    tokenizer = Tokenizer(CHARSET_94)
    logits = torch.randn(400, 26, 95, generator=torch.Generator().manual_seed(0)) * 4
    logits[::2, 5, 0] += 20
    words, confidences = tokenizer.decode(logits)
    assert len({len(word) for word in words}) > 5
    probabilities = logits.double().softmax(-1).amax(-1)
    for word, confidence, row in zip(words, confidences, probabilities, strict=True):
        assert confidence == pytest.approx(row[: len(word) + 1].prod().item(), rel=1e-5)


def test_seconds_of_the_model_are_not_those_of_the_clock(model, world_folder, smoke, tmp_path):
    protocols = [smoke.protocol, replace(smoke.protocol, refine_steps=0)]
    results = evaluate(model, world_folder, {tmp_path / str(number): found for number, found in enumerate(protocols)})
    one, other = (result["benchmarks"] for result in results.values())
    for name, entry in one.items():
        assert entry["seconds_per_image"] == other[name]["seconds_per_image"] > entry["model_seconds_per_image"] > 0


def test_the_number_of_loaders():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert (workers_each(None, 16, cpu), workers_each(3, 1, cpu), workers_each(0, 16, gpu)) == (0, 3, 0)
    assert [workers_each(None, threads, gpu) for threads in (1, 2, 4, 16)] == [0, 1, 3, MOST_WORKERS]


def test_fewer_loaders_than_none_are_refused(world_folder, tmp_path, capsys):
    arguments = [str(tmp_path), "ablations/table_IX/cross-ar.gin", "--scale", "smoke", "--data", str(world_folder)]
    with pytest.raises(SystemExit):
        main([*arguments, "--workers", "-1"])
    assert "--workers: expected a whole number of at least 0" in capsys.readouterr().err


def test_data_that_goes_away_under_a_loader_is_named(model, world_folder, smoke, monkeypatch):
    def gone(words, place):
        raise DataError("somewhere: gone")

    monkeypatch.setattr(Words, "__getitem__", gone)
    words = validation_words(world_folder, model, smoke.protocol)
    with pytest.raises(DataError, match="^somewhere: gone$"):
        readings.read_images_of(model, words, [smoke.protocol], "val", workers=1)


def two_lmdbs(folder, undecodable=False):
    """A benchmark of two LMDBs whose key numbers are the same; the first image of the first may be damaged."""
    for name, seed in (("a", 0), ("b", 10)):
        samples = [(picture(seed + number), f"{name}{number}") for number in (1, 2, 3)]
        write_lmdb(folder / name, [(b"damaged", samples[0][1]), *samples[1:]] if undecodable and name == "a" else samples)


def test_a_benchmark_without_a_label_to_score_has_no_accuracy(model, smoke, tmp_path, capsys):
    write_lmdb(tmp_path / "test" / "SVT", [(picture(0), "?!")])
    metrics = evaluate(model, tmp_path, {tmp_path / "out": smoke.protocol})[tmp_path / "out"]
    show_scores("row", metrics["benchmarks"], "cross")
    assert "nan %  of 0 words" in capsys.readouterr().out
    entry = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=pytest.fail)["benchmarks"]["SVT"]
    assert entry["n"] == 0 and entry["cross"] == {"correct": 0, "accuracy": None, "one_minus_ned": None}


def test_a_benchmark_without_a_readable_image_is_left_out(model, smoke, tmp_path, capsys):
    write_lmdb(tmp_path / "test" / "broken", [(b"no image", "word")] * 3)
    with pytest.raises(DataError, match="no benchmark could be read"):
        evaluate(model, tmp_path, {tmp_path / "out": smoke.protocol})
    assert "broken: left out: none of 3 images can be read: 3 of 3 stored are left out" in capsys.readouterr().out


@pytest.mark.parametrize("undecodable", [False, True])
def test_each_prediction_knows_its_lmdb_and_key(model, smoke, tmp_path, undecodable):
    two_lmdbs(tmp_path / "test" / "SVT", undecodable)
    entry = evaluate(model, tmp_path, {tmp_path / "out": smoke.protocol})[tmp_path / "out"]["benchmarks"]["SVT"]
    rows = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    read = [("a", 1, "a1"), ("a", 2, "a2"), ("a", 3, "a3"), ("b", 1, "b1"), ("b", 2, "b2"), ("b", 3, "b3")][undecodable:]
    assert list(zip(rows["lmdb"], rows["index"], rows["label"], strict=True)) == read
    assert entry["lmdbs"] == {"a": 3, "b": 3} and entry["n"] == len(read)


def test_a_model_of_shorter_words_is_scored_on_the_same_images(smoke, tmp_path, capsys):
    """The word limit is the protocol's: a longer word counts as wrong."""
    write_lmdb(tmp_path / "test" / "SVT", [(picture(0), label) for label in ("word", "lengthy", "a" * 26, "?!")])
    header = "from __gin__ import dynamic_registration\nfrom core.model import clip4str\ninclude 'ablations/base.gin'\n"
    (tmp_path / "short.gin").write_text(f"{header}clip4str.CLIP4STR.max_letters = 5\n")
    short = load(tmp_path / "short.gin", "smoke")
    model = short.experiment.model(load_weights=False)
    metrics = evaluate(model, tmp_path, {tmp_path / "out": short.protocol})[tmp_path / "out"]
    assert metrics["benchmarks"]["SVT"]["n"] == 2 and short.protocol.digest == smoke.protocol.digest
    assert list(pd.read_parquet(tmp_path / "out" / "predictions.parquet").label) == ["word", "lengthy", "?!"]
    show_scores("short", metrics["benchmarks"], "cross")
    shown = capsys.readouterr().out
    assert "of 2 words (cross); 2 of 4 stored are left out, 1 of them: " in shown and "label-00000000" in shown
    assert metrics["benchmarks"]["SVT"]["unscored"] == {
        "no character of the 36 that are scored": {"count": 1, "examples": [".: label-000000004"]}
    }
