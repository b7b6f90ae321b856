"""What the optimiser is handed at every step: the step's learning rates, and a gradient of limited norm."""

import json

import pytest
import torch

from core.experiment.experiment import load
from core.experiment.optim import one_cycle
from core.model.clip4str import CLIP4STR, Losses
from core.train.loop import Run
from core.train.run import train
from tests.support.checkout import BASELINE

LIMIT = 1e-3  # far below the gradient's norm


@pytest.fixture(scope="module")
def steps(world_folder, tmp_path_factory):
    """A run of 6 steps: its configuration, its log, and at each update the gradient's norm and the rates of all groups."""
    loaded = load(BASELINE, "smoke", [f"optim.Optimisation.clip_grad_norm = {LIMIT}"])
    out, handed, update = tmp_path_factory.mktemp("steps"), [], Run.update

    def watched(run, finite):
        gradients = [weight.grad.norm() for weight in run.model.parameters() if weight.grad is not None]
        rates = {group["peak_lr"]: group["lr"] for group in run.optimiser.param_groups}
        handed.append((torch.stack(gradients).norm().item(), rates))
        return update(run, finite)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "update", watched)
        train(loaded, world_folder, out, 0, log_every=1)
    log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return loaded.experiment.optimisation, [line for line in log if "lr" in line], handed


def test_each_step_has_its_learning_rate(steps):
    """The first step has the first rate of the schedule, in the log and in the optimiser."""
    optimisation, log, handed = steps
    shares = [one_cycle(step, 6, optimisation.warmup) for step in range(6)]
    assert [line["lr"] for line in log] == pytest.approx([optimisation.lr * share for share in shares])
    for (_, rates), share in zip(handed, shares, strict=True):
        assert list(rates.values()) == pytest.approx([peak * share for peak in rates])


def test_the_log_has_each_loss_under_its_name(world_folder, tmp_path, monkeypatch):
    def known(model, *arguments):
        nothing = sum(parameter.sum() for parameter in model.parameters() if parameter.requires_grad) * 0.0
        return Losses(nothing + 3.0, torch.tensor(1.0), torch.tensor(2.0))

    monkeypatch.setattr(CLIP4STR, "losses", known)
    train(load(BASELINE, "smoke", ["TRAIN_STEPS = 1"]), world_folder, tmp_path, 0)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert [line[name] for name in ("loss", "loss_visual", "loss_cross")] == pytest.approx([3, 1, 2])


def test_a_large_gradient_is_clipped(steps):
    """The log has its norm as it was, the optimiser the clipped gradient."""
    _, log, handed = steps
    assert all(norm <= LIMIT * 1.001 for norm, _ in handed) and len(handed) == 6
    assert all(line["grad_norm"] > 10 * norm for line, (norm, _) in zip(log, handed, strict=True))
