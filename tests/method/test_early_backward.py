"""The visual branch's backward pass before the cross-modal branch has begun: the same gradients, in one pass more."""

import pytest
import torch
from safetensors.torch import load_file

from core.experiment.experiment import load
from core.model import early_backward
from core.model.permutations import sample_permutations
from core.runtime.precision import autocast
from core.train.__main__ import main
from tests.support.checkout import BASELINE, MICRO_SIZE
from tests.support.processes import finish, start_team

WORDS = ["cat", "Table", "no!"]


def build(*bindings, row=BASELINE):
    torch.manual_seed(0)
    return load(row, "smoke", bindings).experiment.model(load_weights=False)


def gradients(model, factors=(1.0,), part="total"):
    """Of as many passes as there are factors, added up."""
    images = torch.randn(3, 3, *MICRO_SIZE, generator=torch.Generator().manual_seed(1)).to(
        model.visual_decoder.position_queries
    )
    orders = sample_permutations(5, 6, True, torch.Generator().manual_seed(3))
    for factor in factors:
        torch.manual_seed(7)
        losses = model.losses(images, WORDS, orders)
        (getattr(losses, part) * factor).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    return losses, found


ROWS = [
    (BASELINE, []),
    (BASELINE, ["DROPOUT = 0.1"]),
    (BASELINE, ["PREDICTED_CONTEXT = True"]),
    (BASELINE, ["TEXT_FROZEN = None"]),
]
ROWS += [("ablations/table_VI/image12-text6.gin", []), ("ablations/table_V/class-only.gin", [])]


@pytest.mark.parametrize(("row", "bindings"), ROWS)
@pytest.mark.parametrize("part", ["total", "visual", "cross"])
def test_gradients_are_the_same(row, bindings, part, monkeypatch):
    model = build(*bindings, row=row)
    plain, expected = gradients(model, (1.0, 0.3), part)
    monkeypatch.setattr(early_backward, "saves_time", lambda device: True)
    ahead, found = gradients(model, (1.0, 0.3), part)
    assert all(torch.equal(here, there) for here, there in zip(plain, ahead, strict=True))
    assert found.keys() == expected.keys() and any(gradient is not None for gradient in found.values())
    for name, gradient in expected.items():
        assert (gradient is None) == (found[name] is None), name
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_it_is_done_before_the_captions_are_waited_for(monkeypatch):
    monkeypatch.setattr(early_backward, "saves_time", lambda device: True)
    model, order = build(), []
    backward_early, finish = early_backward.backward_early, model.captions.finish
    monkeypatch.setattr(early_backward, "backward_early", lambda *given: order.append("backward") or backward_early(*given))
    monkeypatch.setattr(model.captions, "finish", lambda begun: order.append("captions") or finish(begun))
    gradients(model)
    assert order == ["backward", "captions"]
    with torch.no_grad():
        losses = model.losses(torch.zeros(1, 3, *MICRO_SIZE), ["a"], sample_permutations(1, 1, True, torch.Generator()))
    assert not losses.total.requires_grad and order == ["backward", "captions", "captions"]


def test_a_gradient_that_is_not_blocked_waits(monkeypatch):
    monkeypatch.setattr(early_backward, "saves_time", lambda device: True)
    monkeypatch.setattr(early_backward, "backward_early", None)
    gradients(build("BLOCK_IMAGE_GRADIENT = False"))


def test_only_a_gpu_gains_by_it():
    assert not early_backward.saves_time(torch.device("cpu")) and not early_backward.saves_time(torch.device("meta"))


def test_the_gradients_are_handed_on_once():
    weight = torch.nn.Parameter(torch.ones(2))
    loss = early_backward.backward_early((weight * 3).sum(), [weight, torch.nn.Parameter(torch.ones(1))]).attached()
    assert loss == 6 and weight.grad is None
    (2 * loss).backward(retain_graph=True)
    assert weight.grad.tolist() == [6, 6]
    with pytest.raises(TypeError):
        loss.backward()


def train_early(arguments):
    """A run whose device is taken for one that gains."""
    early_backward.saves_time = lambda device: True
    main(arguments)


def test_processes_and_passes_still_add_up_to_one_step(world_folder, tmp_path):
    """2 processes x 2 passes x 2 images, each with its gradients early_backward, against 8 images at once and none early."""
    settings = ["TRAIN_STEPS = 3", "EPOCHS = None", "PERMUTATIONS = 6", "AUGMENT_OPS = 0"]
    arguments = [BASELINE, "--scale", "smoke", "--data", str(world_folder), "--tracking", "off", "--threads", "1"]
    arguments += [word for line in settings for word in ("--set", line)]
    main([*arguments, "--out", str(tmp_path / "whole"), "--set", "DEVICE_BATCH = 8"])
    shared = [*arguments, "--out", str(tmp_path / "shared"), "--set", "DEVICE_BATCH = 2"]
    team = start_team(2, train_early, shared, log=tmp_path / "team.log")
    assert finish(team) == [0, 0], (tmp_path / "team.0.log").read_text()
    weights, others = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "shared"))
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=0, atol=1e-5, msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_gradients_on_a_gpu_are_the_same(precision, monkeypatch):
    model = build().cuda()
    with autocast("cuda", precision):
        assert early_backward.saves_time(torch.device("cuda")) == (precision != "fp16")
        found = gradients(model)[1]
        monkeypatch.setattr(early_backward, "saves_time", lambda device: False)
        expected = gradients(model)[1]
    for name, gradient in expected.items():
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)
