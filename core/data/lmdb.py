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
from core.data.environments import close, environment
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
        database = environment(self.path)
        self.bytes = (self.path / "data.mdb").stat().st_size
        with database.begin(buffers=True) as transaction:
            self.stored = self.read_count(transaction)
            self.samples = [
                s for i in range(1, self.stored + 1) if (s := self.read_label(transaction, i, charset, max_letters))
            ]
            beyond = self.stored + 1
            while self.value(transaction, f"label-{beyond:09d}") is not None:
                self.ledger.add("beyond num-samples", f"label-{beyond:09d}")
                beyond += 1

    def value(self, transaction: lmdb.Transaction, key: str) -> memoryview | None:
        """What is stored under a key; no longer than the file, for reading on would end the process."""
        try:
            found = transaction.get(key.encode())
        except lmdb.Error as error:
            raise DataError(f"{self.path / 'data.mdb'}: key {key} cannot be read ({error}); copy or build it again") from error
        if found is not None and len(found) > self.bytes:
            raise DataError(f"{self.path / 'data.mdb'}: key {key} claims {len(found):,} bytes, more than the file has")
        return found

    def read_count(self, transaction: lmdb.Transaction) -> int:
        raw = self.value(transaction, COUNT_KEY.decode())
        count, keys = None if raw is None else bytes(raw[:20]).strip(), transaction.stat()["entries"] - 1
        if count is None:
            found = "is missing"
        elif len(raw) > 20 or not count.isdigit():
            found = f"holds {count!r}"
        elif int(count) > keys:
            found = f"is {int(count):,}, yet there are {keys:,} other keys"
        else:
            return int(count)
        raise DataError(
            f"{self.path / 'data.mdb'}: key 'num-samples' {found}; write the number of samples there as ASCII "
            "digits, the keys being image-000000001, label-000000001, ..."
        )

    def read_label(self, transaction: lmdb.Transaction, index: int, charset: str, max_letters: int) -> Sample | None:
        key = f"label-{index:09d}"
        raw = self.value(transaction, key)
        try:
            if raw is None:
                raise RejectedLabel("no such key")
            return Sample(index, normalise_label(bytes(raw).decode("utf-8"), charset, max_letters))
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
            raw = self.value(transaction, key)
            if raw is None:
                raise UnreadableImage("no such key")
            return decode_image(raw)


def find_lmdbs(root: Path) -> list[Path]:
    """Every folder below `root` that holds a data.mdb, sorted by path so that the order is the same everywhere.

    Raises:
        DataError: there is none, or a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise DataError(f"{error.filename} cannot be listed ({error.strerror}): make it readable, or move it away")

    folders = []
    for where, below, files in os.walk(root, onerror=refuse, followlinks=True):
        here = Path(where).resolve()
        below[:] = [name for name in below if not here.is_relative_to((here / name).resolve())]  # a link to where we are
        if "data.mdb" in files:
            folders.append(Path(where))
    folders.sort()
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
            line = f"{folder.relative_to(root).as_posix()} {file_digest(folder / 'data.mdb')}\n"
            digest.update(os.fsencode(line))  # a folder's name need not be UTF-8
    return digest.hexdigest()[:16]


def write_lmdb(path: Path, samples: Iterable[tuple[bytes, str]]) -> int:
    """Write (encoded image, label) pairs as a new LMDB; it appears under `path` only when whole. Returns the count.

    Raises:
        DataError: a label cannot be written as UTF-8.
        OSError: it could not be written.
    """
    count = 0
    with atomic_folder(Path(path)) as folder:
        with lmdb.open(os.fsencode(folder), map_size=FIRST_MAP, sync=False) as database:
            for count, (image, label) in enumerate(samples, start=1):
                key = f"label-{count:09d}"
                try:
                    text = label.encode()
                except UnicodeEncodeError as error:
                    raise DataError(f"{path}: {key}, {label[:40]!r} cannot be written as UTF-8 ({error.reason})") from error
                put(database, {f"image-{count:09d}".encode(): image, key.encode(): text})
            put(database, {COUNT_KEY: str(count).encode()})
            database.sync(True)
        (folder / "lock.mdb").unlink(missing_ok=True)
        close(path)
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
