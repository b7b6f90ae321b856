"""Every switch of the method changes what it should, and nothing else."""

import pytest
import torch

from core.errors import ConfigError
from core.experiment.experiment import load
from core.model.permutations import forward_ranks, sample_permutations
from tests.support.checkout import BASELINE, MICRO_SIZE
from tests.support.reference import reference_of

WORDS = ["cat", "Table", "no!"]
VISUAL = "ablations/table_V/recipe.gin"


def images(count=3):
    return torch.randn(count, 3, *MICRO_SIZE, generator=torch.Generator().manual_seed(1))


def build(*bindings, row=BASELINE):
    torch.manual_seed(0)
    return load(row, "smoke", bindings).experiment.model(load_weights=False)


def orders(count=6, mirrored=True):
    return sample_permutations(5, count, mirrored, torch.Generator().manual_seed(3))


def test_the_visual_branch_alone_is_the_visual_branch():
    both, alone = build().eval(), build(row=VISUAL).eval()
    alone.load_state_dict({name.replace("towers.clip.", "towers."): t for name, t in both.state_dict().items()}, strict=False)
    here, there = alone.losses(images(), WORDS, orders()), both.losses(images(), WORDS, orders())
    assert here.cross is None and here.total is here.visual
    torch.testing.assert_close(here.visual, there.visual)
    prediction = alone.predict(images(), refine_steps=2)
    assert prediction.cross is None and prediction.output is prediction.visual
    torch.testing.assert_close(prediction.visual, both.predict(images(), refine_steps=2).visual)
    assert not [name for name, _ in alone.named_parameters() if name.startswith(("cross_decoder", "towers.clip"))]


def test_no_psm_learns_left_to_right_alone():
    loaded = load("ablations/table_V/no-psm.gin", "smoke")
    assert loaded.protocol.refine_steps == 0
    model = loaded.experiment.model(load_weights=False)
    permutations = sample_permutations(5, model.num_permutations, model.mirrored, torch.Generator())
    assert permutations.tolist() == [list(range(7))]


@pytest.mark.parametrize(
    ("bindings", "fix"),
    [
        (["REFINE_STEPS = 1"], "REFINE_STEPS = 1 reads; set REFINE_STEPS = 0"),
        (["REFINE_STEPS = 0", "DECODE = 'cloze'"], "DECODE = 'cloze' reads; set DECODE = 'ar'"),
    ],
)
def test_what_left_to_right_never_trains_is_not_decoded(bindings, fix):
    with pytest.raises(ConfigError, match=f"image0-text6.gin with .*: PERMUTATIONS = 1 trains no context that {fix}"):
        build("PERMUTATIONS = 1", *bindings)


@pytest.mark.parametrize("count", [2, 6, 12, 24])
@pytest.mark.parametrize("mirrored", [True, False])
def test_the_number_of_orders(count, mirrored):
    """K distinct orders; with mirroring the random ones come in pairs, without it they do not."""
    letters = orders(count, mirrored)[:, 1:-1].tolist()
    letters[1] = list(range(5, 0, -1))  # the reverse order, which asks for [E] first
    assert len({tuple(order) for order in letters}) == count
    pairs = [letters[i][::-1] == letters[i + 1] for i in range(2, count, 2)]
    assert all(pairs) if mirrored else not any(pairs)
    if count > 2:  # with two orders none is random, and the switch is refused
        build(f"PERMUTATIONS = {count}", f"MIRRORED = {mirrored}")
    model = build(f"PERMUTATIONS = {count}")
    assert torch.isfinite(model(images(), WORDS, torch.Generator()).total)


def test_class_only_reads_one_token_of_each_tower():
    model = build(row="ablations/table_V/class-only.gin").eval()
    tokens = model.towers.encode_image(images())
    torch.testing.assert_close(model.image_memory(images()), tokens[:, :1])
    ids = model.caption_tokenizer(["table", "a b"])
    whole = build().eval().read_caption(model.towers, ids)
    ends = [row.tolist().index(49407) for row in ids]
    torch.testing.assert_close(model.read_caption(model.towers, ids)[:, 0], whole[torch.arange(2), ends])


