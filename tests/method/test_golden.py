"""The released layout, read and run: logits and loss agree with the reference to 1e-4 in float32."""

import numpy as np
import pytest
import torch

from core.weights.checkpoint import load_model

TOLERANCE = {"atol": 1e-4, "rtol": 0.0}


@pytest.fixture
def reference(golden):
    model = load_model(golden / "released.ckpt")
    assert model.normalisation == "half"
    return model, np.load(golden / "expected.npz")


@pytest.mark.parametrize(
    ("settings", "output", "key"),
    [
        ({}, "visual_ar", "visual_logits_ar"),
        ({}, "visual", "visual_logits_refine1"),
        ({"refine_steps": 0}, "cross", "cross_logits_refine0"),
        ({"refine_steps": 1}, "cross_ar", "cross_logits_refine0"),
        ({"refine_steps": 1}, "cross", "cross_logits_refine1"),
        ({"refine_steps": 3}, "cross", "cross_logits_refine3"),
        ({"fast_cross": True}, "cross", "cross_logits_fast_refine1"),
    ],
)
def test_logits(reference, settings, output, key):
    model, expected = reference
    prediction = model.predict(torch.from_numpy(expected["images"]), **settings)
    torch.testing.assert_close(getattr(prediction, output), torch.from_numpy(expected[key]), **TOLERANCE)


def test_image_tokens_and_text(reference):
    model, expected = reference
    images = torch.from_numpy(expected["images"])
    with torch.no_grad():
        tokens = model.towers.encode_image(images)
    torch.testing.assert_close(tokens, torch.from_numpy(expected["image_tokens"]), **TOLERANCE)
    assert model.tokenizer.decode(model.predict(images).output)[0] == expected["texts"].tolist()


def test_loss_and_gradients(reference):
    model, expected = reference
    model.requires_grad_(True)
    words = [str(label) for label in expected["labels"]]
    losses = model.losses(torch.from_numpy(expected["images"]), words, torch.from_numpy(expected["train_perms"]))
    assert losses.total.item() == pytest.approx(float(expected["train_loss"]), abs=1e-4)
    losses.total.backward()
    names = {"pos_queries": "position_queries", "text_embed.embedding": "context_embedding", "clip_model": "towers.clip"}
    checked = 0
    for key in (key for key in expected if key.startswith("gradnorm.")):
        name = key.removeprefix("gradnorm.")
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        assert model.get_parameter(name).grad.norm().item() == pytest.approx(float(expected[key]), abs=1e-4)
        checked += 1
    assert checked == 7


def test_a_missing_tensor_is_named(golden, tmp_path):
    checkpoint = torch.load(golden / "released.ckpt", weights_only=True)
    del checkpoint["state_dict"]["cross_decoder.head.bias"]
    torch.save(checkpoint, tmp_path / "cut.ckpt")
    with pytest.raises(ValueError, match=r"cut.ckpt: cross_decoder.head.bias: the model has \(95,\), the file no such tensor"):
        load_model(tmp_path / "cut.ckpt")
