"""The usable samples of an LMDB in a few bytes each, without one Python object per sample, and a ledger of the others.

Arrays are shared with forked workers as they are; a list of three million tuples would be copied page by page, since
reference counts are written into it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

BLOCK_SIZE = 1 << 16  # samples turned into Python objects at once while iterating
SHOWN = 20  # keys kept of each reason
BEYOND = "beyond num-samples"  # the reason of samples that are not counted as stored


class Sample(NamedTuple):
    index: int  # key number in the LMDB, from 1
    label: str


class Samples(Sequence):
    """Samples in key order; behaves as a list of `Sample` that cannot be changed.

    Args:
        numbers: key numbers, int32.
        ends: the byte of `text` where each label ends, int64.
        text: all labels one after another, in UTF-8.
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
        return Sample(int(self.numbers[i]), self.text[start : self.ends[i]].decode())

    def __iter__(self) -> Iterator[Sample]:
        start = 0
        for first in range(0, len(self), BLOCK_SIZE):
            part = slice(first, first + BLOCK_SIZE)
            for number, end in zip(self.numbers[part].tolist(), self.ends[part].tolist(), strict=True):
                yield Sample(number, self.text[start:end].decode())
                start = end

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Samples):
            arrays = np.array_equal(self.numbers, other.numbers) and np.array_equal(self.ends, other.ends)
            return arrays and self.text == other.text
        return list(self) == other

    __hash__ = None  # equal to a list, and lists have none


@dataclass
class Ledger:
    """Samples that were left out: counts by reason, and the first few keys of each."""

    counts: Counter = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, key: str) -> None:
        self.counts[reason] += 1
        keys = self.examples.setdefault(reason, [])
        if len(keys) < SHOWN:
            keys.append(key)

    def add_all(self, reason: str, keys: Iterable[str]) -> None:
        for key in keys:
            self.add(reason, key)

    def as_dict(self) -> dict:
        return {reason: {"count": n, "examples": self.examples[reason]} for reason, n in sorted(self.counts.items())}

    @classmethod
    def from_dict(cls, content: dict) -> "Ledger":
        """The ledger that `as_dict` wrote down."""
        counts = Counter({reason: entry["count"] for reason, entry in content.items()})
        return cls(counts, {reason: list(entry["examples"]) for reason, entry in content.items()})


def left_out_text(stored: int, left_out: Mapping[str, Mapping], others: Mapping[str, Mapping] = MappingProxyType({})) -> str:
    """How many of the stored samples are not used, with the commonest reason and an example; empty where all are used.

    Args:
        left_out, others: as `Ledger.as_dict` writes them.
    """
    reasons = {**left_out, **others}
    beyond = reasons.pop(BEYOND, None)
    parts = []
    if reasons:
        reason, most = max(reasons.items(), key=lambda entry: entry[1]["count"])
        total = sum(entry["count"] for entry in reasons.values())
        share = "" if len(reasons) == 1 else f", {most['count']:,} of them"
        parts.append(f"{total:,} of {stored:,} stored are left out{share}: {reason} (e.g. {most['examples'][0]})")
    if beyond:
        parts.append(f"{beyond['count']:,} lie {BEYOND} (e.g. {beyond['examples'][0]})")
    return "; ".join(parts)