@pytest.mark.parametrize("blocked", [True, False])
def test_the_image_gradient_is_blocked_or_not(blocked):
    model = build(f"BLOCK_IMAGE_GRADIENT = {blocked}")
    losses = model.losses(images(), WORDS, orders())
    losses.cross.backward()
    reached = [p.grad is not None and p.grad.abs().sum() > 0 for p in model.towers.visual.transformer.parameters()]
    assert not any(reached) if blocked else all(reached)


def test_the_loss_itself_does_not_depend_on_the_block():
    values = [build(f"BLOCK_IMAGE_GRADIENT = {b}").losses(images(), WORDS, orders()).total for b in (True, False)]
    assert values[0] == values[1]


@pytest.mark.parametrize("depth", [1, 2])
def test_context_from_the_prediction(depth):
    """Each order's cross decoder reads that order's visual prediction, up to its [E], as the plain loop does."""
    model = build("PREDICTED_CONTEXT = True", f"DECODER_DEPTH = {depth}").eval()
    truth = build(f"DECODER_DEPTH = {depth}").eval()
    losses, other = model.losses(images(), WORDS, orders(4)), truth.losses(images(), WORDS, orders(4))
    assert losses.visual == other.visual and losses.cross != other.cross
    for ours, predicted in ((losses, True), (other, False)):
        visual, cross = reference_of(model).losses(images(), WORDS, orders(4).tolist(), predicted)
        torch.testing.assert_close((ours.visual, ours.cross), (visual, cross))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_with_early_stop_and_refinement(depth):
    """A decoder that always ends after two letters: the first pass stops there, refinement runs all the same."""
    model = build(f"DECODER_DEPTH = {depth}").eval()
    loud = torch.full((26, 95), 0.0)
    loud[:, 5], loud[2, 5], loud[2, model.tokenizer.eos] = 100, 0, 100
    for decoder in (model.visual_decoder, model.cross_decoder):
        assert len(decoder.layers) == depth
        decoder.register_forward_hook(lambda module, inputs, logits: logits + loud[: logits.shape[1]])
    prediction = model.predict(images(), refine_steps=3)
    assert prediction.visual_ar[:, 3:].abs().sum() == 0  # nothing was decoded past the end
    assert prediction.cross.shape == (3, 26, 95) and torch.isfinite(prediction.cross).all()


@pytest.mark.parametrize("depth", [2, 3])
def test_deep_decoders_step_as_they_read_whole(depth):
    """Cached steps equal one masked pass over the same context."""
    model = build(f"DECODER_DEPTH = {depth}").eval()
    decoder, memory = model.visual_decoder, model.visual_decoder.project_memory(model.image_memory(images()))
    ids = torch.tensor([[model.tokenizer.bos, 4, 9, 2]] * 3)
    cache = [None] * depth
    stepped = torch.stack([decoder.step(ids[:, i], i, cache, memory) for i in range(4)], 1)
    ranks = forward_ranks(4)
    whole = decoder.permuted(ids, memory, ranks, torch.ones(3, 4, dtype=torch.bool))[:, 0]
    torch.testing.assert_close(stepped, whole, atol=1e-5, rtol=1e-5)


def test_a_caption_branch_needs_a_text_tower():
    bindings = ["clip4str.CLIP4STR.read_caption = @memory.text_tokens"]
    with pytest.raises(ValueError, match="CLIP4STR.read_caption: .* is used without a text tower; set it to None"):
        load(VISUAL, "smoke", bindings)


@pytest.mark.parametrize("count", [2, 3])
def test_orders_without_a_mirror_image_to_leave_out(count):
    """The third order is drawn before its mirror image would be the fourth."""
    assert torch.equal(orders(count, True), orders(count, False))
    with pytest.raises(ConfigError, match=f"changes nothing with PERMUTATIONS = {count}: no order has a mirror image"):
        build(f"PERMUTATIONS = {count}", "MIRRORED = False")
