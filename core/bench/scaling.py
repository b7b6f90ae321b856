"""Growth of cost with batch, word length, orders, layers, patches and images, one at a time."""

import argparse
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import torch

from core.bench.forced_outputs import ForcedOutputs, forced_outputs
from core.bench.measure import Measurement, Ready, build, compare, report, spread, take_turns
from core.bench.read import forced_reading, forget_captions
from core.bench.train import training_steps
from core.bench.words import letters_of, random_words
from core.experiment.experiment import Loaded
from core.files import write_json
from core.model.clip4str import CLIP4STR

BATCH = 8  # images, where the batch is not what grows
LETTERS = 10  # of every word, where the length is not what grows
NOTE = (
    "ours: at the largest value, reference: at the smallest; seconds = fixed + each x (least squares). Random weights, words "
    f"of {LETTERS} letters, batch {BATCH} where neither grows."
)
Built = tuple[CLIP4STR, Loaded, torch.device]
Point = Callable[["Forced"], Ready]  # one value of a factor: makes the task that is timed there


def line(x: list[float], seconds: list[float]) -> tuple[float, float, float]:
    """The least-squares line: intercept, slope and R squared."""
    each, fixed = np.polyfit(x, seconds, 1)
    left = np.var(np.asarray(seconds) - fixed - each * np.asarray(x))
    return float(fixed), float(each), float(1 - left / np.var(seconds))


class Forced:
    """The forced outputs of models, entered once for each and left with the stack: entering takes time, and drops graphs."""

    def __init__(self, stack: ExitStack):
        self.stack = stack
        self.of_model: dict[CLIP4STR, ForcedOutputs] = {}

    def of(self, model: CLIP4STR) -> ForcedOutputs:
        if model not in self.of_model:
            self.of_model[model] = self.stack.enter_context(forced_outputs(model))
        return self.of_model[model]


def read(built: Built, batch: int, letters: int, guesses: str = "right", passes: int = 1) -> Point:
    """Reading `passes` batches of words whose outputs are forced; all captions are new."""
    model, loaded, device = built
    images = torch.randn(batch, 3, *model.towers.image_size, device=device)
    words = [random_words([letters] * batch, random.Random(letters), letters_of(model.tokenizer.charset))]

    def point(forced: Forced) -> Ready:
        ready = forced_reading(model.eval(), forced.of(model), images, words, guesses, loaded.protocol)

        def several(repeat: int) -> Callable[[], object]:
            once = ready(0)

            def run() -> None:
                for _ in range(passes):
                    forget_captions(model)
                    once()

            return run

        return several

    return point


def train(built: Built, batch: int, letters: int) -> Point:
    """A training step in float32."""
    model, loaded, device = built
    images = torch.randn(batch, 3, *model.towers.image_size, device=device)
    words = [[random_words([letters] * batch, random.Random(0), letters_of(model.tokenizer.charset))]]

    def point(forced: Forced) -> Ready:
        step = training_steps(model.train(), loaded.experiment.optimisation, "no", images, words, "right")(0)
        return lambda repeat: step

    return point


def growth(factor: str, what: str, device: torch.device, repeats: int, points: dict[float, Point]) -> Measurement:
    """One factor: the cost at its largest value beside that at its smallest; its details hold all points and their line."""
    with ExitStack() as stack:
        forced = Forced(stack)
        tasks = {x: point(forced) for x, point in points.items()}
        measured = take_turns(tasks, repeats, device, f"{what}: {factor}")
    x = list(points)
    spreads = [spread([seconds.clock for seconds in measured[point]]) for point in x]
    seconds = [one.median for one in spreads]
    fixed, each, r2 = line(x, seconds)
    details = {"factor": factor, "what": what, "values": f"{x[0]} to {x[-1]}", "fixed": fixed, "each": each, "r2": r2}
    details |= {"x": [*map(float, x)], "seconds": seconds}
    details |= {"low": [one.low for one in spreads], "high": [one.high for one in spreads]}
    return compare(what, measured[x[-1]], measured[x[0]], device, details)


def growths(row: str, scale: str, repeats: int) -> Iterator[Measurement]:
    """The growth of a row's cost with every factor, with random weights.

    Raises:
        ConfigError: the row cannot be built.
    """
    plain = build(row, scale)
    model, device = plain[0], plain[2]

    def of(factor: str, what: str, points: dict[float, Point]) -> Measurement:
        return growth(factor, what, device, repeats, points)

    yield of("images at once", "read", {n: read(plain, n, LETTERS) for n in (1, 2, 4, 8, 16, 32)})
    yield of("images in all", "read", {BATCH * n: read(plain, BATCH, LETTERS, passes=n) for n in (1, 2, 4, 8)})
    longest = model.max_letters
    lengths = sorted({1, longest // 4, longest // 2, 3 * longest // 4, longest})
    yield of("letters", "read", {n: read(plain, BATCH, n) for n in lengths})
    yield of("letters, wrong guesses", "read", {n: read(plain, BATCH, n, "wrong") for n in lengths})
    depths = {n: build(row, scale, [f"DECODER_DEPTH = {n}"]) for n in (1, 2, 3)}
    yield of("decoder layers", "read", {n: read(built, BATCH, LETTERS) for n, built in depths.items()})
    height, width = model.towers.image_size
    wide = [build(row, scale, [f"IMAGE_SIZE = ({height}, {n * width // 2})"]) for n in (1, 2, 3, 4)]
    patches = {len(built[0].towers.visual.positional_embedding) - 1: read(built, BATCH, LETTERS) for built in wide}
    yield of("patches", "read", patches)
    yield of("images a step", "train", {n: train(plain, n, LETTERS) for n in (2, 4, 8, 16)})
    orders = {n: build(row, scale, [f"PERMUTATIONS = {n}"]) for n in (2, 4, 6, 12, 24)}
    yield of("orders K", "train", {n: train(built, BATCH, LETTERS) for n, built in orders.items()})


def run(options: argparse.Namespace) -> None:
    costs = report(growths(options.row, options.scale, options.repeats), "How cost grows", NOTE, options.json)
    if options.out:
        device = costs[0].device
        title = f"{options.row}, scale {options.scale}, {device}, {options.threads} threads"
        write_json(options.out, {"title": title, "repeats": options.repeats, "growths": [one.details for one in costs]})
