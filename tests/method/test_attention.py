"""Attention is torch's, by whichever way it is worked out."""

import pytest
import torch
import torch.nn.functional as F
from open_clip.transformer import CustomResidualAttentionBlock, ResidualAttentionBlock
from torch import nn

from core.model import attention
from core.model.attention import SelfAttention, attend, own_attention
from core.model.towers import ClipImageTower

CAUSAL = torch.full((7, 7), -torch.inf).triu(1)
MASKS = {"none": None, "numbers": CAUSAL, "booleans": CAUSAL == 0, "rows": (CAUSAL == 0).expand(3, 1, 7, 7)}


def tensors(tokens, dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.randn(3, 2, tokens, 8, dtype=dtype, requires_grad=True) for _ in range(3)]


def through_sdpa(monkeypatch):
    """Notes the calls of torch's own attention."""
    calls, theirs = [], F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *given: calls.append(1) or theirs(*given))
    return calls


@pytest.mark.parametrize("mask", MASKS)
def test_products_and_gradients_are_those_of_the_fused_kernel(mask):
    """In bfloat16 with gradients the products are plain; both must be as near to the truth."""
    exact = tensors(7)
    mask = MASKS[mask]
    truth = attend(*exact, mask if mask is None or mask.dtype == torch.bool else mask.double())
    seed = torch.randn_like(truth)
    rounded = [tensor.detach().bfloat16().requires_grad_() for tensor in exact]
    found = attend(*rounded, mask)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), truth, atol=0.02, rtol=0.05)
    for ours, theirs in zip(
        torch.autograd.grad(found, rounded, seed.bfloat16()), torch.autograd.grad(truth, exact, seed), strict=True
    ):
        torch.testing.assert_close(ours.double(), theirs, atol=0.04, rtol=0.05)


@pytest.mark.parametrize("mask", MASKS)
def test_weights_are_the_fused_kernels(mask):
    queries, keys, values = tensors(7)
    mask = MASKS[mask] if MASKS[mask] is None or MASKS[mask].dtype == torch.bool else MASKS[mask].double()
    read = (attention.weights(queries, keys, mask) @ values).transpose(1, 2).flatten(2)
    torch.testing.assert_close(read, attend(queries, keys, values, mask))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dropout_leaves_out_and_makes_up_for_it(dtype):
    queries, keys, _ = tensors(7, dtype)
    torch.manual_seed(0)
    found = attend(queries, keys, torch.ones_like(keys), dropout=0.5).float()
    assert found.std() > 0.1 and abs(found.mean() - 1) < 0.2
    torch.testing.assert_close(attend(queries, keys, torch.ones_like(keys)).float(), torch.ones_like(found), atol=0.01, rtol=0)


def test_only_bfloat16_with_gradients_goes_without_the_fused_kernel(monkeypatch):
    calls = through_sdpa(monkeypatch)
    attend(*tensors(7, torch.bfloat16))
    assert not calls
    attend(*tensors(7))
    with torch.inference_mode():
        attend(*tensors(7, torch.bfloat16))
    assert len(calls) == 2


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mask", [None, CAUSAL])
def test_self_attention_is_torchs(mask, training):
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(32, 4, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    tokens = torch.randn(2, 7, 32)
    ours = SelfAttention(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    with torch.set_grad_enabled(training):
        expected = theirs(tokens, tokens, tokens, need_weights=True, attn_mask=mask)
        torch.testing.assert_close(ours(tokens, tokens, tokens, need_weights=True, attn_mask=mask), expected)
        assert ours(tokens, tokens, tokens, attn_mask=mask)[1] is None


def test_towers_have_it_and_compute_as_open_clip_does(monkeypatch):
    arch = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": [16, 64], "patch_size": [16, 4], "layers": 2, "width": 32, "head_width": 8},
    }
    arch["text_cfg"] = {"context_length": 8, "vocab_size": 10, "width": 16, "heads": 2, "layers": 1}
    torch.manual_seed(0)
    ours = ClipImageTower(arch, None, (16, 64), None)
    monkeypatch.setattr("core.model.towers.own_attention", lambda blocks: None)
    torch.manual_seed(0)
    theirs = ClipImageTower(arch, None, (16, 64), None)
    assert all(type(block.attn) is SelfAttention for block in ours.visual.transformer.resblocks)
    assert all(type(block.attn) is nn.MultiheadAttention for block in theirs.visual.transformer.resblocks)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    images = torch.randn(2, 3, 16, 64)
    torch.testing.assert_close(ours.encode_image(images), theirs.encode_image(images))
    with torch.inference_mode():
        torch.testing.assert_close(ours.encode_image(images), theirs.encode_image(images))


def test_blocks_of_other_kinds_keep_their_attention():
    """open_clip's custom blocks normalise queries and keys, and are called otherwise."""
    known, custom = ResidualAttentionBlock(16, 2), CustomResidualAttentionBlock(16, 2, qk_norm=True)
    tokens = torch.randn(2, 5, 16)
    expected = known(tokens), custom(tokens)
    own_attention(nn.ModuleList([known, custom]))
    assert type(known.attn) is SelfAttention and type(custom.attn) is not SelfAttention
    torch.testing.assert_close((known(tokens), custom(tokens)), expected)


def test_weights_are_shares():
    queries, keys, _ = tensors(7)
    shares = attention.weights(queries, keys, MASKS["booleans"])
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, 2, 7, dtype=torch.float64))
    assert (shares[..., CAUSAL < 0] == 0).all()
