"""Word images in LMDBs with the field's usual keys (`core.data.keys`).

No sample is dropped silently: labels that the rules reject and images that cannot be decoded are recorded in a ledger. A
database that is missing or damaged raises DataError; the message names file, key and fix.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

import lmdb
from PIL import Image

from core.data.environments import close, close_replaced, environment
from core.data.images import decode_image
from core.data.index import SMALLEST, content_key, load, save
from core.data.keys import COUNT_KEY, image_key, key_of, label_key
from core.data.labels import PUBLISHED_RULES, Rules, one_label, scan
from core.data.samples import Ledger, Samples
from core.data.sets import find_lmdbs
from core.errors import DataError, PassingError, UnreadableImage
from core.files import atomic_folder

FIRST_MAP = 64 << 20  # bytes; the map doubles when it is full
LOOK_EVERY = 1.0  # seconds between checks that the file is still there
WHOLE = "."  # the name of an LMDB that is a whole set
NINE_DIGITS = re.compile(rb"(image|label)-[0-9]{9}")
LOOKED_AT, FORMS_SHOWN = 10_000, 4  # keys, to tell how an LMDB's keys look


class RawSample(NamedTuple):
    """One sample as it is stored: None where the key is missing, `problem` where it cannot be read."""

    index: int  # key number
    image: bytes | None
    label: bytes | None
    problem: str


class ImageLmdb:
    """One LMDB: how many samples it stores, and its images on demand; labels are left on disk.

    Args:
        path: the folder that holds data.mdb.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.home = self.path.resolve()  # once, not with every image
        close_replaced(self.home)
        database = environment(self.home)
        self.bytes = (self.path / "data.mdb").stat().st_size
        self.last_check = time.monotonic()
        with database.begin(buffers=True) as transaction:
            self.keys = transaction.stat()["entries"]
            self.stored = self.read_count(transaction)
            self.check_keys(transaction)

    def value(self, transaction: lmdb.Transaction, key: str) -> memoryview | None:
        """The value stored under a key; raises DataError if it claims to be longer than the file."""
        try:
            value = transaction.get(key.encode())
        except lmdb.Error as error:
            raise DataError(f"{self.path / 'data.mdb'}: key {key} cannot be read ({error}); copy or build it again") from error
        if value is not None and len(value) > self.bytes:  # checked before a byte is read: that would end the process
            raise DataError(f"{self.path / 'data.mdb'}: key {key} claims {len(value):,} bytes, more than the file has")
        return value

    def read_count(self, transaction: lmdb.Transaction) -> int:
        raw = self.value(transaction, COUNT_KEY.decode())
        count, others = None if raw is None else bytes(raw[:20]).strip(), self.keys - 1
        if count is None:
            problem = "is missing"
        elif len(raw) > 20 or not count.isdigit():
            problem = f"holds {count!r}"
        elif int(count) > others:
            problem = f"is {int(count):,}, yet there are {others:,} other keys"
        else:
            return int(count)
        raise DataError(
            f"{self.path / 'data.mdb'}: key 'num-samples' {problem}; write the number of samples there as ASCII "
            "digits, the keys being image-000000001, label-000000001, ..."
        )

    def check_keys(self, transaction: lmdb.Transaction) -> None:
        """Raise DataError where images or labels lie under keys of another form, or are counted from 0."""
        for kind in ("image", "label") if self.stored else ():
            try:
                keys = (key_of(kind, number).encode() for number in (0, 1, self.stored))
                zero, first, last = (transaction.get(key) is not None for key in keys)
                well_formed = first or last or self.has_nine_digits(transaction, kind)
                forms = [] if well_formed and not zero else forms_of(transaction, kind)
            except lmdb.Error:  # a damaged page: whoever reads it names what is lost
                return
            if (zero and not last) or not well_formed:
                missing = key_of(kind, self.stored if zero else 1)
                raise DataError(
                    f"{self.path / 'data.mdb'}: no such key: {missing}; keys here look like {', '.join(forms)}; write them "
                    "with nine digits, counted from 1"
                )

    @staticmethod
    def has_nine_digits(transaction: lmdb.Transaction, kind: str) -> bool:
        """Whether one of the first keys of that kind is as expected."""
        cursor, prefix = transaction.cursor(), f"{kind}-".encode()
        keys = cursor.iternext(values=False) if cursor.set_range(prefix) else iter(())
        near = takewhile(lambda key: key.startswith(prefix), map(bytes, islice(keys, LOOKED_AT)))
        return any(NINE_DIGITS.fullmatch(key) for key in near)

    @property
    def extra_keys(self) -> int:
        """Keys beyond num-samples and two for every sample (negative: keys are missing)."""
        return self.keys - 1 - 2 * self.stored

    def raw_samples(self, first: int, last: int, kinds: Sequence[str] = ("image", "label")) -> Iterator[RawSample]:
        """The samples `first` to `last`, both included, as they are stored; without an index, millions need no memory.

        Args:
            kinds: which of image and label to read; the other one is None.
        """
        with environment(self.home).begin(buffers=True) as transaction:
            for index in range(first, last + 1):
                values, problem = {"image": None, "label": None}, ""
                for kind in kinds:
                    try:
                        value = self.value(transaction, key_of(kind, index))
                        values[kind] = None if value is None else bytes(value)
                    except DataError as error:
                        problem = str(error)
                yield RawSample(index, **values, problem=problem)

    def check_file(self) -> None:
        """Raise DataError if the file is gone or shorter than it was: reading on would end the process (SIGBUS)."""
        file = self.path / "data.mdb"
        try:
            size = file.stat().st_size
        except OSError as error:
            raise PassingError(f"{file} is gone while it is being read ({error.strerror}); mount its disk again") from error
        if size < self.bytes:
            raise DataError(f"{file} has {size:,} bytes now, {self.bytes:,} when it was opened; copy or build it again")
        self.last_check = time.monotonic()

    def image(self, index: int) -> Image.Image:
        """The image stored under key number `index`, in RGB.

        Raises:
            UnreadableImage: the key is missing or its bytes are not a whole image.
        """
        key = image_key(index)
        if time.monotonic() > self.last_check + LOOK_EVERY:
            self.check_file()
        with environment(self.home).begin(buffers=True) as transaction:
            raw = self.value(transaction, key)
            if raw is None:
                raise UnreadableImage("no such key")
            return decode_image(raw)


