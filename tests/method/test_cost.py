"""Operations are counted on the model; here against sums worked out by hand."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.experiment.experiment import load
from core.experiment.operations import FakeCaptions, cost, reading, released_training_flops, training_flops
from tests.support.checkout import BASELINE

PATCHES, TOKENS, WIDTH, JOINT, BLOCKS = 196, 197, 768, 512, 12  # CLIP ViT-B/16 at 224 x 224
PATCH_EMBEDDING = 2 * PATCHES * WIDTH * (3 * 16 * 16)
PROJECTION = 2 * TOKENS * WIDTH * JOINT
BLOCK = 2 * TOKENS * 12 * WIDTH**2 + 2 * 2 * TOKENS**2 * WIDTH  # projections and MLP; scores and their sums
TOWER = PATCH_EMBEDDING + BLOCKS * BLOCK + PROJECTION


@pytest.fixture(scope="module")
def paper():
    return load("ablations/table_VII/image-text.gin", "paper").blueprint


@pytest.fixture(scope="module")
def blueprint():
    return load(BASELINE, "smoke").blueprint


@pytest.fixture(scope="module")
def step(blueprint):
    """A training step's operations an image, all captions different."""
    return cost(blueprint, letters=5, captions=1.0).train


def test_the_image_tower_costs_what_its_layers_do(paper):
    encode, decode = reading(paper, refine_steps=1)
    assert encode == TOWER
    assert 0 < decode < 0.1 * encode


def test_a_trained_tower_costs_two_more_passes_but_for_the_gradient_of_images(paper):
    assert training_flops(paper, 5, 1.0, orders=0) == 3 * TOWER - PATCH_EMBEDDING


def test_a_frozen_tower_costs_its_forward_pass():
    frozen = load("ablations/table_VI/image12-text6.gin", "smoke").blueprint
    encode, _ = reading(frozen, refine_steps=1)
    assert training_flops(frozen, 5, 1.0, orders=0) == encode


def test_frozen_blocks_of_the_text_tower_have_no_backward_pass(blueprint, step):
    frozen = load("ablations/table_VI/image0-text12.gin", "smoke").blueprint
    assert training_flops(frozen, 5, 1.0, frozen.num_permutations) < step
    assert training_flops(frozen, 5, 1.0, orders=0) == training_flops(blueprint, 5, 1.0, orders=0)


def test_a_blueprint_counts_as_a_model_with_values(blueprint, model, step):
    own = model.captions
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel of CPUs is not counted
        assert training_flops(model, 5, 1.0, model.num_permutations) == step
    assert model.captions is own
    assert all(parameter.grad is None for parameter in model.parameters())


def test_sharing_between_orders_is_what_the_released_code_lacks(blueprint, step):
    assert step < released_training_flops(blueprint, 5)
    alone = load("ablations/table_V/no-psm.gin", "smoke").blueprint  # one order: nothing to share
    assert training_flops(alone, 5, 1.0, orders=1) == released_training_flops(alone, 5)


def test_equal_captions_are_read_once(blueprint, step):
    assert training_flops(blueprint, 5, 0.5, blueprint.num_permutations) < step


def test_reading_without_refinement_is_the_projected_memory_and_one_pass(paper):
    (_, none), (_, one) = (reading(paper, steps) for steps in (0, 1))
    assert none == 2 * TOKENS * JOINT * 2 * JOINT + (one - none)  # keys and values of the image's tokens


def test_refinement_is_decoding(blueprint):
    (tower, none), (same, one), (_, two) = (reading(blueprint, steps) for steps in (0, 1, 2))
    assert tower == same and one - none == two - one > 0


@pytest.mark.parametrize(("letters", "share", "kinds"), [(5, 1.0, 48), (5, 0.5, 24), (5, 0.001, 1), (1, 1.0, 36)])
def test_a_share_of_the_words_differ(letters, share, kinds):
    """48 words: no more kinds of them than that many letters and digits spell."""
    made_up = FakeCaptions(8, 36, letters, share)
    captions = made_up.finish(made_up.begin(torch.zeros(48, 26, dtype=torch.long, device="meta")))
    assert captions.tokens.shape == (kinds, 8) and captions.tokens.device.type == "meta"
    assert sorted(set(captions.rows.tolist())) == list(range(kinds))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"letters": 5, "captions": 0.0}, "captions = 0.0: a share lies in"),
        ({"letters": 5, "captions": 1.5}, "captions = 1.5: a share lies in"),
        ({"letters": 26, "captions": 1.0}, "letters = 26: the model reads 1 to 25"),
    ],
)
def test_bad_assumptions_are_refused(blueprint, settings, message):
    with pytest.raises(ValueError, match=message):
        cost(blueprint, **settings)


def test_blueprints_hold_no_values(blueprint):
    assert {parameter.device.type for parameter in blueprint.parameters()} == {"meta"}
    assert torch.empty(0).device.type == "cpu"
