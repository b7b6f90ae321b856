"""What reading costs above the image tower's own forward pass, the floor below which no reader made of it can go.

Both are measured in turns on the same images, in one run on one machine, and compared as a ratio.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from core.bench.dictation import dictated
from core.bench.timing import Compared, compared, take_turns
from core.bench.words import draw_words, mean_letters
from core.experiment.experiment import Loaded, load
from core.experiment.protocol import Protocol
from core.model.clip4str import CLIP4STR
from core.runtime.precision import autocast, name_of

FLOOR = "floor"


class Way(NamedTuple):
    """What of a protocol costs time: how Algorithm 1 goes, and the branch whose output is wanted."""

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
    """What has to run for an output: the model itself, or for "visual" the same model without its cross-modal branch."""
    if output == "cross" or model.cross_decoder is None:
        return model
    alone = copy.copy(model)
    alone._modules = {**model._modules, "cross_decoder": None}  # a shallow copy of a module shares its table of parts
    return alone


@contextmanager
def as_read(device: torch.device, precision: str) -> Iterator[None]:
    """The autograd and autocast state in which `core.evaluate` reads."""
    with torch.inference_mode(), autocast(device, precision):
        yield


def floor(model: CLIP4STR, images: Tensor, precision: str) -> Callable[[], Tensor]:
    """The image tower's own forward pass on images B 3 H W, ready to be timed."""

    def run() -> Tensor:
        with as_read(images.device, precision):
            return model.towers.encode_image(images)

    return run


def forget_captions(model: CLIP4STR) -> None:
    """The next caption is tokenized as if it had never been seen."""
    if model.cross_decoder is not None:
        model.caption_tokenizer.known.clear()


def reading(model: CLIP4STR, images: Tensor, way: Way, precision: str) -> Callable[[], object]:
    """`encode` and `decode` of images B 3 H W, ready to be timed; captions are tokenized as if never seen before."""
    reader = branch(model, way.output)
    forget_captions(reader)

    def run() -> object:
        with as_read(images.device, precision):
            return reader.decode(reader.encode(images), way.refine_steps, way.decode, way.fast_cross)

    return run


@dataclass(frozen=True, kw_only=True)
class ReadCost(Compared):
    """Reading a batch of made-up images with random weights, against the image tower's forward pass.

    Args:
        lengths: "full" or "typical" (see `core.bench.words`).
        guesses: "right" or "wrong" (see `core.bench.dictation`).
        mean_letters: letters of the words that were read.
    """

    what: str = "read"
    row: str
    scale: str
    batch: int
    lengths: str
    guesses: str
    way: str
    precision: str
    ms_per_image: float
    mean_letters: float


def read_costs(row: str, scale: str, batches: list[int], lengths: str, guesses: str, repeats: int) -> Iterator[ReadCost]:
    """One cost a batch size, of a row under its own protocol; every repeat reads other words.

    Raises:
        ConfigError: the row cannot be built.
    """
    torch.manual_seed(0)
    loaded = load(row, scale)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.experiment.model(load_weights=False).to(device).eval()
    for batch in batches:
        yield read_cost(model, loaded, row, scale, batch, lengths, guesses, repeats)


def read_cost(
    model: CLIP4STR, loaded: Loaded, row: str, scale: str, batch: int, lengths: str, guesses: str, repeats: int
) -> ReadCost:
    """`read_costs` of one batch size, with the model built."""
    device = next(model.parameters()).device
    protocol = loaded.protocol
    way = way_of(protocol, protocol.output)
    words = draw_words(lengths, batch, repeats, model.visual_decoder.max_outputs)
    images = torch.randn(batch, 3, *model.towers.image_size, device=device)
    with dictated(model) as dictation:

        def read(repeat: int) -> Callable[[], object]:
            dictation.say(words[repeat], guesses)
            return reading(model, images, way, protocol.precision)

        tasks = {FLOOR: lambda repeat: floor(model, images, protocol.precision), "read": read}
        measured = take_turns(tasks, repeats, device, f"reading {batch} at once")
    cost = compared(measured["read"], measured[FLOOR], device)
    return ReadCost(
        **vars(cost),
        row=row,
        scale=scale,
        batch=batch,
        lengths=lengths,
        guesses=guesses,
        way=str(way),
        precision=name_of(protocol.precision),
        ms_per_image=1000 * cost.median_s / batch,
        mean_letters=mean_letters([word for repeated in words for word in repeated]),
    )
