"""The image tower's passes as CUDA graphs: when, and by the same numbers; on the CPU torch's recorder is a stand-in."""

import pytest
import torch

from core.experiment.experiment import load
from core.model.permutations import sample_permutations
from core.train import tower_graphs
from core.train.run import train
from core.train.step import LossModule
from tests.support.checkout import BASELINE

GPU = torch.device("cuda")


@pytest.fixture
def calls(monkeypatch):
    """How many images each recorded pass had; the recorder gives the module itself back."""
    seen = []

    def record(module, sample, allow_unused_input):
        assert allow_unused_input
        module.register_forward_hook(lambda module, inputs, tokens: seen.append(len(inputs[0])))
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    return seen


@pytest.mark.parametrize(
    ("row", "bindings", "device", "processes", "reason"),
    [
        (BASELINE, [], GPU, 1, None),
        (BASELINE, [], torch.device("cpu"), 1, "there is no GPU"),
        (BASELINE, [], GPU, 2, "2 processes exchange gradients"),
        (BASELINE, ["IMAGE_FROZEN = 1.0"], GPU, 1, "the image tower is frozen"),
        ("ablations/table_VIII/lst-r4.gin", [], GPU, 1, "an adapter"),
    ],
)
def test_where_it_is_possible(row, bindings, device, processes, reason):
    model = load(row, "smoke", bindings).experiment.model(load_weights=False)
    found = tower_graphs.reason_not_graphed(model, device, processes)
    assert (found is None) if reason is None else reason in found


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_losses_and_gradients_are_the_same(calls, precision):
    torch.manual_seed(0)
    model = load(BASELINE, "smoke", ["DROPOUT = 0.0"]).experiment.model(load_weights=False).train()
    network = LossModule(model)
    orders = sample_permutations(5, 2, True, torch.Generator().manual_seed(0))
    images = torch.randn(4, 3, *model.towers.image_size)
    found = []
    for on in (False, True):
        if on:
            network.graphed_tower = (4, tower_graphs.graphed_tower(model, 4, torch.device("cpu"), precision))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = network(images, ["one", "two", "three", "a"], orders).total
        loss.backward()
        found.append([loss.item(), *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None)])
        model.zero_grad()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    network(images[:3], ["one", "two", "three"], orders)
    assert calls == [4]  # three images are none of the recorded ones
    assert "recorded" not in "".join(network.state_dict())


def test_a_training_uses_it_and_says_where_it_cannot(world_folder, tmp_path, calls, monkeypatch, capsys):
    row = load(BASELINE, "smoke", ["DROPOUT = 0.0", "optim.Optimisation.graphs = True"])
    train(row, world_folder, tmp_path / "without", 0)
    assert "Optimisation.graphs = True changes nothing: there is no GPU" in capsys.readouterr().out and not calls
    monkeypatch.setattr(tower_graphs, "reason_not_graphed", lambda model, device, processes: None)
    train(row, world_folder, tmp_path / "with", 0)
    assert calls
    assert len({(tmp_path / name / "model.safetensors").read_bytes() for name in ("with", "without")}) == 1
