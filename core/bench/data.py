"""Training images per second and core, from LMDB to tensor, against the released code's loader.

The reference is written after strhub/data of VamosC/CLIP4STR: the image decoded by Pillow, timm's RandAugment at its own
size, then torchvision's Resize (bicubic), ToTensor and Normalize, stacked as float32. It augments with the same
operations as ours.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, pairwise
from operator import truediv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment as TimmRandAugment
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize
from torchvision.transforms import ToTensor as FloatTensor

from core import config
from core.bench.measure import Measurement, Ready, compare, report, take_turns
from core.choices import NORMALISATIONS
from core.data.augment import RandAugment
from core.data.benchmarks import MICRO_WORLD
from core.data.environments import environment
from core.data.keys import image_key
from core.data.labels import PUBLISHED_RULES
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.loading import AHEAD, Words, collate, open_lmdbs
from core.data.micro import World
from core.data.render.lexicon import vocabulary_words
from core.data.render.sheet import png_bytes
from core.data.transforms import ToTensor
from core.data.words import WordSet
from core.errors import DataError
from core.experiment.experiment import load

NORMALISATION = "clip"
RENDERED = 512  # words, where no data is given
SIZES = (  # width and height of real crops: 20 of IIIT5K's, SVT's and IC15's training words at evenly spaced areas
    *((28, 15), (46, 13), (40, 19), (38, 24), (37, 28), (44, 27), (51, 27), (53, 30), (45, 41), (68, 32)),
    *((75, 33), (57, 50), (58, 59), (93, 43), (78, 61), (161, 36), (88, 86), (189, 53), (168, 96), (304, 100)),
)
OURS, NORMALISED, REFERENCE = "ours", "ours, normalised", "reference"
NOTE = (
    "Images per second, {}. ours: to the batch of whole numbers that goes to the device, which normalises them; normalised: on "
    "this core too; reference: the released loader's steps with the same augmentation, normalised float32."
)


class Released(Dataset):
    """The reference: items are (normalised float image, label)."""

    def __init__(self, words: Words, image_size: tuple[int, int], augment: RandAugment | None):
        self.words = words
        self.transform = Compose(
            [Resize(image_size, InterpolationMode.BICUBIC), FloatTensor(), Normalize(*NORMALISATIONS[NORMALISATION])]
        )
        self.augment = None
        if augment:
            operations = [partial(augment.apply, name, np.random.default_rng(0)) for name in augment.operations]
            even = [1 / len(operations)] * len(operations)  # weights make timm draw without replacement
            self.augment = TimmRandAugment(operations, augment.num_ops, even)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, str]:
        lmdb, sample = self.words.sample(place[1])
        with environment(lmdb.home).begin() as transaction:
            stream = io.BytesIO(transaction.get(image_key(sample.index).encode()))
        image = Image.open(stream).convert("RGB")
        if self.augment:
            image = self.augment(image)
        return self.transform(image), sample.label


def data_costs(lmdbs: list[WordLmdb], options: argparse.Namespace) -> Iterator[Measurement]:
    """With augmentation as published (section IV-A), then without; ours and the reference in turns on the same images.

    Args:
        options: the command's options; `images` per measurement are drawn at random from those that can be decoded.

    Raises:
        DataError: none can be.
    """
    size, batch, workers, source = tuple(options.size), options.batch, options.workers, str(options.data or "rendered words")
    published = load(options.row, "paper").experiment.augment
    device = torch.device("cpu")
    for what, augment in (("augmented", published), ("as they are", None)):
        words = Words(lmdbs, ToTensor(size, NORMALISATION), augment)
        chosen = decodable(words, options.images, source)
        released = Released(words, size, augment)
        tasks: dict[str, Ready] = {
            OURS: passing(words, chosen, batch, workers, collate, lambda batch: batch.images),
            NORMALISED: passing(words, chosen, batch, workers, collate, lambda batch: batch.normalised("cpu")),
            REFERENCE: passing(released, chosen, batch, workers, None, lambda batch: batch[0]),
        }
        measured = take_turns(tasks, options.repeats, device, f"{what}: {len(chosen)} images {options.repeats} times")
        if not workers:  # one core's work, which processor time measures even beside other programs
            measured = {task: [s._replace(clock=s.processor) for s in seconds] for task, seconds in measured.items()}
        details = {
            "source": source,
            "images": len(chosen),
            "size": f"{size[0]} x {size[1]}",
            "batch": batch,
            "workers": workers,
        }
        for name in (OURS, NORMALISED):
            task = what + name.removeprefix(OURS)
            yield compare(task, measured[name], measured[REFERENCE], device, details, "images/s", partial(truediv, len(chosen)))


def decodable(words: Words, images: int, source: str) -> list[int]:
    """At most `images` positions at random."""
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0)).tolist()
    chosen = list(islice((position for position in order if words[0, position].image is not None), images))
    if not chosen:
        raise DataError(f"{source}: none of {len(words)} images can be decoded; copy or build the LMDB again")
    return chosen


def passing(
    dataset: Dataset, chosen: list[int], batch: int, workers: int, together: Callable | None, last: Callable[..., Tensor]
) -> Ready:
    """A task for `take_turns`: a pass over the chosen images, augmented differently in each round.

    Args:
        together: collates examples; None for torch's own way.
        last: a function that finishes a batch.
    """

    def ready(number: int) -> Callable[[], int]:
        edges = [*range(0, len(chosen), batch), len(chosen)]
        order = [[(number, position) for position in chosen[first:end]] for first, end in pairwise(edges)]
        ahead = AHEAD if workers else None
        loader = DataLoader(dataset, batch_sampler=order, num_workers=workers, collate_fn=together, prefetch_factor=ahead)
        return lambda: sum(len(last(batch)) for batch in loader)

    return ready


def rendered_words(folder: Path, count: int = RENDERED) -> list[WordLmdb]:
    """Words of the project's own renderer, scaled to the sizes of real crops, as an LMDB in `folder`."""
    world = config.build(World, MICRO_WORLD)
    recipe = WordSet(seed=0, families=world.families, words=vocabulary_words(), page=world.page)

    def samples() -> Iterable[tuple[bytes, str]]:
        for index in range(count):
            drawn = recipe.draw(index)
            crop = drawn.image.convert("RGB").resize(SIZES[index % len(SIZES)], Image.Resampling.BICUBIC)
            yield png_bytes(crop), drawn.word

    write_lmdb(folder, samples())
    return [WordLmdb(folder)]


def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        lmdbs = open_lmdbs(options.data, *PUBLISHED_RULES) if options.data else rendered_words(Path(scratch) / "words")
        clock = "by the clock" if options.workers else "of one core, in its processor time"
        report(data_costs(lmdbs, options), "From LMDB to batches", NOTE.format(clock), options.json)
