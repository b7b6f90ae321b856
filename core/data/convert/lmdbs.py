"""Existing LMDBs of the field's layout, to be merged, filtered or cut down to a subset."""

import itertools
from pathlib import Path
from typing import NamedTuple

from core.data.convert.source import Item, LeftOut, Listing, Wanted
from core.data.doctor.stored import Raw, Stored
from core.data.lmdb import find_lmdbs
from core.errors import DataError
from core.runtime.crash_safe import WorkerCrash, crash_safe_map

LOOKS = "a folder with data.mdb in it or below it (all below are merged, sorted by path)"
BLOCK_SIZE = 20_000  # labels read at once
MOST = 999_999_999  # what a key's nine digits can count


class Labels(NamedTuple):
    """A job: the labels `first` to `last` of an LMDB."""

    folder: Path
    inside: str  # where it lies, for the ledger
    first: int
    last: int


def certain(source: Path) -> bool:
    return any(any(source.glob(f"{'*/' * depth}data.mdb")) for depth in range(4))


def read(source: Path, wanted: Wanted) -> Listing:
    """The samples as they are stored, labels unchanged; the LMDBs below SOURCE one after the other.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    folders, jobs = find_lmdbs(source), []
    for folder, stored in zip(folders, crash_safe_map(count, folders, 1), strict=True):
        if isinstance(stored, WorkerCrash):
            raise DataError(f"{folder / 'data.mdb'}: opening it {stored}")
        inside = folder.relative_to(source.parent).as_posix()
        starts = range(1, stored + 1, BLOCK_SIZE)
        jobs += [Labels(folder, inside, first, min(first + BLOCK_SIZE - 1, stored)) for first in starts]
        jobs.append(Labels(folder, inside, stored + 1, 0))
    for job, found in zip(jobs, crash_safe_map(listing, jobs, 1), strict=True):
        if isinstance(found, WorkerCrash):
            raise DataError(f"{job.folder / 'data.mdb'}: reading its labels from {job.first} on {found}")
        yield from found


def count(folder: Path) -> int:
    return Stored(folder).stored


def listing(job: Labels) -> list[Item | LeftOut]:
    """What the labels of a job become; without a last one, those beyond num-samples up to the first that is missing."""
    last = job.last or MOST
    found = Stored(job.folder).stretch(job.first, last, ("label",))
    if job.last:
        return [entry(job, raw) for raw in found]
    beyond = itertools.takewhile(lambda raw: raw.label is not None, found)
    return [LeftOut(f"{job.inside}/{raw.key}", "beyond num-samples") for raw in beyond]


def entry(job: Labels, raw: Raw) -> Item | LeftOut:
    key = f"{job.inside}/{raw.key}"
    if raw.label is None:
        return LeftOut(key, "label cannot be read" if raw.problem else "no such key", raw.problem)
    try:
        return Item(key, raw.label.decode("utf-8"), job.folder, raw.index)
    except UnicodeDecodeError:
        return LeftOut(key, "label is not UTF-8", repr(raw.label[:40]))