def forms_of(transaction: lmdb.Transaction, kind: str) -> list[str]:
    """The first key of each form, of some keys from `kind` on and of the first ones: forms differ in more than digits."""
    forms: dict[str, str] = {}
    for start in (kind.encode(), b""):
        cursor = transaction.cursor()
        found = cursor.set_range(start) if start else cursor.first()
        for key in islice(cursor.iternext(values=False), LOOKED_AT) if found else ():
            text = bytes(key).decode("utf-8", "backslashreplace")
            forms.setdefault(re.sub(r"\d", "0", text), text[:40])
    return list(forms.values())[:FORMS_SHOWN]


class WordLmdb(ImageLmdb):
    """One LMDB: its labels after the label rules, its images on demand.

    Args:
        path: the folder that holds data.mdb.
        name: its path below the folder of its set, which identifies its images in it.
        charset: characters a label may hold (others are removed; upper case is folded if the charset has none).
        max_letters: longer labels are dropped.
    """

    def __init__(
        self,
        path: Path,
        charset: str = PUBLISHED_RULES.charset,
        max_letters: int = PUBLISHED_RULES.max_letters,
        name: str = WHOLE,
    ):
        super().__init__(path)
        self.name = name
        self.samples, self.ledger = self.read_labels(environment(self.home), Rules(charset, max_letters))

    def read_labels(self, database: lmdb.Environment, rules: Rules) -> tuple[Samples, Ledger]:
        """Samples and ledger from the index beside the database, or by a scan that leaves an index there."""
        indexed = self.stored >= SMALLEST
        # The key is taken before the scan and compared after it: if somebody writes in between, nothing is saved.
        key = content_key(self.home, rules) if indexed else ""
        if indexed and (cached := load(self.home, rules, key)):
            return cached
        with database.begin(buffers=True) as transaction:
            samples, ledger = scan(self.path / "data.mdb", transaction, self.stored, rules)
        if indexed and content_key(self.home, rules) == key:
            save(self.home, rules, key, samples, ledger)
        return samples, ledger

    def __len__(self) -> int:
        return len(self.samples)


def stored_samples(path: Path) -> int:
    """Number of samples that an LMDB stores, before the label rules; reads only `num-samples`."""
    return ImageLmdb(path).stored


def sample_labels(roots: Sequence[Path], most: int) -> list[str]:
    """About `most` labels of all LMDBs below the folders, evenly spaced; those that the label rules drop are left out."""
    databases = [ImageLmdb(folder) for root in roots for folder in find_lmdbs(root)]
    step = max(1, sum(database.stored for database in databases) // most)
    labels = []
    for database in databases:
        with environment(database.home).begin(buffers=True) as transaction:
            for index in range(1, database.stored + 1, step):
                raw = database.value(transaction, label_key(index))
                labels.append(one_label(PUBLISHED_RULES, bytes(raw or b""), index, Ledger()).decode())
    return [label for label in labels if label]


def write_lmdb(path: Path, samples: Iterable[tuple[bytes, str]]) -> int:
    """Write (encoded image, label) pairs as a new LMDB, which appears under `path` only when whole; returns their number.

    Raises:
        DataError: a label cannot be written as UTF-8.
        OSError: the database could not be written.
    """
    count = 0
    with atomic_folder(Path(path)) as folder:
        with lmdb.open(os.fsencode(folder), map_size=FIRST_MAP, sync=False) as database:
            for count, (image, label) in enumerate(samples, start=1):
                key = label_key(count)
                try:
                    text = label.encode()
                except UnicodeEncodeError as error:
                    raise DataError(f"{path}: {key}, {label[:40]!r} cannot be written as UTF-8 ({error.reason})") from error
                put(database, {image_key(count).encode(): image, key.encode(): text})
            put(database, {COUNT_KEY: str(count).encode()})  # last: a database without a count is refused as unfinished
            database.sync(True)  # before the rename: what has the name must be on disk
        (folder / "lock.mdb").unlink(missing_ok=True)
        close(path)  # an older database that this process has open under that name
    return count


def put(database: lmdb.Environment, entries: dict[bytes, bytes]) -> None:
    """Write in one transaction; if the map is full, double it and write again."""
    while True:
        try:
            with database.begin(write=True) as transaction:
                for key, value in entries.items():
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            database.set_mapsize(database.info()["map_size"] * 2)
