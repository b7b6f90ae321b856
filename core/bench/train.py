"""Cost of a training step relative to the image tower's own forward and backward pass.

B batch, M image tokens, D joint width.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from statistics import median

import torch
from torch import Tensor

from core.bench.forced_outputs import forced_in_training
from core.bench.measure import IMAGE_TOWER, Measurement, Ready, build, compare, report, take_turns
from core.bench.words import MEANINGS, draw_words, letters_of, mean_letters
from core.experiment.experiment import Loaded
from core.experiment.operations import training_flops
from core.experiment.optim import Optimisation
from core.model.clip4str import CLIP4STR
from core.runtime.precision import autocast, name_of

BACKWARD, CLIPPING, UPDATE = AFTER_LOSSES = ("backward pass", "clipping of the gradient", "optimiser")
NOTE = (
    "ours: losses over all orders, gradients, clipping and optimiser; reference: the image tower's forward and backward pass. "
    "Random weights and images; the visual branch's reading is forced: {}; {}."
)


def tower_step(model: CLIP4STR, images: Tensor, precision: str) -> Callable[[], None]:
    """The image tower's forward and backward pass on images B 3 H W, ready to be timed; the weights the row trains learn."""

    def run() -> None:
        with autocast(images.device, precision):
            tokens = model.towers.encode_image(images)  # B M D
        if tokens.requires_grad:
            tokens.backward(torch.ones_like(tokens))
        model.zero_grad(set_to_none=True)

    return run


def training_steps(
    model: CLIP4STR,
    optimisation: Optimisation,
    precision: str,
    images: Tensor,
    words: list[list[list[str]]],
    guesses: str | None,
    part: Callable[[str], AbstractContextManager] = nullcontext,
) -> Ready:
    """Whole steps on images B 3 H W, ready to be timed; the model learns, its learning rate does not change.

    Args:
        words: the words of every pass of every step, B each; every step also draws its own orders.
        guesses: of the visual branch (`core.bench.forced_outputs`); None leaves them as random weights make them.
        part: entered around each of AFTER_LOSSES by name, the losses being what is left.
    """
    optimiser = optimisation.optimiser(model)  # one for all: an optimiser's first step allocates its state
    optimisation.set_lr(optimiser, 0, 1)
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]

    def run(step: int) -> None:
        generator = torch.Generator().manual_seed(step)
        for in_pass in words[step]:
            with forced_in_training(model, in_pass, guesses) if guesses else nullcontext():
                with autocast(images.device, precision):
                    losses = model(images, in_pass, generator)
                with part(BACKWARD):
                    (losses.total / len(words[step])).backward()
        with part(CLIPPING):
            torch.nn.utils.clip_grad_norm_(trained, optimisation.clip_grad_norm)
        with part(UPDATE):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return lambda step: partial(run, step)


def train_costs(
    row: str, scale: str, batches: list[int], lengths: str, guesses: str, repeats: int, precision: str
) -> Iterator[Measurement]:
    """One measurement per batch size, of a row under its own recipe but for the precision; every repeat has other words.

    Raises:
        ConfigError: the row cannot be built.
    """
    model, loaded, device = build(row, scale)
    for batch in batches:
        drawn = draw_words(lengths, batch, repeats, model.visual_decoder.max_outputs, letters_of(model.tokenizer.charset))
        words = [[[word[: model.max_letters] for word in one]] for one in drawn]
        images = torch.randn(batch, 3, *model.train().towers.image_size, device=device)
        tower = tower_step(model, images, precision)
        steps = training_steps(model, loaded.experiment.optimisation, precision, images, words, guesses)
        tasks = {IMAGE_TOWER: lambda repeat, tower=tower: tower, "train": steps}
        measured = take_turns(tasks, repeats, device, f"training on {batch} at once")
        details = {"row": row, "scale": scale, "orders": model.num_permutations, "precision": name_of(precision)}
        details |= {"lengths": lengths, "guesses": guesses, "batch": batch}
        details["images/s"] = batch / median(seconds.clock for seconds in measured["train"])
        details["model TFLOP/s"] = details["images/s"] * operations_of(loaded, words, guesses) / 1e12
        details["mean letters"] = mean_letters([word for ((*one,),) in words for word in one])
        yield compare("train", measured["train"], measured[IMAGE_TOWER], device, details)


def operations_of(loaded: Loaded, words: list[list[list[str]]], guesses: str) -> float:
    """Floating-point operations per image of the measured steps; over a device's peak they are the utilisation (MFU)."""
    letters = max(len(word) for ((*one,),) in words for word in one)
    orders = loaded.blueprint.num_permutations
    # Where all orders read the same word, its caption is read once; where each reads another, as often as there are orders.
    return training_flops(loaded.blueprint, letters, 1.0 if guesses == "wrong" else 1 / orders, orders)


def run(options: argparse.Namespace) -> None:
    setting = (options.batch, options.lengths, options.guesses, options.repeats, options.precision)
    costs = (cost for row in options.rows for cost in train_costs(row, options.scale, *setting))
    report(costs, "Training step", NOTE.format(MEANINGS[options.lengths], MEANINGS[options.guesses]), options.json)
