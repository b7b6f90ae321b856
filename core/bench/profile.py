"""Where the time of reading or training goes: milliseconds of its parts, beside the image tower's own pass.

A backward pass is one part, whatever it goes back through; the tower alone has its own.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from core.bench.dictation import dictated
from core.bench.read import floor, forget_captions, reading, way_of
from core.bench.timing import WARMUP, device_name
from core.bench.train import floor_step, training_steps
from core.bench.words import draw_words
from core.experiment.experiment import load
from core.model.clip4str import CLIP4STR
from core.runtime.clock import clock

FLOOR, ALL, REST = "the image tower alone", "all of it", "everything else"


@dataclass(frozen=True)
class Part:
    """One part of reading or of a training step.

    Args:
        part: its name; ALL is the whole, FLOOR the image tower by itself, REST what no part has.
        calls: in a pass.
        ms: of a pass, median; medians of parts need not add up to that of the whole.
        share: of the floor.
    """

    what: str
    row: str
    batch: int
    lengths: str
    device: str
    part: str
    calls: int
    ms: float
    share: float


def named_parts(model: CLIP4STR) -> Iterator[tuple[object, str, str]]:
    """(whose, attribute, name) of what is called."""
    yield model.towers, "encode_image", "image tower, forward"
    branches = {"visual": model.visual_decoder, "cross": model.cross_decoder}
    for name, decoder in branches.items():
        if decoder is not None:
            yield decoder, "project_memory", f"{name} decoder: keys and values of what it reads"
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
        with ExitStack() as undone:
            for owner, attribute, name in named_parts(model):
                undone.enter_context(self.on_calls(owner, attribute, name))
            yield

    @contextmanager
    def on_calls(self, owner: object, attribute: str, name: str) -> Iterator[None]:
        own = vars(owner).get(attribute)
        setattr(owner, attribute, self.part(name)(getattr(owner, attribute)))
        try:
            yield
        finally:
            delattr(owner, attribute)
            if own is not None:  # not of its class
                setattr(owner, attribute, own)


def parts_of(what: str, row: str, scale: str, batch: int, lengths: str, passes: int) -> list[Part]:
    """The parts of reading in float32, or of a training step, the longest first; the tower alone is timed in turns with it.

    Raises:
        ConfigError: the row cannot be built.
    """
    torch.manual_seed(0)
    loaded = load(row, scale)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.experiment.model(load_weights=False).to(device).train(what == "train")
    images = torch.randn(batch, 3, *model.towers.image_size, device=device)
    (words,) = draw_words(lengths, batch, 1, model.visual_decoder.max_outputs)
    watch = Stopwatch(device)
    with ExitStack() as stack:
        if what == "train":
            words = [word[: model.max_letters] for word in words]
            alone = floor_step(model, images, "no")
            task = training_steps(model, loaded.experiment.optimisation, "no", images, [words], "right", watch.part)(0)
        else:
            stack.enter_context(dictated(model)).say(words)
            alone = floor(model, images, "no")
            task = reading(model, images, way_of(loaded.protocol, loaded.protocol.output), "no")
        for _ in range(WARMUP + passes):
            watch.begin()
            with watch.part(FLOOR):
                alone()
            forget_captions(model)
            with watch.on(model), watch.part(ALL):
                task()
    counted = watch.passes[WARMUP:]
    for seconds in counted:
        seconds[REST] = 2 * seconds[ALL] + seconds[FLOOR] - seconds.total()
    found = {name: median(seconds[name] for seconds in counted) for name in counted[0]}
    inner = sorted(found.keys() - {FLOOR, ALL, REST}, key=found.get, reverse=True)
    setting = (what, row, batch, lengths, device_name(device))
    return [
        Part(*setting, name, watch.calls.get(name, 1), 1000 * found[name], found[name] / found[FLOOR])
        for name in (FLOOR, *inner, REST, ALL)
    ]


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    found = parts_of(options.what, options.row, options.scale, options.batch, options.lengths, options.passes)
    if options.json:
        for part in found:
            print(json.dumps(asdict(part)))
        return
    title = f"{options.what}, {options.row}, scale {options.scale}, batch {options.batch}, {options.lengths} words, "
    table = Table("part", "calls", "ms", "of the tower", title=title + f"{found[0].device}, {options.threads} threads")
    for part in found:
        table.add_row(part.part, str(part.calls), f"{part.ms:.1f}", f"{part.share:.1%}", end_section=part.part in (FLOOR, REST))
    Console().print(table)
