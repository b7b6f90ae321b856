"""Cost of inference relative to the image tower's forward pass, which is the lower bound for any model with this tower."""

import argparse
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from core.bench.forced_outputs import ForcedOutputs, forced_outputs
from core.bench.measure import IMAGE_TOWER, Measurement, Ready, build, compare, report, take_turns
from core.bench.words import MEANINGS, draw_words, letters_of, mean_letters
from core.experiment.protocol import Protocol
from core.model.clip4str import CLIP4STR
from core.runtime.precision import autocast, name_of

NOTE = (
    "ours: encode and decode of a batch; reference: the image tower's own forward pass. Random weights and images; words are "
    "random letters that differ between the images of a batch, and their reading is forced: {}; {}."
)


class Way(NamedTuple):
    """The parts of a protocol that cost time: the settings of Algorithm 1, and the branch whose output is needed."""

    decode: str
    refine_steps: int
    fast_cross: bool
    output: str

    def __str__(self) -> str:
        steps = f"{self.decode}, {self.refine_steps} refinement{'' if self.refine_steps == 1 else 's'}"
        branches = "visual branch alone" if self.output == "visual" else "both branches"
        return f"{steps}, {branches}{', Eq. (8)' if self.fast_cross else ''}"


def way_of(protocol: Protocol, output: str) -> Way:
    """The visual output needs no cross-modal branch, so Eq. (8) does not tell its ways apart."""
    return Way(protocol.decode, protocol.refine_steps, protocol.fast_cross and output == "cross", output)


def branch(model: CLIP4STR, output: str) -> CLIP4STR:
    """The model that computes an output: itself, or for "visual" the same model without its cross-modal branch."""
    if output == "cross" or model.cross_decoder is None:
        return model
    alone = copy.copy(model)
    alone._modules = {**model._modules, "cross_decoder": None}  # a shallow copy of a module shares its table of parts
    return alone


@contextmanager
def as_evaluated(device: torch.device, precision: str) -> Iterator[None]:
    """The autograd and autocast state in which `core.evaluate` reads."""
    with torch.inference_mode(), autocast(device, precision):
        yield


def tower_forward(model: CLIP4STR, images: Tensor, precision: str) -> Callable[[], Tensor]:
    """The image tower's own forward pass on images B 3 H W, ready to be timed."""

    def run() -> Tensor:
        with as_evaluated(images.device, precision):
            return model.towers.encode_image(images)

    return run


def forget_captions(model: CLIP4STR) -> None:
    """The next caption is tokenized as if it were new."""
    if model.cross_decoder is not None:
        model.caption_tokenizer.known.clear()


def reading(model: CLIP4STR, images: Tensor, way: Way, precision: str) -> Callable[[], object]:
    """`encode` and `decode` of images B 3 H W, ready to be timed; all captions are new."""
    reader = branch(model, way.output)
    forget_captions(reader)

    def run() -> object:
        with as_evaluated(images.device, precision):
            return reader.decode(reader.encode(images), way.refine_steps, way.decode, way.fast_cross)

    return run


def forced_reading(
    model: CLIP4STR, outputs: ForcedOutputs, images: Tensor, words: list[list[str]], guesses: str, protocol: Protocol
) -> Ready:
    """A task for `take_turns`: inference on a round's words under a protocol."""

    reader = branch(model, protocol.output)  # once: what is recorded of a model on a GPU is not that of its copy

    def ready(repeat: int) -> Callable[[], object]:
        outputs.force(words[repeat], guesses)
        return reading(reader, images, way_of(protocol, protocol.output), protocol.precision)

    return ready


def read_costs(
    row: str, scale: str, batches: list[int], lengths: str, guesses: str, repeats: int, precision: str | None = None
) -> Iterator[Measurement]:
    """One measurement per batch size, of a row under its own protocol; every repeat reads other words.

    Args:
        precision: in place of the protocol's.

    Raises:
        ConfigError: the row cannot be built.
    """
    model, loaded, device = build(row, scale)
    protocol = replace(loaded.protocol, precision=precision or loaded.protocol.precision)
    for batch in batches:
        words = draw_words(lengths, batch, repeats, model.visual_decoder.max_outputs, letters_of(model.tokenizer.charset))
        images = torch.randn(batch, 3, *model.eval().towers.image_size, device=device)
        tower = tower_forward(model, images, protocol.precision)
        with forced_outputs(model) as outputs:
            task = forced_reading(model, outputs, images, words, guesses, protocol)
            tasks = {IMAGE_TOWER: lambda repeat, tower=tower: tower, "read": task}
            measured = take_turns(tasks, repeats, device, f"reading {batch} at once")
        details = {"row": row, "scale": scale, "way": str(way_of(protocol, protocol.output))}
        details |= {"precision": name_of(protocol.precision), "lengths": lengths, "guesses": guesses, "batch": batch}
        details["ms per image"] = 1000 / batch * median(seconds.clock for seconds in measured["read"])
        details["mean letters"] = mean_letters([word for drawn in words for word in drawn])
        yield compare("read", measured["read"], measured[IMAGE_TOWER], device, details)


def run(options: argparse.Namespace) -> None:
    setting = (options.batch, options.lengths, options.guesses, options.repeats, options.precision)
    costs = (cost for row in options.rows for cost in read_costs(row, options.scale, *setting))
    report(costs, "Reading", NOTE.format(MEANINGS[options.lengths], MEANINGS[options.guesses]), options.json)
