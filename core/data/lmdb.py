"""Word images in LMDBs of the field's layout: keys `num-samples`, `image-%09d`, `label-%09d`, counted from 1.

Reading never drops a sample silently: what the label rules refuse and what cannot be decoded goes into a ledger.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import lmdb
from PIL import Image

from core.charset import CHARSET_94, RejectedLabel, normalise_label
from core.data.errors import DataError, UnreadableImage
from core.data.images import decode_image
from core.files import atomic_folder, file_digest

COUNT_KEY = b"num-samples"
FIRST_MAP = 64 << 20  # bytes; the map doubles when it is full


class Sample(NamedTuple):
    index: int  # key number in the LMDB, from 1
    label: str


@dataclass
class Ledger:
    """What was left out, and why: counts by reason and the first few keys of each."""

    counts: Counter = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, key: str) -> None:
        self.counts[reason] += 1
        keys = self.examples.setdefault(reason, [])
        if len(keys) < 20:
            keys.append(key)

    def as_dict(self) -> dict:
        return {reason: {"count": n, "examples": self.examples[reason]} for reason, n in sorted(self.counts.items())}


_OPEN: dict[Path, lmdb.Environment] = {}


def close_all() -> None:
    """Close every database; they open again when next asked for.

    Called before a fork: a forked child may not use its parent's environments, nor open the same ones again.
    """
    while _OPEN:
        _OPEN.popitem()[1].close()


os.register_at_fork(before=close_all)


def environment(path: Path) -> lmdb.Environment:
    """The open database of a folder, one a process (py-lmdb refuses to open one twice).

    Raises:
        DataError: there is no database, or it is damaged.
    """
    path = Path(path).resolve()
    if path not in _OPEN:
        if not (path / "data.mdb").is_file():
            raise DataError(f"{path}: no data.mdb here; expected an LMDB folder of word images")
        try:
            _OPEN[path] = lmdb.open(str(path), readonly=True, lock=False, readahead=False, meminit=False)
        except lmdb.Error as error:
            raise DataError(f"{path / 'data.mdb'} cannot be opened ({error}): copy or build it again") from error
    return _OPEN[path]


class WordLmdb:
    """One LMDB: its labels after the label rules, its images on demand.

    Args:
        path: the folder that holds data.mdb.
        charset: characters a label may hold (others are removed; upper case is folded where there is none).
        max_letters: longer labels are dropped.
    """

    def __init__(self, path: Path, charset: str = CHARSET_94, max_letters: int = 25):
        self.path = Path(path)
        self.ledger = Ledger()
        with environment(self.path).begin() as transaction:
            count = transaction.get(COUNT_KEY)
            if count is None or not count.strip().isdigit():
                found = "is missing" if count is None else f"holds {count[:20]!r}"
                raise DataError(
                    f"{self.path / 'data.mdb'}: key 'num-samples' {found}; write the number of samples there as ASCII "
                    "digits, the keys being image-000000001, label-000000001, ..."
                )
            self.stored = int(count)
            self.samples = [
                s for i in range(1, self.stored + 1) if (s := self.read_label(transaction, i, charset, max_letters))
            ]

    def read_label(self, transaction: lmdb.Transaction, index: int, charset: str, max_letters: int) -> Sample | None:
        key = f"label-{index:09d}"
        raw = transaction.get(key.encode())
        try:
            if raw is None:
                raise RejectedLabel("no such key")
            return Sample(index, normalise_label(raw.decode("utf-8"), charset, max_letters))
        except UnicodeDecodeError:
            self.ledger.add("not UTF-8", key)
        except RejectedLabel as reason:
            self.ledger.add(str(reason), key)
        return None

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Image.Image:
        """The image stored under key number `index`, in RGB.

        Raises:
            UnreadableImage: the key is missing or its bytes are no whole image.
        """
        key = f"image-{index:09d}"
        with environment(self.path).begin(buffers=True) as transaction:
            raw = transaction.get(key.encode())
            if raw is None:
                raise UnreadableImage("no such key")
            return decode_image(raw)


def find_lmdbs(root: Path) -> list[Path]:
    """Every folder below `root` that holds a data.mdb, sorted by path so that the order is the same everywhere.

    Raises:
        DataError: there is none.
    """
    folders = sorted(Path(where) for where, _, files in os.walk(root, followlinks=True) if "data.mdb" in files)
    if not folders:
        raise DataError(f"{root}: no data.mdb at or below this folder; expected train/**/, val/**/ and test/<benchmark>/")
    return folders


def train_roots(data: Path, names: Sequence[str]) -> list[Path]:
    """The folders below data/train that a run learns from.

    Raises:
        DataError: one is not there.
    """
    roots = [Path(data) / "train" / name for name in names]
    for root in roots:
        if not root.is_dir():
            found = [path.name for path in sorted(root.parent.iterdir()) if path.is_dir()] if root.parent.is_dir() else []
            raise DataError(
                f"{root} is missing: TRAIN_DATA = {tuple(names)!r} names folders below {root.parent}, which holds "
                f"{', '.join(found) or 'none'}; put or link the LMDBs there"
            )
    return roots


def fingerprint(*roots: Path) -> str:
    """16 hex digits that change when the set of LMDBs below the folders, their sizes or their ends change."""
    digest = hashlib.sha256()
    for root in roots:
        for folder in find_lmdbs(root):
            digest.update(f"{folder.relative_to(root).as_posix()} {file_digest(folder / 'data.mdb')}\n".encode())
    return digest.hexdigest()[:16]


def write_lmdb(path: Path, samples: Iterable[tuple[bytes, str]]) -> int:
    """Write (encoded image, label) pairs as a new LMDB; it appears under `path` only when whole. Returns the count.

    Raises:
        OSError: it could not be written.
    """
    count = 0
    with atomic_folder(Path(path)) as folder:
        with lmdb.open(str(folder), map_size=FIRST_MAP, sync=False) as database:
            for count, (image, label) in enumerate(samples, start=1):
                put(database, {f"image-{count:09d}".encode(): image, f"label-{count:09d}".encode(): label.encode()})
            put(database, {COUNT_KEY: str(count).encode()})
            database.sync(True)
        (folder / "lock.mdb").unlink(missing_ok=True)
    return count


def put(database: lmdb.Environment, entries: dict[bytes, bytes]) -> None:
    """One transaction; a full map is doubled and the transaction done again."""
    while True:
        try:
            with database.begin(write=True) as transaction:
                for key, value in entries.items():
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            database.set_mapsize(database.info()["map_size"] * 2)
