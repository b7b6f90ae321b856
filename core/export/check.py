"""Compares exported graphs with the model they come from: logits, strings, time.

B batch, S passes, N outputs, C classes.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from core.data.transforms import normalise
from core.export.reader import ExportedReader
from core.model.clip4str import CLIP4STR

LIMIT = 1e-4  # of the difference of two logits, in float32
BATCH = 32
TIMED = 10  # images that are also read alone


@dataclass
class GraphComparison:
    """What a comparison has shown so far.

    Args:
        largest: of the differences of logits, by branch.
        different: what is read otherwise: image, the model's string, the graph's.
        tied: images that are part of neither (`ties`).
        alone, together: milliseconds per image, the model's and the graphs', read one by one and in batches.
    """

    images: int = 0
    tied: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    different: list[tuple[str, str, str]] = field(default_factory=list)
    alone: list[tuple[float, float]] = field(default_factory=list)
    together: list[tuple[float, float]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.different and all(value <= LIMIT for value in self.largest.values())  # not so of nan


def medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Of the model's times and of the graphs'."""
    model, graphs = zip(*pairs, strict=True)
    return statistics.median(model), statistics.median(graphs)


def compare(
    model: CLIP4STR, reader: ExportedReader, images: Iterable[tuple[str, Tensor]], decode: str, refine_steps: int
) -> GraphComparison:
    """Read images with both.

    Args:
        images: name, and pixels 3 H W, uint8.
        decode, refine_steps: what the graphs do.
    """

    def predict(pixels: Tensor) -> list[Tensor]:
        found = model.predict(normalise(pixels, model.normalisation), refine_steps, decode)
        branches = [(found.visual_ar, found.visual), (found.cross_ar, found.cross)]
        return [torch.stack(pair, 1) for pair in branches if pair[0] is not None]  # B 2 N C

    agreement = GraphComparison()
    images = iter(images)
    while batch := list(islice(images, BATCH)):
        names, pixels = [name for name, _ in batch], torch.stack([image for _, image in batch]).contiguous()
        for image in pixels[:TIMED].split(1) if not agreement.images else ():  # an empty tensor splits into an empty one
            agreement.alone.append((timed(predict, image)[1], timed(reader.logits, image)[1]))
        (expected, model_time), (given, graphs_time) = timed(predict, pixels), timed(reader.logits, pixels)
        agreement.together.append((model_time, graphs_time))
        agreement.images += len(names)
        told = ~ties(expected)  # B
        agreement.tied += int((~told).sum())
        names = [name for name, kept in zip(names, told, strict=True) if kept]
        if not names:
            continue
        expected, given = ([logits[told] for logits in both] for both in (expected, given))
        for branch, ours, theirs in zip(("visual", "cross"), expected, given, strict=False):
            ends = theirs[:, [0, -1]]  # the first pass and the last, which the model tells
            largest = torch.tensor(agreement.largest.get(branch, 0.0))
            agreement.largest[branch] = float(torch.cat([(ours - ends).abs().flatten(), largest[None]]).max())  # keeps nan
            for number in range(2):
                pairs = zip(names, *(model.tokenizer.decode(logits[:, number])[0] for logits in (ours, ends)), strict=True)
                agreement.different += [pair for pair in pairs if pair[1] != pair[2]]
    return agreement


def ties(logits: list[Tensor]) -> Tensor:
    """Images of which the model finds two characters as likely as each other, within LIMIT, so that rounding decides: B.

    What is read first decides what is read after it and by the other branch, so such an image says nothing of the graphs.

    Args:
        logits: of every branch, B S N C; zeros after a word's end.
    """
    best = [branch.topk(2, -1).values for branch in logits]  # B S N 2
    near = [(two[..., 0] - two[..., 1] <= LIMIT) & (branch != 0).any(-1) for two, branch in zip(best, logits, strict=True)]
    return torch.stack([one.flatten(1).any(1) for one in near]).any(0)


def timed(read: Callable[[Tensor], list[Tensor]], pixels: Tensor) -> tuple[list[Tensor], float]:
    """What is read, and the milliseconds it takes per image."""
    start = time.perf_counter()
    logits = read(pixels)
    return logits, 1000 * (time.perf_counter() - start) / len(pixels)
