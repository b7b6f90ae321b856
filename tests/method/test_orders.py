"""Reading orders: one draw per block of a step's images, the same however the step is shared."""

import pytest
import torch

from core.data.loading import ShuffledBatches
from core.experiment.experiment import load
from core.train.orders import Orders
from core.train.run import build_model
from tests.support.checkout import BASELINE


def orders(step=1, seed=0, block=4):
    return Orders(seed, step, block, count=6, mirrored=True)


def by_image(micro_batch, processes, block=4, batch=12):
    """The orders of every image of a step, from all passes of all processes."""
    found = {}
    for process in range(processes):
        shuffle = ShuffledBatches(batch, batch, 0, 0, 1, micro_batch, process, processes)
        for start in shuffle.starts():
            places = range(start, start + micro_batch)
            drawn = orders(block=block).of(places, 7)
            for number, place in enumerate(places):
                found[place] = drawn if drawn.ndim == 2 else drawn[number]
    return [found[place].tolist() for place in range(batch)]


@pytest.mark.parametrize(("micro_batch", "processes"), [(4, 3), (4, 1), (2, 2), (3, 1), (6, 2), (1, 12)])
def test_an_images_orders_do_not_depend_on_who_computes_them(micro_batch, processes):
    whole = by_image(12, 1)
    assert by_image(micro_batch, processes) == whole
    assert whole[0] == whole[3] != whole[4] == whole[7] != whole[8]


def test_orders_are_drawn_anew_each_step_block_and_seed():
    first = orders().draw(0, 9)
    assert not any(
        torch.equal(first, other) for other in (orders(step=2).draw(0, 9), orders(seed=1).draw(0, 9), orders().draw(1, 9))
    )
    assert torch.equal(first, orders().draw(0, 9)) and first.shape == (6, 11)


def test_a_large_step_has_up_to_34_orders():
    """Eight blocks of 128 share left to right and its mirror image, and draw four each (recipe of the released code)."""
    step = Orders(0, 1, 128, count=6, mirrored=True)
    assert len({tuple(order) for block in range(8) for order in step.draw(block, 20).tolist()}) == 34


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("predicted", [False, True])
def test_images_with_orders_of_their_own_lose_as_if_alone(depth, predicted):
    """The loss of a batch whose halves are read in other orders is the token-weighted mean of the halves' losses."""
    bindings = [f"DECODER_DEPTH = {depth}", f"PREDICTED_CONTEXT = {predicted}", "DROPOUT = 0.0", "PERMUTATIONS = 6"]
    model = build_model(load(BASELINE, "smoke", bindings), 0).eval()
    images = torch.randn(4, 3, *model.towers.image_size, generator=torch.Generator().manual_seed(0))
    words = ["abcde", "edcba", "vwxyz", "zyxwv"]
    draws = [orders().draw(block, 5) for block in range(2)]
    mixed = torch.stack([draws[0], draws[0], draws[1], draws[1]])
    with torch.no_grad():
        whole = model.losses(images, words, mixed)
        halves = [model.losses(images[2 * k : 2 * k + 2], words[2 * k : 2 * k + 2], draws[k]) for k in range(2)]
    for name in ("total", "visual", "cross"):
        mean = sum(getattr(half, name) for half in halves) / 2
        assert getattr(whole, name).item() == pytest.approx(mean.item(), abs=1e-5)
