import pytest
import torch

from core.model import attention
from core.model.decoder import Decoder
from core.model.decoding import predict_and_refine
from core.model.permutations import content_mask, forward_ranks, query_mask, ranks_of, sample_permutations
from core.model.tokenizer import Tokenizer

TOKENIZER = Tokenizer("abc")


def make(depth=1, dropout=0.0, outputs=6):
    torch.manual_seed(0)
    decoder = Decoder(
        embed_dim=16, num_heads=2, depth=depth, mlp_ratio=2.0, dropout=dropout, num_classes=4, max_outputs=outputs
    ).eval()
    for parameter in decoder.parameters():  # the small initialisation would hide differences
        parameter.data.normal_(0, 0.5)
    return decoder


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_steps_equal_one_masked_pass(depth):
    decoder, memory = make(depth), torch.randn(3, 5, 16)
    projected = decoder.project_memory(memory)
    ids = torch.randint(0, 4, (3, 6))
    ids[:, 0] = TOKENIZER.bos
    ranks = forward_ranks(6)
    whole = decoder(ids, projected, query_mask(ranks), content_mask(ranks))
    cache = [None] * depth
    steps = torch.stack([decoder.step(ids[:, i], i, cache, projected) for i in range(6)], 1)
    torch.testing.assert_close(steps, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("captions_per_order", [False, True])
@pytest.mark.parametrize("context_per_order", [False, True])
def test_all_orders_at_once_equal_one_after_another(depth, captions_per_order, context_per_order):
    decoder = make(depth)
    permutations = sample_permutations(5, 6, True, torch.Generator().manual_seed(0))
    ranks = ranks_of(permutations)
    ids = torch.tensor([[4, 1, 2, 3, 1, 2], [4, 2, 2, 0, 5, 5]])[:, None].repeat(1, 6, 1)
    if context_per_order:
        ids[:, 1:, 1] = 3
    readable = (ids != 0) & (ids != 5)
    memory, captions = torch.randn(2, 7, 16), torch.randn(2, 6, 3, 16)
    given = (ids.flatten(0, 1), readable.flatten(0, 1)) if context_per_order else (ids[:, 0], readable[:, 0])
    texts = decoder.project_memory(captions.flatten(0, 1)) if captions_per_order else None
    together = decoder.permuted(given[0], decoder.project_memory(memory), ranks, given[1], texts)
    for k in range(6):
        allowed = query_mask(ranks[k]) & readable[:, k, None]
        content = content_mask(ranks[k]) & readable[:, k, None]
        read = torch.cat([memory, captions[:, k]], 1) if captions_per_order else memory
        alone = decoder(ids[:, k], decoder.project_memory(read), allowed, content)
        torch.testing.assert_close(together[:, k], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("depth", [1, 2])
def test_an_output_never_sees_what_comes_later(depth):
    """Change a character: only outputs that come after it in the order may change."""
    decoder = make(depth)
    ranks = ranks_of(sample_permutations(5, 6, True, torch.Generator().manual_seed(2)))
    projected = decoder.project_memory(torch.randn(1, 4, 16))
    ids = torch.tensor([[4, 1, 2, 3, 1, 2]])
    readable = torch.ones_like(ids, dtype=torch.bool)
    before = decoder.permuted(ids, projected, ranks, readable)
    for position in range(1, 6):
        changed = ids.clone()
        changed[0, position] = 3 if ids[0, position] != 3 else 1
        moved = (decoder.permuted(changed, projected, ranks, readable) - before).abs().amax(-1)[0] > 1e-6
        assert torch.equal(moved, query_mask(ranks)[:, :, position])


def test_unreadable_context_changes_nothing():
    decoder = make()
    projected = decoder.project_memory(torch.randn(1, 4, 16))
    ids = torch.tensor([[4, 1, 0, 5, 5, 5]])
    other = torch.tensor([[4, 1, 0, 2, 3, 1]])
    readable = torch.tensor([[True, True, False, False, False, False]])
    ranks = forward_ranks(6)
    torch.testing.assert_close(
        decoder.permuted(ids, projected, ranks, readable),
        decoder.permuted(other, projected, ranks, readable),
    )


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("decode", ["ar", "cloze"])
@pytest.mark.parametrize("refine_steps", [0, 1, 2])
@pytest.mark.parametrize("fast_cross", [False, True])
def test_decoding_with_early_stop(depth, decode, refine_steps, fast_cross):
    """Words that end at once: shapes hold and the text is empty, at any depth (the released code crashes at 2)."""
    visual, cross = make(depth), make(depth)
    for decoder in (visual, cross):
        decoder.head.bias.data[0] = 1000.0
    memory = torch.randn(3, 4, 16)
    prediction = predict_and_refine(
        visual,
        visual.project_memory(memory),
        cross,
        lambda predictions: [cross.project_memory(memory) for _ in predictions],
        TOKENIZER,
        refine_steps=refine_steps,
        decode=decode,
        fast_cross=fast_cross,
        cloze_guess=True,
    )
    for logits in (prediction.visual, prediction.cross, prediction.visual_ar, prediction.cross_ar):
        assert logits.shape == (3, 6, 4)
        assert TOKENIZER.decode(logits)[0] == ["", "", ""]


def test_dropout_acts_in_training_only():
    decoder = make(dropout=0.5)
    projected = decoder.project_memory(torch.randn(1, 4, 16))
    ids, ranks = torch.tensor([[4, 1, 2, 3, 1, 2]]), forward_ranks(6)
    assert torch.equal(decoder(ids, projected, query_mask(ranks)), decoder(ids, projected, query_mask(ranks)))
    decoder.train()
    assert not torch.equal(decoder(ids, projected, query_mask(ranks)), decoder(ids, projected, query_mask(ranks)))


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="width 65 is not a multiple of its 4 heads"):
        Decoder(65, 4, 1, 4.0, 0.1, 95, 26)


@pytest.mark.parametrize(("depth", "streams"), [(1, 1), (2, 3)])
def test_dropout_is_everywhere(depth, streams, monkeypatch):
    """On context and queries; in a stream after either attention, in the MLP and after it, and on attention's weights."""
    decoder, dropped, shares, attend = make(depth, dropout=0.5).train(), [], [], attention.attend
    monkeypatch.setattr(attention, "attend", lambda *arguments: shares.append(arguments[4]) or attend(*arguments))
    for module in decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda module, *_: dropped.append(module.p))
    ids, ranks = torch.tensor([[4, 1, 2, 3, 1, 2]]), forward_ranks(6)
    decoder(ids, decoder.project_memory(torch.randn(1, 4, 16)), query_mask(ranks), content_mask(ranks))
    assert dropped == [0.5] * (2 + 4 * streams) and shares == [0.5] * (2 * streams)


def test_a_new_decoder_is_initialised_as_parseq_is():
    """Normal with 0.02; attention's input projections Xavier uniform, of a width of 96 to four times that; biases zero."""
    torch.manual_seed(0)
    decoder = Decoder(embed_dim=96, num_heads=3, depth=2, mlp_ratio=4.0, dropout=0.1, num_classes=95, max_outputs=26)
    bound = (6 / (4 * 96)) ** 0.5
    for name, weight in decoder.named_parameters():
        if name.endswith((".q.weight", ".kv.weight")):
            assert 0.99 * bound < weight.abs().max() <= bound and weight.std().item() == pytest.approx(
                bound / 3**0.5, rel=0.05
            ), name
        elif name.endswith("bias"):
            assert not weight.any(), name
        elif ".norm" in name or name.startswith("norm"):
            assert (weight == 1).all(), name
        else:
            assert weight.std().item() == pytest.approx(0.02, rel=0.1) and abs(weight.mean().item()) < 0.002, name
