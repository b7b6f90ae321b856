"""Fused updates and compiled blocks: faster, and the same training."""

import copy
import json
import math

import pytest
import torch

from core.errors import ConfigError
from core.experiment.experiment import load
from core.train.run import build_model, compile_blocks, train
from tests.support.checkout import BASELINE

WORDS = ["ab", "cde"]


def three_steps(loaded, model) -> list[float]:
    optimisation = loaded.experiment.optimisation
    optimiser = optimisation.optimiser(model)
    optimisation.set_lr(optimiser, 0, 1)
    model.train()
    losses = []
    for step in range(3):
        torch.manual_seed(step)
        images = torch.randn(2, 3, *model.towers.image_size, generator=torch.Generator().manual_seed(step))
        loss = model(images, WORDS, torch.Generator().manual_seed(step)).total
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


def test_fused_updates_train_the_same():
    found = {}
    for fused in (True, False):
        loaded = load(BASELINE, "smoke", [f"optim.Optimisation.fused = {fused}"])
        assert loaded.experiment.optimisation.optimiser(build_model(loaded, 0)).defaults["fused"] is fused
        found[fused] = three_steps(loaded, build_model(loaded, 0))
    assert found[True] == pytest.approx(found[False], abs=1e-5)


def test_blocks_compile_in_place(monkeypatch):
    """Every block of both towers goes through torch.compile, and the model's names do not change."""
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda block: compiled.append(block))
    loaded = load(BASELINE, "smoke", ["optim.Optimisation.compile = True"])
    model = build_model(loaded, 0)
    assert compiled == [*model.towers.image_layers().blocks, *model.towers.text_layers().blocks]
    names = list(build_model(load(BASELINE, "smoke"), 0).state_dict())
    assert list(model.state_dict()) == names


def test_compiled_blocks_train_the_same():
    """With the graphs traced and differentiated as on a GPU, and run without generated code, which takes a minute."""
    loaded = load(BASELINE, "smoke", ["DROPOUT = 0.0"])
    model = build_model(loaded, 0)
    plain = three_steps(loaded, copy.deepcopy(model))
    torch.compiler.reset()
    with pytest.MonkeyPatch.context() as patch:
        compile_ = torch.nn.Module.compile
        patch.setattr(torch.nn.Module, "compile", lambda block: compile_(block, backend="aot_eager"))
        compile_blocks(model)
    assert three_steps(loaded, model) == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize(("algorithm", "kind"), [("AdamW", "AdamW"), ("NAdam", "NAdam"), ("SGD", "SGD")])
def test_a_row_chooses_its_optimiser(algorithm, kind, world_folder, tmp_path):
    """Each trains, and is another run; of AdamW, which came first, runs keep the name they had."""
    row = load(BASELINE, "smoke", [f"ALGORITHM = {algorithm!r}"])
    assert (row.digest == load(BASELINE, "smoke").digest) == (algorithm == "AdamW")
    optimiser = row.experiment.optimisation.optimiser(row.blueprint)
    assert type(optimiser).__name__ == kind and len(optimiser.param_groups) == 4
    train(row, world_folder, tmp_path / "run", 0, log_every=1)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 6 and all(map(math.isfinite, losses))


def test_an_unknown_optimiser_is_named():
    with pytest.raises(ConfigError, match="ALGORITHM = 'Adam': expected one of AdamW, NAdam, SGD"):
        load(BASELINE, "smoke", ["ALGORITHM = 'Adam'"])
