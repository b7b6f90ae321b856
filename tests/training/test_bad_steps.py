"""Steps whose loss or gradient is not finite, or far from the others'."""

import json

import pytest
import torch

from core.errors import ConfigError, TrainingError
from core.experiment.experiment import load
from core.train.loss_monitor import BadStep, LossMonitor
from core.train.run import train
from tests.support.checkout import BASELINE
from tests.support.states import saved_tensors, states

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_lagging_step_is_judged_before_anything_is_kept():
    bad, good = torch.tensor([torch.nan] * 3), torch.tensor([5.0] * 3)
    for late in (lambda watch: watch.record(3, good, good[0]), lambda watch: watch.flush()):
        watch = LossMonitor(max_loss_ratio=10.0, most_skipped=0, norms=True, lag=1)
        watch.record(1, good, good[0])
        watch.record(2, bad, good[0])
        with pytest.raises(BadStep) as error:
            late(watch)
        assert error.value.step == 2 and watch.state_dict()["history"] == [5.0]


@pytest.mark.parametrize("value", [float("nan"), 1e4])
def test_a_bad_loss_reaches_neither_weights_nor_state(world_folder, tmp_path, at_step, monkeypatch, value):
    """In step 5, state after 4: the weights in memory are those of the state too."""
    kept = {}

    def spoil(run):
        losses, passes = run.model.cross_entropy, run.model.losses
        kept.update(run=run, words=[])
        monkeypatch.setattr(
            run.model, "losses", lambda images, words, *others: kept["words"].extend(words) or passes(images, words, *others)
        )
        monkeypatch.setattr(run.model, "cross_entropy", lambda *arguments: losses(*arguments) * value)

    at_step(5, spoil)
    loaded = load(BASELINE, "smoke", ["optim.Optimisation.most_skipped = 0"])
    with pytest.raises(TrainingError) as error:
        train(loaded, world_folder, tmp_path, 0)
    assert states(tmp_path) == ["step-000000004"]
    assert all(torch.isfinite(tensor).all() for tensor in saved_tensors(tmp_path).values())
    weights = kept["run"].model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in saved_tensors(tmp_path).items())
    record = json.loads((tmp_path / "bad-step.json").read_text())
    assert record["step"] == 5 and len(record["samples"]) == 8
    assert sorted(sample["label"] for sample in record["samples"]) == sorted(kept["words"])
    message = str(error.value)
    assert "at step 5, which read samples" in message and ("nan" in message or "more than 10 times" in message)
    first = record["samples"][0]
    assert f"{first['index']} ({first['lmdb']} {first['key']})" in message
    lmdb, sample = kept["run"].words.sample(first["index"])
    assert (str(lmdb.path), f"image-{sample.index:09d}", sample.label) == (first["lmdb"], first["key"], first["label"])


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_is_not_finite_is_left_out(world_folder, tmp_path, at_step, monkeypatch, fused, capsys):
    """Weights and moments stay, the step is counted and said, and the run goes on to its end."""
    before, found = {}, {}

    def spoil(run):
        losses = run.model.cross_entropy

        def once(*arguments):
            monkeypatch.setattr(run.model, "cross_entropy", losses)
            return losses(*arguments) * float("nan")

        before.update({name: tensor.clone() for name, tensor in run.model.state_dict().items()})
        monkeypatch.setattr(run.model, "cross_entropy", once)

    def compare(run):
        weights = run.model.state_dict()
        found["same"] = all(torch.equal(tensor, weights[name]) for name, tensor in before.items())
        found["updates"] = {int(state["step"]) for state in run.optimiser.optimizer.state.values()}

    at_step(4, spoil)
    at_step(5, compare)
    train(load(BASELINE, "smoke", [f"optim.Optimisation.fused = {fused}"]), world_folder, tmp_path, 0, log_every=1)
    assert found == {"same": True, "updates": {3}}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "loss" in line]
    assert [line["skipped_steps"] for line in logged] == [0, 0, 0, 1, 1, 1]
    assert [line["loss"] is None for line in logged] == [False, False, False, True, False, False]
    assert json.loads((tmp_path / "provenance.json").read_text())["skipped_steps"] == 1
    assert "step 4 left out: the loss is nan" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_that_is_not_finite_changes_nothing(world_folder, tmp_path, at_step, fused):
    """Whatever the loss is."""
    before, found = {}, {}

    def spoil(run):
        before.update({name: tensor.clone() for name, tensor in run.model.state_dict().items()})
        hook = run.model.visual_decoder.head.weight.register_hook(lambda gradient: hook.remove() or gradient * torch.inf)

    def compare(run):
        weights = run.model.state_dict()
        found["same"] = all(torch.equal(tensor, weights[name]) for name, tensor in before.items())

    at_step(4, spoil)
    at_step(5, compare)
    train(load(BASELINE, "smoke", [f"optim.Optimisation.fused = {fused}"]), world_folder, tmp_path, 0, log_every=1)
    assert found["same"] and json.loads((tmp_path / "provenance.json").read_text())["skipped_steps"] == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["grad_norm"] is None for line in lines if "loss" in line] == [False, False, False, True, False, False]
    assert all(line["loss"] for line in lines if "loss" in line)


def test_too_many_steps_left_out_stop_the_run():
    watch, norm = LossMonitor(max_loss_ratio=10.0, most_skipped=2, norms=True), torch.tensor(1.0)
    bad, good = torch.tensor([torch.nan] * 3), torch.tensor([5.0] * 3)
    for step in range(1, 200):
        watch.record(step, bad if step in (3, 50, 104, 160) else good, norm)  # never three within 100
    again = LossMonitor(max_loss_ratio=10.0, most_skipped=2, norms=True)
    again.load_state_dict(watch.state_dict())
    with pytest.raises(BadStep, match=r"norm is inf .* in 3 of the last 100 steps, more than the 2 that may be left out"):
        again.record(200, good, torch.tensor(torch.inf))
    assert again.skipped == 5


def test_a_loss_is_judged_by_the_median_before_it():
    watch = LossMonitor(max_loss_ratio=10.0, most_skipped=0, norms=True)
    norm = torch.tensor(1.0)
    for step, loss in enumerate([8.0, 79.0, 6.0], start=1):  # nothing is known at first, then 80 is the limit
        watch.record(step, torch.tensor([loss, loss, torch.nan]), norm)
    again = LossMonitor(max_loss_ratio=10.0, most_skipped=0, norms=True)
    again.load_state_dict(watch.state_dict())
    again.record(4, torch.tensor([79.9, 0.0, 0.0]), norm)
    with pytest.raises(BadStep, match="the loss is 500, more than 10 times 43.5, the median of the last 4 steps"):
        again.record(5, torch.tensor([500.0, 0.0, 0.0]), norm)
    with pytest.raises(BadStep, match="gradient's norm is inf"):
        again.record(5, torch.tensor([5.0, 0.0, 0.0]), torch.tensor(torch.inf))
    late = LossMonitor(max_loss_ratio=10.0, most_skipped=0, norms=False)
    late.record(1, torch.tensor([0.01, 0.0, 0.0]), torch.tensor(torch.inf))
    late.record(2, torch.tensor([9.9, 0.0, 0.0]), norm)  # a wrong label among right ones
    with pytest.raises(BadStep):
        late.record(3, torch.tensor([50.0, 0.0, 0.0]), norm)
    with pytest.raises(ConfigError, match="Optimisation.max_loss_ratio = 1.0: an ordinary loss"):
        load(BASELINE, "smoke", ["optim.Optimisation.max_loss_ratio = 1"])
