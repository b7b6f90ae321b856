"""The image tower's passes as CUDA graphs: when, and by the same numbers; on the CPU torch's recorder is a stand-in."""

import pytest
import torch
from accelerate import Accelerator

from core.data.loading import Batch
from core.experiment.experiment import load
from core.model import early_backward
from core.model.permutations import sample_permutations
from core.train import tower_graphs
from core.train.orders import Orders
from core.train.run import train
from core.train.step import LossModule, backward, share_of
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


def static_recorder(module, sample, allow_unused_input):
    """torch.cuda.make_graphed_callables on the CPU: outputs and gradients have fixed places, which each replay overwrites."""
    weights, forward, kept = tuple(module.parameters()), module.forward, {}

    def put(name: str, tensor: torch.Tensor) -> torch.Tensor:
        kept[name] = kept[name].copy_(tensor) if name in kept else tensor.clone()
        return kept[name].detach()

    class Replay(torch.autograd.Function):
        @staticmethod
        def forward(context, images, *weights):
            with torch.enable_grad():
                kept["graph"] = forward(images)
            return put("tokens", kept["graph"].detach())

        @staticmethod
        def backward(context, gradient):
            learned = [number for number, weight in enumerate(weights) if weight.requires_grad]
            found = torch.autograd.grad(kept["graph"], [weights[number] for number in learned], gradient, allow_unused=True)
            own = {
                number: put(f"gradient {number}", one) for number, one in zip(learned, found, strict=True) if one is not None
            }
            return None, *(own.get(number) for number in range(len(weights)))

    module.forward = lambda images: Replay.apply(images, *weights)
    return module


@pytest.mark.parametrize("early", [False, True])
def test_the_passes_of_a_step_add_up(early, monkeypatch):
    """Four passes of two images each make the gradient of one pass over eight."""
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", static_recorder)
    monkeypatch.setattr(early_backward, "saves_time", lambda device: early)
    model = load(BASELINE, "smoke", ["DROPOUT = 0.0"]).experiment.model(load_weights=False).train()
    pixels = torch.randint(0, 256, (8, 3, *model.towers.image_size), dtype=torch.uint8)
    words, gradients = [*"abcdefgh"], []
    for count in (8, 2):
        network = LossModule(model)
        if count == 2:
            network.graphed_tower = (2, tower_graphs.graphed_tower(model, 2, torch.device("cpu"), "no"))
        starts = range(0, 8, count)
        places = [*range(count)]
        passes = [Batch(pixels[i : i + count], words[i : i + count], places, ["x"] * count, places, [], "clip") for i in starts]
        orders = Orders(0, 1, 128, model.num_permutations, model.mirrored)
        backward(network, model, passes, [*starts], [share_of(passes)], Accelerator(cpu=True), orders)
        gradients.append({name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None})
        model.zero_grad()
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, rtol=1e-3, atol=1e-5, msg=name)
