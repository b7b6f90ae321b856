"""What is validated while a model is trained."""

from dataclasses import replace

import pytest
import torch

from core.data.lmdb import write_lmdb
from core.errors import UserError
from core.evaluate import readings
from core.evaluate.run import evaluate, open_benchmark
from core.model import cuda_graphs
from core.runtime.distributed import SINGLE
from core.train import validation
from core.train.validation import validate, validation_words


def test_validation_words_are_seen_as_the_protocol_says(world_folder, smoke, model):
    """Under its normalisation, whatever CLIP's is: the same readings as an evaluation's."""
    for normalisation in ("half", "clip"):
        protocol = replace(smoke.protocol, normalisation=normalisation)
        mine = validation_words(world_folder, model, protocol)
        tests, problem = open_benchmark(world_folder / "val", model.towers.image_size, protocol, SINGLE)
        assert not problem and mine[0, 0].normalisation == tests[0, 0].normalisation == normalisation


def test_a_validation_is_an_evaluation_of_val(world_folder, tmp_path, smoke, model, monkeypatch):
    """Image by image and output by output: here the visual branch reads every second word, the cross-modal one every fourth."""
    as_rows = readings.as_rows

    def read(*arguments):
        for row in as_rows(*arguments):
            named = dict(zip(readings.COLUMNS, row, strict=True))
            named["visual"] = named["label"].upper() if named["index"] % 2 == 0 else "no"
            named["cross"] = named["label"].upper() if named["index"] % 4 == 0 else "no"
            yield tuple(named.values())

    monkeypatch.setattr(readings, "as_rows", lambda *arguments: list(read(*arguments)))
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "val").symlink_to(world_folder / "val")
    words = validation_words(world_folder, model, smoke.protocol)
    cuda_graphs.GRAPHS[model.visual_decoder] = cuda_graphs.ModuleGraphs(model.visual_decoder)
    entry = validate(model, words, smoke.protocol, 3, SINGLE, lambda: 0)
    assert model.visual_decoder not in cuda_graphs.GRAPHS  # training needs the memory of what was recorded
    result = evaluate(model, tmp_path, {tmp_path / "evaluation": smoke.protocol})[tmp_path / "evaluation"]
    scores = result["benchmarks"]["val"]
    assert entry == {"step": 3, "val_n": 8, "val_visual": 50.0, "val_cross": 25.0}
    assert {
        "val_n": scores["n"],
        **{f"val_{name}": scores[name]["accuracy"] for name in ("visual", "cross")},
    }.items() <= entry.items()


def test_memory_that_runs_out_while_validating_names_its_own_batch(smoke, model, monkeypatch):
    def full(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(validation, "read_images_of", full)
    batch = smoke.protocol.batch
    with pytest.raises(UserError, match=f"while validating, .* lower Protocol.batch = {batch} to {batch // 2}; it"):
        validate(model, None, smoke.protocol, 1, SINGLE, lambda: 0)


def test_images_that_cannot_be_read_are_counted(smoke, model, tmp_path, capsys):
    write_lmdb(tmp_path / "val", [(b"no image", "word")] * 3)
    words = validation_words(tmp_path, model, smoke.protocol)
    entry = validate(model, words, smoke.protocol, 5, SINGLE, lambda: 0)
    assert (entry["val_n"], entry["val_left_out"]) == (0, 3)
    assert "validation: 3 of 3 stored are left out" in capsys.readouterr().out
