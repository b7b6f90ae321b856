"""All labels of an LMDB under the label rules of section IV-A, in one pass over the keys.

The rules have one definition, `core.charset.read_label`. Labels of printable ASCII that pass them are handled many at
a time by NumPy, with the same result (3.3 million labels in seconds); every other label goes through that function.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np

from core.charset import CHARSET_36, CHARSET_94, MAX_LETTERS, RejectedLabel, read_label, reduce_text
from core.data.keys import label_key
from core.data.samples import BEYOND, Ledger, Samples
from core.errors import DataError

PREFIX, DIGITS = b"label-", 9
BLOCK_SIZE = 1 << 16  # labels worked on at once
PRINTABLE = range(0x21, 0x7F)  # ASCII without white space and control characters
OTHER = 255  # marks a byte that needs `read_label`
MARK = ord("#")  # labels of it alone may mean "do not read", and need `read_label` too


class Rules(NamedTuple):
    """The label rules' parameters: the allowed characters and the maximum length."""

    charset: str
    max_letters: int


PUBLISHED_RULES = Rules(CHARSET_94, MAX_LETTERS)


def rules_for(charset: str) -> Rules:
    """The published rules, or where these drop a character of `charset`, the same with its characters."""
    return PUBLISHED_RULES if set(charset) <= set(CHARSET_94) else PUBLISHED_RULES._replace(charset=charset)


def compared_in(rules: Rules) -> str:
    """The characters in which two texts under these rules are the same word: the published 36, or those beyond the 94 too."""
    return CHARSET_36 if set(rules.charset) <= set(CHARSET_94) else rules.charset


class LabelBlock(NamedTuple):
    """Neighbouring labels as they are stored, by key number."""

    numbers: np.ndarray  # int64
    labels: list[bytes]


def scan(file: Path, transaction: lmdb.Transaction, stored: int, rules: Rules) -> tuple[Samples, Ledger]:
    """The samples 1 to `stored` that pass the rules, and what was left out.

    Args:
        file: data.mdb, for error messages.
        transaction: opened with buffers=True.
    """
    ledger, table = Ledger(), byte_table(rules.charset)
    present, beyond = np.zeros(stored + 1, dtype=bool), 0
    numbers, sizes, texts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], []
    for block in label_blocks(file, transaction):
        inside = int(np.searchsorted(block.numbers, stored, side="right"))
        for number in block.numbers[inside:].tolist():
            beyond += number == stored + beyond + 1  # the first gap ends what belongs to this set
        block = LabelBlock(block.numbers[:inside], block.labels[:inside])
        present[block.numbers] = True
        lengths, text = apply_rules(rules, table, block, ledger)
        numbers.append(block.numbers[lengths > 0])
        sizes.append(lengths[lengths > 0])
        texts.append(text)
    ledger.add_all("no such key", (label_key(number) for number in np.flatnonzero(~present[1:]) + 1))
    ledger.add_all(BEYOND, (label_key(stored + 1 + i) for i in range(beyond)))
    samples = Samples(np.concatenate(numbers).astype(np.int32), np.cumsum(np.concatenate(sizes)), b"".join(texts))
    return samples, ledger


def label_blocks(file: Path, transaction: lmdb.Transaction) -> Iterator[LabelBlock]:
    """Everything stored under label keys, in order."""
    for names, labels in entries(file, transaction):
        length = len(PREFIX) + DIGITS
        if set(map(len, names)) != {length}:  # some are other keys, such as label-1
            whole = [i for i, name in enumerate(names) if len(name) == length]
            names, labels = [names[i] for i in whole], [labels[i] for i in whole]
        digits = np.frombuffer(b"".join(names), np.uint8).reshape(-1, length)[:, len(PREFIX) :] - np.uint8(ord("0"))
        numbers = digits.astype(np.int64) @ 10 ** np.arange(DIGITS - 1, -1, -1)
        real = (digits < 10).all(1) & (numbers > 0)
        yield LabelBlock(numbers[real], labels if real.all() else [labels[i] for i in np.flatnonzero(real)])


def entries(file: Path, transaction: lmdb.Transaction) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Keys that begin with PREFIX and their values, BLOCK_SIZE at a time; DataError where a key cannot be read."""
    size, known = file.stat().st_size, transaction.stat()["entries"]
    names: list[bytes] = []
    labels: list[bytes] = []
    try:
        cursor = transaction.cursor()
        if not cursor.set_range(PREFIX):
            return
        for view, value in islice(cursor.iternext(), known):  # a damaged page could lead in a circle
            name = bytes(view)
            if not name.startswith(PREFIX):
                break
            if len(value) > size:  # checked before a byte is read: that would end the process
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
    """For each byte of a label: the byte to keep, 0 to leave it out, OTHER if it is not printable ASCII."""
    table = np.full(256, OTHER, np.uint8)
    for code in PRINTABLE:
        table[code] = ord(reduce_text(chr(code), charset) or "\0")
    return table


def apply_rules(rules: Rules, table: np.ndarray, block: LabelBlock, ledger: Ledger) -> tuple[np.ndarray, bytes]:
    """Lengths of the labels after the rules (0: dropped), and the labels themselves one after another."""
    lengths = np.fromiter(map(len, block.labels), np.int64, len(block.labels))
    stored = np.frombuffer(b"".join(block.labels), np.uint8)
    mapped, ends = table[stored], np.cumsum(lengths)
    others = count_between(mapped == OTHER, ends)
    sizes = count_between(mapped != 0, ends)
    simple = (others == 0) & (sizes > 0) & (lengths <= rules.max_letters) & (count_between(stored == MARK, ends) < lengths)
    sizes = np.where(simple, sizes, 0)
    text = mapped[(mapped != 0) & np.repeat(simple, lengths)].tobytes()
    places, pieces, written = np.cumsum(sizes), [], 0
    for i in np.flatnonzero(~simple).tolist():
        if label := one_label(rules, block.labels[i], int(block.numbers[i]), ledger):
            pieces += [text[written : places[i]], label]
            sizes[i], written = len(label), places[i]
    return sizes, b"".join([*pieces, text[written:]])


def count_between(flags: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many flags are set in each label's bytes, the labels lying one after another and ending at `ends`."""
    return np.diff(np.concatenate([[0], np.cumsum(flags)])[ends], prepend=0)


def one_label(rules: Rules, raw: bytes, number: int, ledger: Ledger) -> bytes:
    """A label after the rules; empty if they drop it, which the ledger then holds."""
    try:
        return read_label(raw.decode("utf-8"), rules.charset, rules.max_letters).encode()
    except UnicodeDecodeError:
        ledger.add("not UTF-8", label_key(number))
    except RejectedLabel as reason:
        ledger.add(str(reason), label_key(number))
    return b""
