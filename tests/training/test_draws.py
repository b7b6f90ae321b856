"""What a training draws at random: another shuffle each epoch, other reading orders each step, the same for a seed."""

import pytest
import torch

from core.data.loading import ShuffledBatches
from core.experiment.experiment import load
from core.model.clip4str import CLIP4STR, Losses
from core.train.run import train
from tests.support.checkout import BASELINE


@pytest.fixture
def training(world_folder, tmp_path, monkeypatch):
    """Trains without computing: the words and the reading orders of every pass."""
    words, orders = [], []

    def watched(model, images, batch, permutations, tokens):
        words.append(tuple(batch))
        orders.append(permutations.clone())
        loss = sum(parameter.sum() for parameter in model.parameters() if parameter.requires_grad) * 0.0 + 1.0
        return Losses(loss, loss.detach(), loss.detach())

    def run(name: str, seed: int = 0) -> tuple[list[tuple[str, ...]], list[torch.Tensor]]:
        words.clear(), orders.clear()
        bindings = ["TRAIN_STEPS = 26", "PERMUTATIONS = 6", "optim.Optimisation.validate_every = 26"]
        train(load(BASELINE, "smoke", bindings), world_folder, tmp_path / name, seed)
        return list(words), list(orders)

    monkeypatch.setattr(CLIP4STR, "losses", watched)
    return run


def test_orders_are_drawn_anew_each_step(training):
    """Two passes make a step of the smoke scale; its images share one block of orders."""
    _, orders = training("run")
    random = [tuple(map(tuple, order[2:, 1:-1].tolist())) for order in orders[::2]]
    assert len(set(random)) > 0.8 * len(random)


def test_the_shuffle_is_anew_each_epoch(training):
    """96 images are 12 steps of 8: the second epoch has the words of the first, in another order."""
    words, _ = training("run")
    first, second = ([word for batch in words[24 * k : 24 * k + 24] for word in batch] for k in range(2))
    assert sorted(first) == sorted(second) and first != second


def test_a_seed_decides_both(training):
    words, orders = training("run")
    again, orders_again = training("again")
    assert words == again and all(map(torch.equal, orders, orders_again))
    others, _ = training("other", seed=1)
    assert words != others


def test_the_whole_epoch_is_read_and_no_sample_twice():
    batches = ShuffledBatches(samples=50, batch=8, seed=3, first=0, last=12, micro_batch=4)
    passes = list(batches)
    for epoch in range(2):
        seen = [sample for batch in passes[12 * epoch : 12 * epoch + 12] for sample in batch]
        assert len(set(seen)) == len(seen) == 48 and {number for number, _ in seen} == {epoch}
