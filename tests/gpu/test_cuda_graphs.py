"""CUDA graphs of the parts of reading, where there is a GPU to record them."""

import pytest
import torch

from core.experiment.experiment import load
from core.model import clip4str, cuda_graphs
from core.runtime.precision import autocast
from tests.gpu.test_method import ROWS
from tests.support.checkout import BASELINE, ROOT


def read(model, batches, precision):
    with autocast(batches[0].device, precision):
        return [model.predict(images) for images in batches]


def called(model, batches, precision, monkeypatch):
    """What the model reads when nothing is recorded."""
    with monkeypatch.context() as patch:
        for module in (cuda_graphs, clip4str):
            patch.setattr(module, "can_replay", lambda module, device: False)
        return read(model, batches, precision)


def built(device, row, *bindings):
    torch.manual_seed(0)
    model = load(row, "smoke", bindings).experiment.model(load_weights=False).to(device).eval()
    for decoder in filter(None, (model.visual_decoder, model.cross_decoder)):
        torch.nn.init.normal_(decoder.head.weight, std=1.0)  # so that words differ, and guesses are wrong
    return model


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_recorded_reading_is_the_same(precision, depth, device, monkeypatch):
    model = built(device, BASELINE, f"DECODER_DEPTH = {depth}")
    batches = [torch.randn(count, 3, *model.towers.image_size, device=device) for count in (6, 6, 6, 3, 6, 3, 3)]
    expected = called(model, batches, precision, monkeypatch)
    for one, other in zip(read(model, batches, precision), expected, strict=True):
        for name in ("visual_ar", "visual", "cross_ar", "cross"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-4, rtol=1e-4)
    if device.type == "cuda":
        recorded = [cuda_graphs.GRAPHS[module] for module in (model, model.visual_decoder, model.cross_decoder)]
        assert all(each.graphs and not each.refused for each in recorded)


@pytest.mark.parametrize("row", ROWS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_tower_and_adapter_is_recorded(row, device, monkeypatch):
    model = built(device, str(row.relative_to(ROOT)))
    batches = [torch.randn(2, 3, *model.towers.image_size, device=device) for _ in range(3)]
    expected = called(model, batches, "no", monkeypatch)
    for one, other in zip(read(model, batches, "no"), expected, strict=True):
        torch.testing.assert_close(one.output, other.output, atol=1e-4, rtol=1e-4)
    assert device.type != "cuda" or not cuda_graphs.GRAPHS[model].refused


@torch.inference_mode()
def test_a_part_that_waits_is_called_and_random_numbers_go_on(device, caplog):
    def waiting(module, memory, tensor):
        return tensor * tensor.sum().item()

    tensor, module = torch.ones(2, device=device), torch.nn.Linear(1, 1).to(device).eval()
    for _ in range(3):
        assert cuda_graphs.replayed(waiting, module, [], tensor).tolist() == [2.0, 2.0]
    assert torch.randn(3, device=device).isfinite().all()
    if device.type == "cuda":
        (warning,) = caplog.messages
        assert "no CUDA graph of" in warning and "waiting" in warning
