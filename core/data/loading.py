"""Batches: the order of samples, and the loader processes that decode and transform their images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from core.data.augment import RandAugment
from core.data.keys import image_key
from core.data.lmdb import WHOLE, WordLmdb
from core.data.samples import Ledger, Sample, left_out_text
from core.data.sets import find_lmdbs
from core.data.transforms import ToTensor, as_pixels, normalise
from core.errors import DataError, UnreadableImage

AHEAD = 4  # batches that each worker has ready or in progress, so that one slow batch does not stop the device


class Example(NamedTuple):
    """One stored image with its label, as a dataset gives it to the loader."""

    image: Tensor | None  # 3 H W, uint8; None where the stored image cannot be decoded
    label: str
    index: int  # key number in its LMDB
    problem: str
    normalisation: str = ""
    lmdb: str = WHOLE  # name of its LMDB


class Batch(NamedTuple):
    """The images of one batch that could be decoded, and where they are stored."""

    images: Tensor  # B 3 H W, uint8
    labels: list[str]
    indices: list[int]
    lmdbs: list[str]  # names of the LMDBs that the key numbers are of
    places: list[int]  # positions of these images among all requested, undecodable ones counted
    skipped: list[tuple[str, str]]  # (reason, key) of samples that could not be decoded
    normalisation: str  # to be applied on the device

    def normalised(self, device: torch.device | str) -> Tensor:
        """The images as the tower takes them, B 3 H W in float32, on `device`."""
        return normalise(self.images, self.normalisation, device)


class Words(Dataset):
    """Several LMDBs one after another, their images transformed.

    Items are indexed by (epoch, position), so that augmentation depends on seed, epoch and position alone.

    Args:
        transform: None keeps images in their stored size.
        images: how many of them there are to be, see `some_of`; None: all.

    Raises:
        DataError: there are fewer.
    """

    def __init__(
        self,
        lmdbs: list[WordLmdb],
        transform: ToTensor | None,
        augment: RandAugment | None = None,
        seed: int = 0,
        images: int | None = None,
    ):
        self.lmdbs, self.transform, self.augment, self.seed = lmdbs, transform, augment, seed
        self.ends = np.cumsum([len(lmdb) for lmdb in lmdbs])
        self.usable = int(self.ends[-1]) if lmdbs else 0
        self.chosen = None if images is None else some_of(self.usable, images)

    def __len__(self) -> int:
        return self.usable if self.chosen is None else len(self.chosen)

    def sample(self, position: int) -> tuple[WordLmdb, Sample]:
        """The LMDB and the sample at a position."""
        if self.chosen is not None:
            position = int(self.chosen[position])
        number = int(np.searchsorted(self.ends, position, side="right"))
        return self.lmdbs[number], self.lmdbs[number].samples[position - int(self.ends[number])]  # a negative index

    def __getitem__(self, place: tuple[int, int]) -> Example:
        epoch, position = place
        lmdb, sample = self.sample(position)
        try:
            image = lmdb.image(sample.index)
        except UnreadableImage as problem:
            return Example(None, sample.label, sample.index, f"{lmdb.path}: {problem}")
        if self.augment:
            image = self.augment(image, [self.seed, epoch, position])
        if self.transform is None:
            return Example(as_pixels(image), sample.label, sample.index, "", lmdb=lmdb.name)
        pixels = self.transform.pixels(image)
        return Example(pixels, sample.label, sample.index, "", self.transform.normalisation, lmdb.name)

    @property
    def stored(self) -> int:
        """Samples of all LMDBs, before the label rules."""
        return sum(lmdb.stored for lmdb in self.lmdbs)

    def ledger(self) -> Ledger:
        """The ledger of all LMDBs together: samples that the label rules left out."""
        merged = Ledger()
        for lmdb in self.lmdbs:
            merged.counts.update(lmdb.ledger.counts)
            for reason, keys in lmdb.ledger.examples.items():
                merged.examples.setdefault(reason, []).extend(f"{lmdb.path}: {key}" for key in keys)
        return merged


def some_of(usable: int, images: int) -> np.ndarray:
    """Positions of `images` of the usable samples, drawn once and for all: a smaller number is a part of a larger one.

    Raises:
        DataError: there are fewer.
    """
    if images > usable:
        raise DataError(
            f"TRAIN_IMAGES = {images}: the training sets have {usable} usable images; lower it, or set None for all"
        )
    return np.random.default_rng(usable).permutation(usable)[:images]


def collate(examples: list[Example]) -> Batch:
    """Stack the images that could be decoded, list the others."""
    places = [place for place, example in enumerate(examples) if example.image is not None]
    good = [examples[place] for place in places]
    skipped = [("image cannot be decoded", f"{e.problem} ({image_key(e.index)})") for e in examples if e.image is None]
    if not good:
        return Batch(torch.empty(0, dtype=torch.uint8), [], [], [], [], skipped, "")
    rows = torch.stack([example.image.permute(1, 2, 0) for example in good])  # B H W 3, the memory order of each image
    labels, indices, lmdbs = ([getattr(example, name) for example in good] for name in ("label", "index", "lmdb"))
    return Batch(rows.permute(0, 3, 1, 2), labels, indices, lmdbs, places, skipped, good[0].normalisation)


@dataclass
class ShuffledBatches(Sampler):
    """Micro-batches of (epoch, position), shuffled per epoch by (seed, epoch) alone, from any step on.

    The images of a step are the same however many processes and passes share them.

    Args:
        samples: size of the data set; the last, partial batch of an epoch is dropped.
        batch: images per optimiser step.
        first, last: steps to deliver: first, ..., last - 1.
        micro_batch: images per forward pass of one process.
        process, processes: this process's rank, and the number of processes.
    """

    samples: int
    batch: int
    seed: int
    first: int
    last: int
    micro_batch: int
    process: int = 0
    processes: int = 1

    def __post_init__(self):
        if self.samples < self.batch:
            raise DataError(f"{self.samples} training images are fewer than one batch of {self.batch}")

    def __len__(self) -> int:
        return (self.last - self.first) * (self.batch // (self.micro_batch * self.processes))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        current, order = -1, []
        for step in range(self.first, self.last):
            epoch, place = divmod(step, self.samples // self.batch)
            if epoch != current:
                current, order = epoch, self.order(epoch)
            chosen = [(epoch, position) for position in order[place * self.batch : (place + 1) * self.batch]]
            for share in self.starts():
                yield chosen[share : share + self.micro_batch]

    def starts(self) -> range:
        """Where this process's passes begin among the images of a step."""
        return range(self.process * self.micro_batch, self.batch, self.micro_batch * self.processes)

    def order(self, epoch: int) -> list[int]:
        """Every sample's position, shuffled."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(self.samples, generator=generator).tolist()

    def samples_of(self, step: int) -> tuple[int, list[int]]:
        """A step's epoch and the positions of its samples, for all processes together."""
        epoch, place = divmod(step, self.samples // self.batch)
        return epoch, self.order(epoch)[place * self.batch : (place + 1) * self.batch]


@dataclass(frozen=True)
class InOrder(Sampler):
    """Every sample once, in order, as (0, position); batches go to the processes in turn."""

    samples: int
    batch: int
    process: int = 0
    processes: int = 1

    def starts(self) -> range:
        return range(self.process * self.batch, self.samples, self.processes * self.batch)

    def __len__(self) -> int:
        return len(self.starts())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for start in self.starts():
            yield [(0, position) for position in range(start, min(start + self.batch, self.samples))]


def open_lmdbs(roots: Path | Sequence[Path], charset: str, max_letters: int) -> list[WordLmdb]:
    """Every LMDB below one folder or several, in path order.

    Raises:
        DataError: there is no LMDB, or no usable label in any.
    """
    roots = [roots] if isinstance(roots, Path) else roots
    lmdbs = [
        WordLmdb(path, charset, max_letters, path.relative_to(root).as_posix()) for root in roots for path in find_lmdbs(root)
    ]
    if not any(map(len, lmdbs)):
        words = Words(lmdbs, None)
        why = left_out_text(words.stored, words.ledger().as_dict()) or "it stores none"
        raise DataError(f"{', '.join(map(str, roots))}: no label here passes the label rules: {why}")
    return lmdbs


def in_order(words: Words, batch: int, workers: int, process: int = 0, processes: int = 1) -> DataLoader:
    """A loader for evaluation: every sample, or one process's share of them."""
    return DataLoader(
        words,
        batch_sampler=InOrder(len(words), batch, process, processes),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
    )
