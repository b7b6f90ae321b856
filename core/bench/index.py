"""Time to open a database of millions of labels: the first time, when they are scanned, and every time after.

The reference is one plain scan: every label fetched by its key, decoded and put through the label rules, as each process of the
released code does at every start.
"""

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import torch
from rich.console import Console
from rich.progress import track

from core.bench.measure import Measurement, compare, report, take_turns
from core.charset import DIGITS, LOWER, RejectedLabel, read_label
from core.data.environments import close, environment
from core.data.keys import COUNT_KEY, image_key, label_key
from core.data.labels import PUBLISHED_RULES
from core.data.lmdb import WordLmdb

ODD = {50: "naïve café", 200: "a label that is longer than all that is kept", 1000: " \n"}  # every so many labels: one of these
TRANSACTION = 100_000  # entries
RECORD = 120  # bytes of map for an entry, more than it takes
REFERENCE = "plain scan"
NOTE = (
    "first: opening without an index, which is then written; second: opening with it; fetching: every label by its key, which "
    "is part of the reference, one plain scan. The file is in memory already."
)


def index_costs(labels: int, repeats: int) -> list[Measurement]:
    """Opening a temporary database the first time and again, and fetching its labels, in turns with a plain scan.

    Raises:
        OSError: it could not be written.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "labels"
        write_labels(folder, labels)

        def opening(known: bool) -> Callable[[], object]:
            close(folder)
            if known:
                WordLmdb(folder)
                close(folder)
            else:
                for file in folder.glob("*.index"):
                    file.unlink()
            return lambda: WordLmdb(folder)

        tasks = {
            REFERENCE: lambda number: lambda: plain_scan(folder, labels),
            "fetching": lambda number: lambda: fetch(folder, labels),
            "first": lambda number: opening(known=False),
            "second": lambda number: opening(known=True),
        }
        device = torch.device("cpu")
        measured = take_turns(tasks, repeats, device, f"opening {labels:,} labels")
        close(folder)
    details = {"labels": labels}
    others = [name for name in tasks if name != REFERENCE]
    return [compare(name, measured[name], measured[REFERENCE], device, details, "s", lambda s: s) for name in others]


def write_labels(folder: Path, count: int) -> None:
    """A database of `count` samples with made-up labels and one byte for each image, its keys appended in order."""
    rng = random.Random(0)
    words = ["".join(rng.choices(LOWER + LOWER.upper() + DIGITS, k=rng.randint(1, 12))).encode() for _ in range(9973)]

    def entries() -> Iterator[tuple[bytes, bytes]]:
        for number in range(1, count + 1):
            yield image_key(number).encode(), b"."
        for number in range(1, count + 1):
            odd = next((label.encode() for every, label in reversed(ODD.items()) if number % every == 0), None)
            yield label_key(number).encode(), words[number % len(words)] if odd is None else odd
        yield COUNT_KEY, b"%d" % count

    folder.mkdir(parents=True)
    database = lmdb.open(str(folder), map_size=RECORD * (2 * count + 1) + (1 << 20), sync=False)
    transaction = database.begin(write=True)
    console = Console(stderr=True)
    title, hidden = f"writing {count:,} labels", not console.is_terminal
    shown = track(entries(), title, 2 * count + 1, console=console, transient=True, disable=hidden)
    for written, (key, value) in enumerate(shown, start=1):
        transaction.put(key, value, append=True)
        if written % TRANSACTION == 0:
            transaction.commit()
            transaction = database.begin(write=True)
    transaction.commit()
    database.close()


def plain_scan(folder: Path, count: int) -> list[tuple[int, str]]:
    """(key number, label) of what passes the label rules, one label after the other."""
    kept = []
    with environment(folder).begin() as transaction:
        for number in range(1, count + 1):
            label = transaction.get(label_key(number).encode()).decode()
            try:
                kept.append((number, read_label(label, *PUBLISHED_RULES)))
            except RejectedLabel:
                continue
    return kept


def fetch(folder: Path, count: int) -> None:
    with environment(folder).begin() as transaction:
        for number in range(1, count + 1):
            transaction.get(label_key(number).encode())


def run(options: argparse.Namespace) -> None:
    report(index_costs(options.labels, options.repeats), "Opening labels", NOTE, options.json)
