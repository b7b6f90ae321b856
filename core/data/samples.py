"""The usable samples of an LMDB, millions of them in a few bytes each and without an object a sample.

Arrays are shared with forked workers as they lie; a list of three million tuples would be copied page by page, since
counting references writes to it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

BLOCK_SIZE = 1 << 16  # samples turned into Python objects at once while iterating


class Sample(NamedTuple):
    index: int  # key number in the LMDB, from 1
    label: str


class Samples(Sequence):
    """Samples in key order; behaves as a list of `Sample` that cannot be changed.

    Args:
        numbers: key numbers, int32.
        ends: where each label ends in `text`, int64.
        text: all labels one after another, in ASCII.
    """

    def __init__(self, numbers: np.ndarray, ends: np.ndarray, text: bytes):
        self.numbers, self.ends, self.text = numbers, ends, text

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int | slice) -> "Sample | list[Sample]":
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        i = range(len(self))[place]  # from the end where negative, IndexError beyond
        start = self.ends[i - 1] if i else 0
        return Sample(int(self.numbers[i]), self.text[start : self.ends[i]].decode("ascii"))

    def __iter__(self) -> Iterator[Sample]:
        start = 0
        for first in range(0, len(self), BLOCK_SIZE):
            part = slice(first, first + BLOCK_SIZE)
            for number, end in zip(self.numbers[part].tolist(), self.ends[part].tolist(), strict=True):
                yield Sample(number, self.text[start:end].decode("ascii"))
                start = end

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Samples):
            arrays = np.array_equal(self.numbers, other.numbers) and np.array_equal(self.ends, other.ends)
            return arrays and self.text == other.text
        return list(self) == other

    __hash__ = None  # equal to a list, and lists have none
