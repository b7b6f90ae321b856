"""Memory of a training step: counted on models without values, and on real ones under mixed precision.

    MEMORY_MODELS='clip4str-b clip4str-l clip4str-h' pytest tests/method/test_device_memory.py -k mixed

counts on all three real models (12 GB, half a minute on two cores) instead of the smallest.
"""

import os
from dataclasses import replace

import pytest
import torch

from ablations.assumptions import read_assumptions
from ablations.blueprint import read
from ablations.device_memory import Footprint, footprint, verdict_on
from ablations.row_config import Work
from core.experiment.experiment import load
from core.experiment.operations import fake_captions
from core.experiment.step_memory import saved_by, saved_bytes
from core.model.permutations import sample_permutations

MIXED = {"clip4str-b": (12.8, 15), "clip4str-l": (37.6, 45), "clip4str-h": (67.6, 85)}  # GB for 128 images, bf16
FLOAT32 = {"clip4str-b": 24.7, "clip4str-l": 74.0, "clip4str-h": 132.3}
COUNTED = os.environ.get("MEMORY_MODELS", "clip4str-b").split()  # on real models


def counted(model: str, scale: str = "paper") -> tuple[Footprint, object]:
    gin = f"ablations/table_II/{model}.gin"
    saved = saved_bytes(load(gin, scale).blueprint, 1.0)
    reading = read(gin, scale)
    return footprint(Work(0, 0, 0, saved.image, saved.once), reading, read_assumptions()), reading


class AsOnGPUs:
    """torch for core.model.attention, which then takes the fused kernel as a GPU does, not the plain products of a CPU."""

    def __getattr__(self, name):
        return getattr(torch, name)

    @staticmethod
    def is_grad_enabled():
        return False


@pytest.mark.parametrize("name", COUNTED)
def test_mixed_precision_keeps_what_devices_yaml_says(name, monkeypatch):
    """A real forward pass under autocast, of one image and of two; attention counts as a fused kernel computes it."""
    monkeypatch.setattr("core.model.attention.torch", AsOnGPUs())
    model = load(f"ablations/table_II/{name}.gin", "paper").experiment.model(load_weights=False)
    with torch.autocast("cpu", torch.bfloat16):
        image = saved_by(model, 2, 1.0) - saved_by(model, 1, 1.0)
    assert 128 * image / 1e9 == pytest.approx(MIXED[name][0], abs=0.05)
    whole = saved_bytes(load(f"ablations/table_II/{name}.gin", "paper").blueprint, 1.0).image
    assert 128 * whole / 1e9 == pytest.approx(FLOAT32[name], abs=0.05)
    assert image / whole == pytest.approx(read_assumptions().mixed_saved, rel=0.015)


@pytest.mark.parametrize("model", MIXED)
def test_the_estimate_is_what_was_counted(model):
    """128 images under bf16: activations within 1.5 %, all of it to the printed GB."""
    needed, reading = counted(model)
    activations, total = MIXED[model]
    assert 128 * needed.image / 1e9 == pytest.approx(activations, rel=0.015)
    assert needed.needs(128) / 1e9 == pytest.approx(total, abs=0.6)
    for device in ("nvidia_a100", "nvidia_h100"):
        assert verdict_on(needed, reading, read_assumptions(device).usable_bytes) == "fits"


def test_the_huge_model_does_not_fit_at_128():
    needed, reading = counted("clip4str-h")
    usable = read_assumptions("nvidia_h100").usable_bytes
    assert verdict_on(needed, replace(reading, device_batch=128), usable) == "does not fit: DEVICE_BATCH = 64 would"
    assert needed.needs(64) <= usable < needed.needs(128)
    assert verdict_on(needed, reading, 16e9) == "does not fit at any DEVICE_BATCH"


def test_float32_counts_whole_and_no_copies():
    needed, reading = counted("clip4str-b", "smoke")
    assert reading.precision == "no"
    assert needed.fixed == pytest.approx(4 * reading.counts.total + 12 * reading.counts.trainable, rel=0.01)


def test_a_blueprint_saves_what_a_model_with_values_saves(model):
    """The same hooks over a real forward pass of the shipped towers, whose attention is a fused kernel too."""
    words, held = ["a" * model.max_letters] * 4, {}

    def save(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    orders = sample_permutations(model.max_letters, model.num_permutations, model.mirrored, torch.Generator().manual_seed(0))
    images = torch.randn(4, 3, *model.towers.image_size)
    hooks = torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor)
    with fake_captions(model, model.max_letters, 1.0), hooks:  # or captions would repeat, which are read once
        model.train().losses(images, words, orders)
    real = sum(tensor.untyped_storage().nbytes() for pointer, tensor in held.items() if pointer not in weights)
    found = saved_bytes(load("ablations/table_VI/image0-text6.gin", "micro").blueprint, 1.0)
    assert 4 * found.image + found.once == pytest.approx(real, rel=0.02)
