"""How cost grows: with batch, word length, orders, layers, patches, images, one of them at a time."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from core.bench.dictation import dictated
from core.bench.read import reading, way_of
from core.bench.timing import by_clock, device_name, spread, take_turns
from core.bench.train import training_steps
from core.bench.words import random_words
from core.experiment.experiment import Loaded, load
from core.files import write_json
from core.model.clip4str import CLIP4STR

BATCH = 8  # images, where the batch is not what grows
LETTERS = 10  # of every word, where the length is not what grows
Timed = Callable[[], object]


@dataclass(frozen=True)
class Growth:
    """One factor's points and the straight line through them (least squares).

    Args:
        what: "read" or "train".
        seconds, low, high: at each value of `x`, median and range.
        fixed, each: seconds = fixed + each x.
        r2: share of the variance that the line explains.
    """

    factor: str
    what: str
    x: list[float]
    seconds: list[float]
    low: list[float]
    high: list[float]
    fixed: float
    each: float
    r2: float


def line(x: list[float], seconds: list[float]) -> tuple[float, float, float]:
    """Intercept, slope and R squared."""
    each, fixed = np.polyfit(x, seconds, 1)
    left = np.var(np.asarray(seconds) - fixed - each * np.asarray(x))
    return float(fixed), float(each), float(1 - left / np.var(seconds))


class Bench:
    """Models of one row with some knob turned, timed on words that are dictated."""

    def __init__(self, row: str, scale: str, repeats: int):
        self.row, self.scale, self.repeats = row, scale, repeats
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def model(self, *knobs: str) -> tuple[CLIP4STR, Loaded]:
        torch.manual_seed(0)
        loaded = load(self.row, self.scale, list(knobs))
        return loaded.experiment.model(load_weights=False).to(self.device), loaded

    def read(self, built: tuple[CLIP4STR, Loaded], batch: int, letters: int, guesses: str = "right", passes: int = 1) -> Timed:
        """Reading `passes` batches, ready to be timed."""
        model, loaded = built
        model.eval()
        images = torch.randn(batch, 3, *model.towers.image_size, device=self.device)
        words = random_words([letters] * batch, seed=letters)
        protocol = loaded.protocol

        def run() -> None:
            with dictated(model) as dictation:
                for _ in range(passes):
                    dictation.say(words, guesses)
                    reading(model, images, way_of(protocol, protocol.output), protocol.precision)()

        return run

    def train(self, built: tuple[CLIP4STR, Loaded], batch: int, letters: int) -> Timed:
        model, loaded = built
        model.train()
        images = torch.randn(batch, 3, *model.towers.image_size, device=self.device)
        words = [random_words([letters] * batch, seed=0)]
        return training_steps(model, loaded.experiment.optimisation, "no", images, words, "right")(0)

    def growth(self, factor: str, what: str, points: dict[float, Timed]) -> Growth:
        tasks = {x: lambda repeat, timed=timed: timed for x, timed in points.items()}
        found = by_clock(take_turns(tasks, self.repeats, self.device, f"{what}: {factor}"))
        spreads = [spread(found[x]) for x in points]
        seconds = [each.median for each in spreads]
        fixed, each, r2 = line(list(points), seconds)
        bounds = [one.low for one in spreads], [one.high for one in spreads]
        return Growth(factor, what, list(map(float, points)), seconds, *bounds, fixed, each, r2)


def growths(row: str, scale: str, repeats: int) -> Iterator[Growth]:
    """What costs what, of a row with random weights.

    Raises:
        ConfigError: the row cannot be built.
    """
    bench = Bench(row, scale, repeats)
    plain = bench.model()
    longest = plain[0].max_letters
    height, width = plain[0].towers.image_size
    yield bench.growth("images at once", "read", {n: bench.read(plain, n, LETTERS) for n in (1, 2, 4, 8, 16, 32)})
    yield bench.growth("images in all", "read", {BATCH * n: bench.read(plain, BATCH, LETTERS, passes=n) for n in (1, 2, 4, 8)})
    lengths = sorted({1, longest // 4, longest // 2, 3 * longest // 4, longest})
    yield bench.growth("letters", "read", {n: bench.read(plain, BATCH, n) for n in lengths})
    yield bench.growth("letters, wrong guesses", "read", {n: bench.read(plain, BATCH, n, "wrong") for n in lengths})
    depths = {n: bench.model(f"DECODER_DEPTH = {n}") for n in (1, 2, 3)}
    yield bench.growth("decoder layers", "read", {n: bench.read(built, BATCH, LETTERS) for n, built in depths.items()})
    wide = {n: bench.model(f"IMAGE_SIZE = ({height}, {n * width // 2})") for n in (1, 2, 3, 4)}
    tokens = {built[0].towers.visual.positional_embedding.shape[0] - 1: built for built in wide.values()}
    yield bench.growth("patches", "read", {n: bench.read(built, BATCH, LETTERS) for n, built in tokens.items()})
    yield bench.growth("images a step", "train", {n: bench.train(plain, n, LETTERS) for n in (2, 4, 8, 16)})
    orders = {n: bench.model(f"PERMUTATIONS = {n}") for n in (2, 4, 6, 12, 24)}
    yield bench.growth("orders K", "train", {n: bench.train(built, BATCH, LETTERS) for n, built in orders.items()})


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    device = device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    title = f"{options.row}, scale {options.scale}, {device}, {options.threads} threads"
    table = Table("what", "grows with", "from", "to", "ms = fixed", "+ each", "R2", title=title)
    found = []
    for growth in growths(options.row, options.scale, options.repeats):
        found.append(growth)
        if options.json:
            print(json.dumps(asdict(growth)), flush=True)
        ends = (f"{growth.x[i]:.0f}: {1000 * growth.seconds[i]:.1f}" for i in (0, -1))
        table.add_row(
            growth.what, growth.factor, *ends, f"{1000 * growth.fixed:.1f}", f"{1000 * growth.each:.3f}", f"{growth.r2:.3f}"
        )
    if options.out:
        write_json(options.out, {"title": title, "repeats": options.repeats, "growths": [asdict(each) for each in found]})
    if not options.json:
        Console().print(table)
        Console().print(
            f"Medians of {options.repeats} repeats in turns; random weights, words of {LETTERS} letters, batch {BATCH} where "
            "neither grows."
        )
