"""What a training draws at random: another shuffle each epoch, other reading orders each step, the same for a seed."""

import itertools
from typing import NamedTuple

import pytest
import torch

from core.data.loading import ShuffledBatches
from core.experiment.experiment import load
from core.model.clip4str import CLIP4STR, Losses
from core.runtime.distributed import DistEnv
from core.train import loop
from core.train import run as runs
from core.train.loop import Run
from core.train.run import build_model, train
from core.train.step import step_seed
from tests.support.checkout import BASELINE


class Passes(NamedTuple):
    """What a training computes with: words and reading orders of every pass, and the images of all."""

    words: list[tuple[str, ...]]
    orders: list[torch.Tensor]
    images: list[torch.Tensor]


@pytest.fixture
def training(world_folder, tmp_path, monkeypatch):
    """Trains without computing: the words, reading orders and images of every pass."""
    words, orders, seen = [], [], []

    def watched(model, images, batch, permutations, tokens):
        words.append(tuple(batch))
        orders.append(permutations.clone())
        seen.extend(images)
        loss = sum(parameter.sum() for parameter in model.parameters() if parameter.requires_grad) * 0.0 + 1.0
        return Losses(loss, loss.detach(), loss.detach())

    def run(name: str, seed: int = 0, bindings: tuple[str, ...] = ()) -> Passes:
        words.clear(), orders.clear(), seen.clear()
        fixed = ("TRAIN_STEPS = 26", "PERMUTATIONS = 6", "optim.Optimisation.validate_every = 26")
        train(load(BASELINE, "smoke", [*fixed, *bindings]), world_folder, tmp_path / name, seed)
        return Passes(list(words), list(orders), list(seen))

    monkeypatch.setattr(CLIP4STR, "losses", watched)
    return run


def test_orders_are_drawn_anew_each_step(training):
    """Two passes make a step of the smoke scale; its images share one block of orders."""
    orders = training("run").orders
    random = [tuple(map(tuple, order[2:, 1:-1].tolist())) for order in orders[::2]]
    assert len(set(random)) > 0.8 * len(random)


def test_the_shuffle_is_anew_each_epoch(training):
    """96 images are 12 steps of 8: the second epoch has the words of the first, in another order."""
    words = training("run").words
    first, second = ([word for batch in words[24 * k : 24 * k + 24] for word in batch] for k in range(2))
    assert sorted(first) == sorted(second) and first != second


def test_a_seed_decides_both(training):
    words, orders, _ = training("run")
    again, orders_again, _ = training("again")
    assert words == again and all(map(torch.equal, orders, orders_again))
    assert words != training("other", seed=1).words


def test_the_whole_epoch_is_read_and_no_sample_twice():
    batches = ShuffledBatches(samples=50, batch=8, seed=3, first=0, last=12, micro_batch=4)
    passes = list(batches)
    for epoch in range(2):
        seen = [sample for batch in passes[12 * epoch : 12 * epoch + 12] for sample in batch]
        assert len(set(seen)) == len(seen) == 48 and {number for number, _ in seen} == {epoch}


def test_a_seed_decides_every_draw(training, monkeypatch):
    """The weights before training, the augmentation, the orders of every step, and what a step draws for itself (dropout)."""
    row, given, drawn = load(BASELINE, "smoke"), {"Orders": [], "Words": []}, []
    heads = [build_model(row, seed).visual_decoder.head.weight for seed in (0, 1)]
    assert not torch.equal(*heads)

    def recorded(name, made):
        return lambda *arguments: given[name].append(arguments) or made(*arguments)

    backward = loop.backward
    monkeypatch.setattr(loop, "Orders", recorded("Orders", loop.Orders))
    monkeypatch.setattr(runs, "Words", recorded("Words", runs.Words))
    monkeypatch.setattr(loop, "backward", lambda *arguments: drawn.append(torch.rand(1).item()) or backward(*arguments))
    training("run", seed=1)
    assert [arguments[:2] for arguments in given["Orders"]] == [(1, step) for step in range(1, 27)]
    ((*_, seed, _),) = given["Words"]
    assert seed == 1
    own = [torch.Generator().manual_seed(step_seed(1, step)) for step in range(1, 27)]
    assert drawn == [torch.rand(1, generator=generator).item() for generator in own] and len(set(drawn)) == 26


def test_the_orders_of_a_step_are_those_of_the_row(training, monkeypatch):
    """Images that share them, how many, and with or without mirror images."""
    given, made = [], loop.Orders
    monkeypatch.setattr(loop, "Orders", lambda *arguments: given.append(arguments) or made(*arguments))
    training("run", bindings=("optim.Optimisation.block = 3", "MIRRORED = False"))
    assert {arguments[2:] for arguments in given} == {(3, 6, False)}


def test_processes_of_a_run_draw_for_themselves(training, monkeypatch):
    """Dropout's masks, in each process those of its own place in the team."""
    drawn, backward, step = [], loop.backward, Run.step

    def second(run, *arguments):
        team, run.team = run.team, DistEnv(index=1)
        try:
            return step(run, *arguments)
        finally:
            run.team = team

    monkeypatch.setattr(loop, "backward", lambda *arguments: drawn.append(torch.rand(1).item()) or backward(*arguments))
    monkeypatch.setattr(Run, "step", second)
    training("run", seed=1)
    first, own = (
        [torch.rand(1, generator=torch.Generator().manual_seed(step_seed(1, step, index))).item() for step in range(1, 27)]
        for index in (0, 1)
    )
    assert drawn == own and not {*first} & {*own}


def test_no_two_steps_draw_alike():
    grid = list(itertools.product(range(4), range(1, 50), range(8)))
    assert len({step_seed(*place) % 2**32 for place in grid}) == len(grid)  # of which a CPU's generator sees no more
    assert len({step_seed(0, 1, process) for process in range(1000)}) == 1000


def test_images_are_augmented_and_normalised_as_the_row_says(training):
    """An epoch shows the images of the one before, or others; pixels are whole numbers under the row's normalisation alone."""

    def epochs(*bindings):
        images = training(bindings[0], bindings=bindings).images[: 2 * 96]
        return images, [{image.numpy().tobytes() for image in part} for part in (images[:96], images[96:])]

    images, (first, second) = epochs("AUGMENT_OPS = 0", "NORMALISATION = 'half'", "protocol.Protocol.normalisation = 'clip'")
    assert first == second
    levels = torch.stack(images) * 127.5 + 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    _, (first, second) = epochs("AUGMENT_OPS = 3", "augment.RandAugment.magnitude = 5")
    assert len(first & second) < len(first) / 2
