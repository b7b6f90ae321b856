"""An LMDB in stretches: nothing is indexed, so millions of samples need no memory of their own."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from core.charset import CHARSET_94
from core.data.environments import environment
from core.data.errors import DataError
from core.data.lmdb import Ledger, WordLmdb

RULES = (CHARSET_94, 25)  # the label rules of section IV-A, as training and evaluation apply them


class Raw(NamedTuple):
    """One sample as it lies: None where the key is not there, `problem` where it cannot be read."""

    index: int
    image: bytes | None
    label: bytes | None
    problem: str


class Stored(WordLmdb):
    """A WordLmdb whose labels are left on disk.

    Raises:
        DataError: there is no database, it is damaged, or its count is missing or wrong.
    """

    def __init__(self, path: Path):
        self.path, self.ledger, self.samples = Path(path), Ledger(), []
        database = environment(self.path)
        self.bytes = (self.path / "data.mdb").stat().st_size
        with database.begin(buffers=True) as transaction:
            self.stored = self.read_count(transaction)
            self.entries = transaction.stat()["entries"]

    @property
    def extra_keys(self) -> int:
        """Keys beyond num-samples and two for every sample (negative: keys are missing)."""
        return self.entries - 1 - 2 * self.stored

    def stretch(self, first: int, last: int) -> Iterator[Raw]:
        """The samples `first` to `last`, both included."""
        with environment(self.path).begin(buffers=True) as transaction:
            for index in range(first, last + 1):
                values, problem = [], ""
                for kind in ("image", "label"):
                    try:
                        found = self.value(transaction, f"{kind}-{index:09d}")
                    except DataError as error:
                        found, problem = None, str(error)
                    values.append(None if found is None else bytes(found))
                yield Raw(index, *values, problem)
