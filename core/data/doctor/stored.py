"""An LMDB in stretches: nothing is indexed, so millions of samples need no memory of their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from core.charset import CHARSET_94
from core.data.environments import environment
from core.data.lmdb import ImageLmdb
from core.errors import DataError

RULES = (CHARSET_94, 25)  # the label rules of section IV-A, as training and evaluation apply them
KINDS = ("image", "label")


class Raw(NamedTuple):
    """One sample as it lies: None where the key is not there, `problem` where it cannot be read."""

    index: int
    image: bytes | None
    label: bytes | None
    problem: str

    @property
    def key(self) -> str:
        return f"label-{self.index:09d}"


class Stored(ImageLmdb):
    """An LMDB whose samples are handed out as they are stored.

    Raises:
        DataError: there is no database, it is damaged, or its count is missing or wrong.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        with environment(self.home).begin() as transaction:
            self.entries = transaction.stat()["entries"]

    @property
    def extra_keys(self) -> int:
        """Keys beyond num-samples and two for every sample (negative: keys are missing)."""
        return self.entries - 1 - 2 * self.stored

    def stretch(self, first: int, last: int, kinds: Sequence[str] = KINDS) -> Iterator[Raw]:
        """The samples `first` to `last`, both included; what is not of the `kinds` asked for is left out."""
        with environment(self.path).begin(buffers=True) as transaction:
            for index in range(first, last + 1):
                values, problem = dict.fromkeys(KINDS), ""
                for kind in kinds:
                    try:
                        found = self.value(transaction, f"{kind}-{index:09d}")
                    except DataError as error:
                        found, problem = None, str(error)
                    values[kind] = None if found is None else bytes(found)
                yield Raw(index, **values, problem=problem)
