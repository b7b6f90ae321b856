"""What it takes to open a database of millions of labels: the first time, when they are scanned, and every time after.

Beside them stands one plain scan in the same run: every label fetched by its key, decoded and put through the label
rules, as each process of the released code does at every start.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb
from rich.console import Console
from rich.progress import Progress

from core.charset import CHARSET_94, DIGITS, LOWER, RejectedLabel, normalise_label
from core.data.environments import close, environment
from core.data.lmdb import COUNT_KEY, WordLmdb

MAX_LETTERS = 25
ODD = {50: "naïve café", 200: "a label that is longer than all that is kept", 1000: " \n"}  # every so many labels: one of these
TRANSACTION = 100_000  # entries
RECORD = 120  # bytes of map for an entry, more than it takes


@dataclass(frozen=True)
class IndexCost:
    """Seconds by the clock, the file in memory already.

    Args:
        first_s: opening without an index, which is then written.
        second_s: opening with it.
        scan_s: the plain scan.
        get_s: fetching every label by its key and doing nothing with it, which is part of `scan_s`.
        ratio: `first_s` over `scan_s`.
    """

    what: str
    labels: int
    first_s: float
    second_s: float
    scan_s: float
    get_s: float
    ratio: float


def index_cost(labels: int, repeats: int = 3) -> IndexCost:
    """The middle one of `repeats` measurements of each, in turns, of a temporary database.

    Raises:
        OSError: it could not be written.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "labels"
        write_labels(folder, labels)
        rounds = []
        for _ in range(repeats):
            for file in folder.glob("*.index"):
                file.unlink()
            rounds.append(
                [
                    seconds_of(lambda: plain_scan(folder, labels)),
                    seconds_of(lambda: only_get(folder, labels)),
                    seconds_of(lambda: WordLmdb(folder)),
                    seconds_of(lambda: WordLmdb(folder)),
                ]
            )
            close(folder)
    scan_s, get_s, first_s, second_s = (sorted(values)[repeats // 2] for values in zip(*rounds, strict=True))
    return IndexCost("index", labels, first_s, second_s, scan_s, get_s, first_s / scan_s)


def seconds_of(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def write_labels(folder: Path, count: int) -> None:
    """A database of `count` samples with made-up labels and one byte for each image, its keys appended in order."""
    rng = random.Random(0)
    words = ["".join(rng.choices(LOWER + LOWER.upper() + DIGITS, k=rng.randint(1, 12))).encode() for _ in range(9973)]

    def entries() -> Iterator[tuple[bytes, bytes]]:
        for number in range(1, count + 1):
            yield b"image-%09d" % number, b"."
        for number in range(1, count + 1):
            odd = next((label.encode() for every, label in reversed(ODD.items()) if number % every == 0), None)
            yield b"label-%09d" % number, words[number % len(words)] if odd is None else odd
        yield COUNT_KEY, b"%d" % count

    folder.mkdir(parents=True)
    database = lmdb.open(str(folder), map_size=RECORD * (2 * count + 1) + (1 << 20), sync=False)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task(f"writing {count:,} labels", total=2 * count + 1)
        transaction = database.begin(write=True)
        for written, (key, value) in enumerate(entries(), start=1):
            transaction.put(key, value, append=True)
            if written % TRANSACTION == 0:
                transaction.commit()
                transaction = database.begin(write=True)
                bar.update(shown, completed=written)
        transaction.commit()
    database.close()


def plain_scan(folder: Path, count: int) -> list[tuple[int, str]]:
    """(key number, label) of what passes the label rules, one label after the other."""
    kept = []
    with environment(folder).begin() as transaction:
        for number in range(1, count + 1):
            label = transaction.get(f"label-{number:09d}".encode()).decode()
            try:
                kept.append((number, normalise_label(label, CHARSET_94, MAX_LETTERS)))
            except RejectedLabel:
                continue
    return kept


def only_get(folder: Path, count: int) -> None:
    with environment(folder).begin() as transaction:
        for number in range(1, count + 1):
            transaction.get(f"label-{number:09d}".encode())


def show_index(cost: IndexCost) -> None:
    """The figures of `index_cost` in words."""
    Console().print(
        f"{cost.labels:,} labels: opened the first time in {cost.first_s:.2f} s (index written), then in {cost.second_s:.3f} s "
        f"a process. One plain scan takes {cost.scan_s:.2f} s ({cost.get_s:.2f} s to fetch labels alone); the first opening "
        f"takes {cost.ratio:.2f} of that. The file was in memory already."
    )
