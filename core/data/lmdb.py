"""Word images in LMDBs of the field's layout: keys `num-samples`, `image-%09d`, `label-%09d`, counted from 1.

Reading never drops a sample silently: what the label rules refuse and what cannot be decoded goes into a ledger.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote

import lmdb
from PIL import Image

from core.charset import CHARSET_94
from core.data.environments import close, close_replaced, environment
from core.data.folders import lmdbs_below
from core.data.images import decode_image
from core.data.index import SMALLEST, content_key, load, save
from core.data.labels import Rules, one_label, scan
from core.data.ledger import Ledger
from core.data.samples import Samples
from core.errors import DataError, UnreadableImage
from core.files import atomic_folder, file_digest

COUNT_KEY = b"num-samples"
FIRST_MAP = 64 << 20  # bytes; the map doubles when it is full
LOOK_EVERY = 1.0  # seconds between looks at whether the file is still there
SECOND_ROOTS = {"rbu": "str_dataset_ub"}  # training sets that are released as a data root of their own


class ImageLmdb:
    """One LMDB: how many samples it stores, and its images on demand; labels are left on disk.

    Args:
        path: the folder that holds data.mdb.

    Raises:
        DataError: there is no database, it is damaged, or its count is missing or wrong.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.home = self.path.resolve()  # once, not with every image
        close_replaced(self.home)
        database = environment(self.home)
        self.bytes = (self.path / "data.mdb").stat().st_size
        self.looked = time.monotonic()
        with database.begin(buffers=True) as transaction:
            self.stored = self.read_count(transaction)

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

    def look(self) -> None:
        """Whether the file is still there: reading on in one that is gone would end the process (SIGBUS).

        Raises:
            DataError: it is gone, or shorter than it was.
        """
        file = self.path / "data.mdb"
        try:
            size = file.stat().st_size
        except OSError as error:
            raise DataError(f"{file} is gone while it is being read ({error.strerror}); mount its disk again") from error
        if size < self.bytes:
            raise DataError(f"{file} has {size:,} bytes now, {self.bytes:,} when it was opened; copy or build it again")
        self.looked = time.monotonic()

    def image(self, index: int) -> Image.Image:
        """The image stored under key number `index`, in RGB.

        Raises:
            UnreadableImage: the key is missing or its bytes are no whole image.
            DataError: the file is gone.
        """
        key = f"image-{index:09d}"
        if time.monotonic() > self.looked + LOOK_EVERY:
            self.look()
        with environment(self.home).begin(buffers=True) as transaction:
            raw = self.value(transaction, key)
            if raw is None:
                raise UnreadableImage("no such key")
            return decode_image(raw)


class WordLmdb(ImageLmdb):
    """One LMDB: its labels after the label rules, its images on demand.

    Args:
        path: the folder that holds data.mdb.
        charset: characters a label may hold (others are removed; upper case is folded where there is none).
        max_letters: longer labels are dropped.
    """

    def __init__(self, path: Path, charset: str = CHARSET_94, max_letters: int = 25):
        super().__init__(path)
        self.samples, self.ledger = self.read_labels(environment(self.home), Rules(charset, max_letters))

    def read_labels(self, database: lmdb.Environment, rules: Rules) -> tuple[Samples, Ledger]:
        """From the index beside the database, or by a scan that leaves one there."""
        indexed = self.stored >= SMALLEST
        key = content_key(self.home, rules) if indexed else ""  # before the scan sees its state of the database
        if indexed and (found := load(self.home, rules, key)):
            return found
        with database.begin(buffers=True) as transaction:
            found = scan(self.path / "data.mdb", transaction, self.stored, rules)
        if indexed and content_key(self.home, rules) == key:  # nothing was written meanwhile
            save(self.home, rules, key, *found)
        return found

    def __len__(self) -> int:
        return len(self.samples)


def stored_samples(path: Path) -> int:
    """Samples that an LMDB stores, before the label rules; reads its count alone.

    Raises:
        DataError: there is no database, it is damaged, or its count is missing or wrong.
    """
    return ImageLmdb(path).stored


def sample_labels(roots: Sequence[Path], most: int) -> list[str]:
    """About `most` labels of all LMDBs below folders, evenly spaced; those that the label rules drop are left out.

    Raises:
        DataError: there is no LMDB, or one cannot be read.
    """
    databases = [ImageLmdb(folder) for root in roots for folder in find_lmdbs(root)]
    step = max(1, sum(database.stored for database in databases) // most)
    rules, labels = Rules(CHARSET_94, 25), []
    for database in databases:
        with environment(database.home).begin(buffers=True) as transaction:
            for index in range(1, database.stored + 1, step):
                raw = database.value(transaction, f"label-{index:09d}")
                labels.append(one_label(rules, bytes(raw or b""), index, Ledger()).decode())
    return [label for label in labels if label]


def find_lmdbs(root: Path) -> list[Path]:
    """Every folder below `root` that holds a data.mdb, sorted by path so that the order is the same everywhere.

    Raises:
        DataError: there is none, or a folder cannot be listed.
    """
    folders = lmdbs_below(Path(root))
    if not folders:
        raise DataError(f"{root}: no data.mdb at or below this folder; expected train/**/, val/**/ and test/<benchmark>/")
    return folders


def train_roots(data: Path, names: Sequence[str]) -> list[Path]:
    """The folders below data/train that a run learns from, links to folders elsewhere included.

    Raises:
        DataError: one is not there; says how to link it where it is released as a data root of its own.
    """
    roots = [Path(data) / "train" / name for name in names]
    for root in roots:
        if not root.is_dir():
            found = [path.name for path in sorted(root.parent.iterdir()) if path.is_dir()] if root.parent.is_dir() else []
            raise DataError(
                f"{root} is missing: TRAIN_DATA = {tuple(names)!r} names folders below {root.parent}, which holds "
                f"{', '.join(found) or 'none'}; {how_to_link(root) or 'put or link the LMDBs there'}"
            )
    return roots


def how_to_link(root: Path) -> str:
    """The command that makes data/train/<set> a link to the data root it was released as; empty where that is not found."""
    data = root.parents[1].resolve()
    second = SECOND_ROOTS.get(root.name, "")
    for place in (data, data.parent) if second else ():
        if (place / second).is_dir():
            inner = place / second / "train"
            target = os.path.relpath(inner if inner.is_dir() else inner.parent, data / "train")
            return f"link it: mkdir -p {quote(str(root.parent))} && ln -s {quote(target)} {quote(str(root))}"
    return ""


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
