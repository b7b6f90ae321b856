"""Where the time of reading or training goes: milliseconds of its parts, beside the image tower's own pass.

A backward pass is one part, whatever it goes back through; the tower alone has its own. `torch.profiler` would add its own time
to each of some thousand operators, and of a GPU's backward pass, which another thread starts, it knows no part.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch

from core.bench.forced_outputs import forced_outputs
from core.bench.measure import WARMUP, WARMUP_ON_GPU, Measurement, build, measurement, report
from core.bench.read import forget_captions, reading, tower_forward, way_of
from core.bench.train import BACKWARD, tower_step, training_steps
from core.bench.words import draw_words, letters_of
from core.model import early_backward
from core.model.clip4str import CLIP4STR
from core.runtime.clock import clock

TOWER, ALL, REST = "the image tower alone", "all of it", "everything else"
NOTE = (
    "reference: the image tower's own pass, so ratio is a part's share of it; medians of parts need not add up to that of all. "
    "On a GPU reading is timed without CUDA graphs, which have no parts."
)


def named_parts(model: CLIP4STR) -> Iterator[tuple[object, str, str]]:
    """(whose, attribute, name) of what is called."""
    yield early_backward, "backward_early", BACKWARD  # on a GPU in a forward pass: the visual branch's
    yield model.towers, "encode_image", "image tower, forward"
    for name, decoder in (("visual", model.visual_decoder), ("cross", model.cross_decoder)):
        if decoder is not None:
            yield decoder, "project_memory", f"{name} decoder: memory projection"
            yield decoder, "forward", f"{name} decoder: passes"
            yield decoder, "step", f"{name} decoder: single steps"
    if model.cross_decoder is not None:
        yield model.captions, "finish", "captions to tokens"
        yield model, "read_caption", "text tower, forward"


class Stopwatch:
    """Seconds of every part in every pass, and calls in the last; on a GPU a part begins and ends with nothing left to do."""

    def __init__(self, device: torch.device):
        self.device, self.calls = device, Counter()
        self.passes: list[Counter] = []

    def begin(self) -> None:
        """A new pass."""
        self.passes.append(Counter())
        self.calls.clear()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = clock(self.device)
        yield
        self.calls[name] += 1
        self.passes[-1][name] += clock(self.device) - start

    @contextmanager
    def on(self, model: CLIP4STR) -> Iterator[None]:
        """Until the block ends, the model's parts are timed."""
        with ExitStack() as stack:
            for owner, attribute, name in named_parts(model):
                stack.enter_context(patch.object(owner, attribute, self.part(name)(getattr(owner, attribute))))
            yield


def parts_of(
    what: str, row: str, scale: str, batch: int, lengths: str, repeats: int, precision: str = "no"
) -> list[Measurement]:
    """The parts of reading or of a training step, the longest first; the tower alone is timed in turns with it.

    Raises:
        ConfigError: the row cannot be built.
    """
    model, loaded, device = build(row, scale)
    images = torch.randn(batch, 3, *model.train(what == "train").towers.image_size, device=device)
    (words,) = draw_words(lengths, batch, 1, model.visual_decoder.max_outputs, letters_of(model.tokenizer.charset))
    watch = Stopwatch(device)
    with ExitStack() as stack:
        if what == "train":
            words = [[[word[: model.max_letters] for word in words]]]
            tower = tower_step(model, images, precision)
            task = training_steps(model, loaded.experiment.optimisation, precision, images, words, "right", watch.part)(0)
        else:
            stack.enter_context(forced_outputs(model)).force(words)
            tower = tower_forward(model, images, precision)
            task = reading(model, images, way_of(loaded.protocol, loaded.protocol.output), precision)
        warmup = WARMUP if device.type == "cpu" else WARMUP_ON_GPU
        for _ in range(warmup + repeats):
            watch.begin()
            with watch.part(TOWER):
                tower()
            forget_captions(model)
            with watch.on(model), watch.part(ALL):
                task()
    for seconds in (counted := watch.passes[warmup:]):
        seconds[REST] = 2 * seconds[ALL] + seconds[TOWER] - seconds.total()
    costs = []
    for name in counted[0]:
        details = {"row": row, "scale": scale, "batch": batch, "lengths": lengths, "calls": watch.calls.get(name, 1)}
        values = ([1000 * seconds[part] for seconds in counted] for part in (name, TOWER))
        costs.append(measurement(name, *values, device, "ms", details))
    last = {TOWER: 0, REST: 2, ALL: 3}
    return sorted(costs, key=lambda one: (last.get(one.name, 1), -one.ours.median))


def run(options: argparse.Namespace) -> None:
    setting = (options.row, options.scale, options.batch, options.lengths, options.repeats, options.precision)
    report(parts_of(options.what, *setting), f"Parts of {options.what}", NOTE, options.json)
