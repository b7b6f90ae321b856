"""Existing LMDBs of the field's layout, to be merged, filtered or cut down to a subset."""

import itertools
from pathlib import Path
from typing import NamedTuple

from core.data.convert.source import Item, LeftOut, Listing, SourceOptions
from core.data.keys import label_key
from core.data.lmdb import ImageLmdb, RawSample, stored_samples
from core.data.samples import BEYOND
from core.data.sets import find_lmdbs
from core.errors import DataError
from core.runtime.crash_safe import WorkerCrash, crash_safe_map

LOOKS = "a folder with data.mdb in it or below it (all below are merged, sorted by path)"
BLOCK_SIZE = 20_000  # labels read at once
MOST = 999_999_999  # what a key's nine digits can count


class LabelRange(NamedTuple):
    """The labels `first` to `last` of an LMDB; without `last`, those from `first` up to the first that is missing."""

    folder: Path
    name: str  # the folder as the ledger names it
    first: int
    last: int | None


def detect(source: Path) -> bool:
    return any(any(source.glob(f"{'*/' * depth}data.mdb")) for depth in range(4))


def read(source: Path, options: SourceOptions) -> Listing:
    """The samples as they are stored, labels unchanged; the LMDBs below SOURCE one after the other."""
    folders, jobs = find_lmdbs(source), []
    for folder, stored in zip(folders, crash_safe_map(stored_samples, folders, 1), strict=True):
        if isinstance(stored, WorkerCrash):
            raise DataError(f"{folder / 'data.mdb'}: opening it {stored}")
        name = folder.relative_to(source.parent).as_posix()
        starts = range(1, stored + 1, BLOCK_SIZE)
        jobs += [LabelRange(folder, name, first, min(first + BLOCK_SIZE - 1, stored)) for first in starts]
        jobs.append(LabelRange(folder, name, stored + 1, None))  # samples that num-samples does not count
    for job, words in zip(jobs, crash_safe_map(list_words, jobs, 1), strict=True):
        if isinstance(words, WorkerCrash):
            raise DataError(f"{job.folder / 'data.mdb'}: reading its labels from {job.first} on {words}")
        yield from words


def list_words(job: LabelRange) -> list[Item | LeftOut]:
    """The words of a range of labels; those beyond num-samples are left out."""
    samples = ImageLmdb(job.folder).raw_samples(job.first, job.last or MOST, ("label",))
    if job.last:
        return [word_of(job, raw) for raw in samples]
    beyond = itertools.takewhile(lambda raw: raw.label is not None, samples)
    return [LeftOut(f"{job.name}/{label_key(raw.index)}", BEYOND) for raw in beyond]


def word_of(job: LabelRange, raw: RawSample) -> Item | LeftOut:
    key = f"{job.name}/{label_key(raw.index)}"
    if raw.label is None:
        return LeftOut(key, "label cannot be read" if raw.problem else "no such key", raw.problem)
    try:
        return Item(key, raw.label.decode("utf-8"), job.folder, raw.index)
    except UnicodeDecodeError:
        return LeftOut(key, "label is not UTF-8", repr(raw.label[:40]))
