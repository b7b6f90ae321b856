"""All labels of an LMDB under the label rules of section IV-A, in one pass over the keys.

The rules have one definition, `core.charset.normalise_label`. Here they are applied to many labels at once where that
cannot make a difference: to labels of printable ASCII that pass them. Every other label goes through that function.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np

from core.charset import RejectedLabel, normalise_label, reduce_text
from core.data.ledger import Ledger
from core.data.samples import Samples
from core.errors import DataError

PREFIX, DIGITS = b"label-", 9
BLOCK_SIZE = 1 << 16  # labels worked on at once
PRINTABLE = range(0x21, 0x7F)  # ASCII without white space and control characters
OTHER = 255  # marks a byte that needs `normalise_label`


class Rules(NamedTuple):
    """Characters a label may hold, and how many."""

    charset: str
    max_letters: int


class LabelBlock(NamedTuple):
    """Neighbouring labels as they are stored, by key number."""

    numbers: np.ndarray  # int64
    labels: list[bytes]


def scan(file: Path, transaction: lmdb.Transaction, stored: int, rules: Rules) -> tuple[Samples, Ledger]:
    """The samples 1 to `stored` that the rules let through, and what was left out.

    Args:
        file: names the database in errors.
        transaction: one that hands out buffers.

    Raises:
        DataError: a key cannot be read.
    """
    ledger, table = Ledger(), byte_table(rules.charset)
    present, beyond = np.zeros(stored + 1, dtype=bool), 0
    numbers, sizes, texts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], []
    for stretch in stretches(file, transaction):
        inside = int(np.searchsorted(stretch.numbers, stored, side="right"))
        for number in stretch.numbers[inside:].tolist():
            beyond += number == stored + beyond + 1  # the first gap ends what belongs to this set
        found = LabelBlock(stretch.numbers[:inside], stretch.labels[:inside])
        present[found.numbers] = True
        kept, text = apply(rules, table, found, ledger)
        numbers.append(found.numbers[kept > 0])
        sizes.append(kept[kept > 0])
        texts.append(text)
    ledger.add_all("no such key", (name_of(number) for number in np.flatnonzero(~present[1:]) + 1))
    ledger.add_all("beyond num-samples", (name_of(stored + 1 + i) for i in range(beyond)))
    samples = Samples(np.concatenate(numbers).astype(np.int32), np.cumsum(np.concatenate(sizes)), b"".join(texts))
    return samples, ledger


def name_of(number: int) -> str:
    return f"label-{number:09d}"


def stretches(file: Path, transaction: lmdb.Transaction) -> Iterator[LabelBlock]:
    """Everything stored under label keys, in order.

    Raises:
        DataError: a key cannot be read.
    """
    for names, labels in entries(file, transaction):
        length = len(PREFIX) + DIGITS
        if set(map(len, names)) != {length}:  # keys that are no label's, such as label-1
            whole = [i for i, name in enumerate(names) if len(name) == length]
            names, labels = [names[i] for i in whole], [labels[i] for i in whole]
        digits = np.frombuffer(b"".join(names), np.uint8).reshape(-1, length)[:, len(PREFIX) :] - np.uint8(ord("0"))
        numbers = digits.astype(np.int64) @ 10 ** np.arange(DIGITS - 1, -1, -1)
        real = (digits < 10).all(1) & (numbers > 0)
        yield LabelBlock(numbers[real], labels if real.all() else [labels[i] for i in np.flatnonzero(real)])


def entries(file: Path, transaction: lmdb.Transaction) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Keys that begin like a label's and what is stored there, many at a time."""
    size, known = file.stat().st_size, transaction.stat()["entries"]
    names: list[bytes] = []
    labels: list[bytes] = []
    try:
        cursor = transaction.cursor()
        if not cursor.set_range(PREFIX):
            return
        for view, value in islice(cursor.iternext(), known):  # a damaged page could lead round in a circle
            name = bytes(view)
            if not name.startswith(PREFIX):
                break
            if len(value) > size:  # reading on would end the process
                raise DataError(f"{file}: key {name.decode('latin-1')} claims {len(value):,} bytes, more than the file has")
            names.append(name)
            labels.append(bytes(value))
            if len(names) == BLOCK_SIZE:
                yield names, labels
                names, labels = [], []
    except lmdb.Error as error:
        after = f"after {names[-1].decode('latin-1')}" if names else "of a label"
        raise DataError(f"{file}: the key {after} cannot be read ({error}); copy or build it again") from error
    yield names, labels


def byte_table(charset: str) -> np.ndarray:
    """What becomes of each byte in a label of printable ASCII: a byte, 0 where it is left out, OTHER for other bytes."""
    table = np.full(256, OTHER, np.uint8)
    for code in PRINTABLE:
        table[code] = ord(reduce_text(chr(code), charset) or "\0")
    return table


def apply(rules: Rules, table: np.ndarray, stretch: LabelBlock, ledger: Ledger) -> tuple[np.ndarray, bytes]:
    """Lengths of the labels after the rules, 0 where they drop one, and the labels themselves one after another."""
    lengths = np.fromiter(map(len, stretch.labels), np.int64, len(stretch.labels))
    mapped = table[np.frombuffer(b"".join(stretch.labels), np.uint8)]
    ends = np.cumsum(lengths)
    others = between(mapped == OTHER, ends)
    sizes = between(mapped != 0, ends)
    simple = (others == 0) & (sizes > 0) & (lengths <= rules.max_letters)
    sizes = np.where(simple, sizes, 0)
    text = mapped[(mapped != 0) & np.repeat(simple, lengths)].tobytes()
    places, pieces, written = np.cumsum(sizes), [], 0
    for i in np.flatnonzero(~simple).tolist():
        if label := one_label(rules, stretch.labels[i], int(stretch.numbers[i]), ledger):
            pieces += [text[written : places[i]], label]
            sizes[i], written = len(label), places[i]
    return sizes, b"".join([*pieces, text[written:]])


def between(flags: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many flags are set in each stretch that ends at `ends` (the next begins there)."""
    return np.diff(np.concatenate([[0], np.cumsum(flags)])[ends], prepend=0)


def one_label(rules: Rules, raw: bytes, number: int, ledger: Ledger) -> bytes:
    """A label after the rules; empty where they drop it, which the ledger notes."""
    try:
        return normalise_label(raw.decode("utf-8"), rules.charset, rules.max_letters).encode("ascii")
    except UnicodeDecodeError:
        ledger.add("not UTF-8", name_of(number))
    except RejectedLabel as reason:
        ledger.add(str(reason), name_of(number))
    return b""
