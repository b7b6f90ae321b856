"""How many training images a core makes, from LMDB to tensor, beside the released loader's way of making them.

The reference is written after strhub/data of VamosC/CLIP4STR: the image decoded by Pillow, timm's RandAugment at its own
size, then torchvision's Resize (bicubic), ToTensor and Normalize, stacked as float32. It augments with the same
operations as ours.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from timm.data.auto_augment import RandAugment as TimmRandAugment
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize
from torchvision.transforms import ToTensor as FloatTensor

from core import config
from core.bench.timing import Ready, by_clock, by_processor, ratios, spread, take_turns
from core.choices import NORMALISATIONS
from core.data.augment import RandAugment
from core.data.environments import environment
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.loading import AHEAD, Words, collate
from core.data.micro import WORLD, World
from core.data.render.lexicon import vocabulary_words
from core.data.render.sheet import png_bytes
from core.data.transforms import ToTensor
from core.data.words import Recipe
from core.errors import DataError

NORMALISATION = "clip"
RENDERED = 512  # words, where no data is given
SIZES = (  # width and height of real crops: 20 of IIIT5K's, SVT's and IC15's training words at evenly spaced areas
    *((28, 15), (46, 13), (40, 19), (38, 24), (37, 28), (44, 27), (51, 27), (53, 30), (45, 41), (68, 32)),
    *((75, 33), (57, 50), (58, 59), (93, 43), (78, 61), (161, 36), (88, 86), (189, 53), (168, 96), (304, 100)),
)
OURS, NORMALISED, REFERENCE = "ours", "ours, normalised", "reference"


@dataclass(frozen=True)
class DataCost:
    """Images a second of one core; with workers, of all of them by the clock.

    Args:
        what: "data" with augmentation, "data_plain" without.
        images_per_s: ours, to the batch of whole numbers that goes to the device.
        normalised_images_per_s: ours, normalised on this core too, which a device otherwise does.
        ratio: `images_per_s` over the reference's, of neighbours in time; median and range.
        clock_images_per_s: as `images_per_s`, by the clock.
    """

    what: str
    images_per_s: float
    reference_images_per_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    normalised_images_per_s: float
    clock_images_per_s: float
    batch: int
    image_size: tuple[int, int]
    threads: int
    workers: int
    images: int
    repeats: int
    source: str


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
            stream = io.BytesIO(transaction.get(f"image-{sample.index:09d}".encode()))
        image = Image.open(stream).convert("RGB")
        if self.augment:
            image = self.augment(image)
        return self.transform(image), sample.label


def data_costs(
    lmdbs: list[WordLmdb],
    source: str,
    published: RandAugment,
    *,
    image_size: tuple[int, int],
    batch: int,
    images: int,
    repeats: int,
    workers: int,
) -> Iterator[DataCost]:
    """With augmentation as published (section IV-A), then without; ours and the reference in turns on the same images.

    Args:
        published: as the study's paper scale augments.
        images: of each measurement, drawn at random from those that can be decoded.

    Raises:
        DataError: none can be.
    """
    for what, augment in (("data", published), ("data_plain", None)):
        words = Words(lmdbs, ToTensor(image_size, NORMALISATION), augment)
        chosen = decodable(words, images, source)
        released = Released(words, image_size, augment)
        tasks: dict[str, Ready] = {
            OURS: passing(words, chosen, batch, workers, collate, lambda found: found.images),
            NORMALISED: passing(words, chosen, batch, workers, collate, lambda found: found.normalised("cpu")),
            REFERENCE: passing(released, chosen, batch, workers, None, lambda found: found[0]),
        }
        measured = take_turns(tasks, repeats, torch.device("cpu"), f"{what}: {len(chosen)} images {repeats} times")
        clock = by_clock(measured)
        seconds = clock if workers else by_processor(measured)
        rates = {task: len(chosen) / spread(found).median for task, found in seconds.items()}
        ratio = ratios(seconds[REFERENCE], seconds[OURS])
        yield DataCost(
            what,
            rates[OURS],
            rates[REFERENCE],
            ratio.median,
            ratio.low,
            ratio.high,
            rates[NORMALISED],
            len(chosen) / spread(clock[OURS]).median,
            batch,
            image_size,
            torch.get_num_threads(),
            workers,
            len(chosen),
            repeats,
            source,
        )


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
    """Of a round: a pass over the chosen images, each round augmented in its own way.

    Args:
        together: collates examples; None for torch's own way.
        last: what is still done with a batch.
    """

    def ready(number: int) -> Callable[[], int]:
        edges = [*range(0, len(chosen), batch), len(chosen)]
        order = [[(number, position) for position in chosen[first:end]] for first, end in pairwise(edges)]
        ahead = AHEAD if workers else None
        loader = DataLoader(dataset, batch_sampler=order, num_workers=workers, collate_fn=together, prefetch_factor=ahead)
        return lambda: sum(len(last(found)) for found in loader)

    return ready


def rendered_words(folder: Path, count: int = RENDERED) -> list[WordLmdb]:
    """Words of the project's own renderer, scaled to the sizes of real crops, as an LMDB in `folder`."""
    world = config.build(World, WORLD)
    recipe = Recipe(seed=0, families=world.families, words=vocabulary_words(), page=world.page)

    def samples() -> Iterable[tuple[bytes, str]]:
        for index in range(count):
            drawn = recipe.draw(index)
            crop = drawn.image.convert("RGB").resize(SIZES[index % len(SIZES)], Image.Resampling.BICUBIC)
            yield png_bytes(crop), drawn.word

    write_lmdb(folder, samples())
    return [WordLmdb(folder)]


def show_data(costs: list[DataCost]) -> None:
    """A table of `data_costs` and what its figures are."""
    first = costs[0]
    size = f"{first.image_size[0]} x {first.image_size[1]}"
    table = Table("", "ours", "normalised too", "reference", "ratio", "range", title=f"Images a second, {size}")
    for cost in costs:
        name = "augmented" if cost.what == "data" else "as they are"
        rates = (cost.images_per_s, cost.normalised_images_per_s, cost.reference_images_per_s)
        ratio = (f"{cost.ratio:.2f}", f"{cost.ratio_low:.2f}-{cost.ratio_high:.2f}")
        table.add_row(name, *(f"{rate:.0f}" for rate in rates), *ratio)
    Console().print(table)
    how = f"{first.workers} worker processes, by the clock" if first.workers else "one core, in its processor time"
    Console().print(
        f"From LMDB to batches of {first.batch}; {how}; {first.images} images of {first.source}, medians of {first.repeats} "
        "repeats in turns. ours: whole numbers as they go to the device, which normalises them; reference: the released "
        "loader's steps with the same augmentation, normalised float32."
    )
