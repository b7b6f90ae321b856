"""Reading and training against a second writing of the paper's equations (tests/support/reference.py).

The second writing is itself held against outputs of the released code; toys of random weights, one and two decoder layers
deep, whose words end after anything between no letter and 25, then try every way of decoding.
"""

import numpy as np
import pytest
import torch

from core.model import autoregressive, decoding
from core.model.permutations import sample_permutations
from core.weights.released import build_released
from tests.support.checkout import MICRO_SIZE
from tests.support.golden import random_checkpoint
from tests.support.reference import OUTPUTS, Reference, released_names

TOLERANCE = {"atol": 1e-4, "rtol": 0.0}
TOYS = [(0, 1, 1.5), (1, 1, 1.5), (2, 1, 2.5), (3, 1, 1.5), (0, 2, 2.5), (1, 2, 1.5), (3, 2, 2.5)]  # seed, depth, ending
WORDS = ["Chicken", "no!", "", "x", "2,50"]


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 3, *MICRO_SIZE, generator=torch.Generator().manual_seed(1))


def toy(seed: int, depth: int, ending: float):
    checkpoint = random_checkpoint(seed, depth, ending)
    return build_released(checkpoint), Reference(checkpoint["state_dict"], image_heads=1, text_heads=1, decoder_heads=4)


def test_the_reference_is_the_released_code(golden):
    expected = np.load(golden / "expected.npz")
    tensors = torch.load(golden / "released.ckpt", weights_only=True)["state_dict"]
    reference = Reference({name: tensor.float() for name, tensor in tensors.items()}, 2, 1, 4)
    keys = {"visual_ar": "visual_logits_ar", "visual": "visual_logits_refine1", "cross_ar": "cross_logits_refine0"}
    keys["cross"] = "cross_logits_refine1"
    for number, image in enumerate(torch.from_numpy(expected["images"])):
        prediction = reference.predict(image)
        for name, key in keys.items():
            torch.testing.assert_close(prediction[name], torch.from_numpy(expected[key][number]), **TOLERANCE)
        assert reference.spell(prediction["cross"]) == expected["texts"][number]
    words, orders = [str(word) for word in expected["labels"]], expected["train_perms"].tolist()
    losses = reference.losses(torch.from_numpy(expected["images"]), words, orders)
    assert float(sum(losses)) == pytest.approx(float(expected["train_loss"]), abs=1e-4)


@pytest.fixture(params=[False, True], ids=["cpu", "as-on-a-gpu"])
def dear(request, monkeypatch):
    """Whether decoding goes as where asking the device is dear: wider passes, rarer questions, the same words."""
    for module in (autoregressive, decoding):
        monkeypatch.setattr(module, "waiting_is_costly", lambda device: request.param)


@pytest.mark.usefixtures("dear")
@pytest.mark.parametrize("toy_of", TOYS)
@pytest.mark.parametrize(
    "way",
    [
        *({"refine_steps": steps} for steps in range(4)),
        *({"decode": "cloze", "refine_steps": steps} for steps in range(3)),
        *({"fast_cross": True, "refine_steps": steps} for steps in range(3)),
    ],
    ids=str,
)
@torch.inference_mode()
def test_reading(toy_of, way):
    """Logits agree up to every word's own [E], and so do the words."""
    model, reference = toy(*toy_of)
    prediction = model.predict(images(), **way)
    for number, image in enumerate(images()):
        for name, expected in reference.predict(image, **way).items():
            found = getattr(prediction, name)[number]
            scored = min(len(reference.to_end(expected)) + 1, len(expected))
            torch.testing.assert_close(
                found[:scored], expected[:scored], **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}"
            )
            assert model.tokenizer.decode(found[None])[0] == [reference.spell(expected)]


def test_the_toys_try_what_the_paper_s_words_do():
    """Words that end at once, early and never; branches that disagree; refinement that changes words."""
    lengths, changed, disagree = set(), 0, 0
    for toy_of in TOYS:
        model, _ = toy(*toy_of)
        prediction = model.predict(images())
        words = {name: model.tokenizer.decode(getattr(prediction, name))[0] for name in OUTPUTS}
        lengths |= {len(word) for name in OUTPUTS for word in words[name]}
        changed += words["cross"] != words["cross_ar"]
        disagree += words["cross"] != words["visual"]
    assert {0, 1, 2, 26} <= lengths and len(lengths) > 10 and changed and disagree == len(TOYS)


@pytest.mark.parametrize("predicted_context", [False, True])
@pytest.mark.parametrize("toy_of", TOYS[::2])
def test_losses_and_every_gradient(toy_of, predicted_context):
    model, reference = toy(*toy_of)
    model.requires_grad_(True).predicted_context = predicted_context
    orders = sample_permutations(max(map(len, WORDS)), 6, True, torch.Generator().manual_seed(2))
    losses = model.losses(images(), WORDS, orders)
    losses.total.backward()
    for tensor in reference.tensors.values():
        tensor.requires_grad_(True)
    visual, cross = reference.losses(images(), WORDS, orders.tolist(), predicted_context)
    torch.testing.assert_close(losses.visual, visual, **TOLERANCE)
    torch.testing.assert_close(losses.cross, cross, **TOLERANCE)
    (visual + cross).backward()
    ours = released_names({name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None})
    theirs = {name: tensor.grad for name, tensor in reference.tensors.items() if tensor.grad is not None}
    assert set(ours) == set(theirs) and len(theirs) > 100
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-4, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")
