"""The method on a GPU: the released code's logits, the CPU's loss and gradients, every tower and adapter a step."""

import numpy as np
import pytest
import torch

from core.experiment.experiment import load
from core.model.permutations import sample_permutations
from core.weights.checkpoint import load_model
from tests.support.checkout import BASELINE, ROOT

WORDS = ["cat", "Table", "no!", "x"]
ROWS = [
    *sorted((ROOT / "ablations/table_VIII").glob("*.gin")),
    *(ROOT / f"ablations/table_VII/{name}.gin" for name in ("scratch", "imagenet-1k", "imagenet-21k")),
    *(ROOT / f"ablations/table_V/{name}.gin" for name in ("base", "class-only", "vit-l")),
]


def built(device, *bindings, row=BASELINE):
    torch.manual_seed(0)
    return load(row, "smoke", bindings).experiment.model(load_weights=False).to(device)


def batch(model, device):
    images = torch.randn(4, 3, *model.towers.image_size, generator=torch.Generator().manual_seed(1))
    return images.to(device), sample_permutations(5, 6, True, torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("settings", "output", "key"),
    [
        ({}, "visual_ar", "visual_logits_ar"),
        ({}, "visual", "visual_logits_refine1"),
        ({}, "cross", "cross_logits_refine1"),
        ({"refine_steps": 3}, "cross", "cross_logits_refine3"),
        ({"fast_cross": True}, "cross", "cross_logits_fast_refine1"),
    ],
)
def test_golden_logits_in_float32(golden, device, settings, output, key):
    model, expected = load_model(golden / "released.ckpt").to(device), np.load(golden / "expected.npz")
    prediction = model.predict(torch.from_numpy(expected["images"]).to(device), **settings)
    torch.testing.assert_close(getattr(prediction, output).cpu(), torch.from_numpy(expected[key]), atol=1e-4, rtol=0.0)


def test_golden_characters_in_bfloat16(golden, device):
    """The first character, which no earlier slip can move, wherever float32 is sure of it by more than bfloat16's error."""
    model, expected = load_model(golden / "released.ckpt").to(device), np.load(golden / "expected.npz")
    with torch.autocast(device.type, torch.bfloat16):
        found = model.predict(torch.from_numpy(expected["images"]).to(device)).visual_ar[:, 0].float().cpu()
    exact = torch.from_numpy(expected["visual_logits_ar"])[:, 0]
    first, second = exact.topk(2).values.unbind(-1)
    assert torch.equal(found.argmax(-1)[first - second > 0.1], exact.argmax(-1)[first - second > 0.1])
    torch.testing.assert_close(found, exact, atol=0.15, rtol=0.0)


def test_loss_and_gradients_are_the_cpus(device):
    losses, norms = [], []
    for place in (torch.device("cpu"), device):
        model = built(place, "DROPOUT = 0.0")
        images, orders = batch(model, place)
        total = model.losses(images, WORDS, orders).total
        total.backward()
        losses.append(total.item())
        norms.append({name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None})
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert norms[1] == pytest.approx(norms[0], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("row", ROWS, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_every_tower_and_adapter_takes_a_step(row, precision, device):
    model = built(device, row=str(row.relative_to(ROOT))).train()
    images, orders = batch(model, device)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(3):
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            loss = model.losses(images, WORDS, orders).total
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    prediction = model.eval().predict(images)
    assert torch.isfinite(prediction.output).all() and prediction.output.device.type == device.type
