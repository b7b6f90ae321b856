"""Existing LMDBs of the field's layout, to be merged, filtered or cut down to a subset."""

import itertools
from pathlib import Path

from core.data.formats.source import Item, LeftOut, Listing, Wanted
from core.data.lmdb import WordLmdb, environment, find_lmdbs

LOOKS = "a folder with data.mdb in it or below it (all below are merged, sorted by path)"


def certain(source: Path) -> bool:
    return any(any(source.glob(f"{'*/' * depth}data.mdb")) for depth in range(4))


def read(source: Path, wanted: Wanted) -> Listing:
    """The samples as they are stored, labels unchanged; the LMDBs below SOURCE one after the other.

    Raises:
        DataError: there is none, or one cannot be opened.
    """
    for folder in find_lmdbs(source):
        inside = folder.relative_to(source.parent).as_posix()
        stored = WordLmdb(folder).stored
        with environment(folder).begin() as transaction:
            for number in range(1, stored + 1):
                key = f"{inside}/label-{number:09d}"
                raw = transaction.get(f"label-{number:09d}".encode())
                try:
                    label = None if raw is None else raw.decode("utf-8")
                except UnicodeDecodeError:
                    yield LeftOut(key, "label is not UTF-8", repr(raw[:40]))
                    continue
                yield LeftOut(key, "no such key") if label is None else Item(key, label, folder, number)
            for number in itertools.count(stored + 1):
                if transaction.get(f"label-{number:09d}".encode()) is None:
                    break
                yield LeftOut(f"{inside}/label-{number:09d}", "beyond num-samples")
