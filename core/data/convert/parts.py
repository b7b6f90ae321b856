"""Long conversions in parts: each is whole or not there, so that an interrupted one goes on where it was.

OUT.parts/ holds job.json (what is being made), and for each part the ledger part-00000.json, written first, and the LMDB
part-00000/. As they come they are copied into one LMDB, which is renamed to OUT; the bytes are the same however often the
work was interrupted and whatever the number of processes, each of which makes whole parts.
"""

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import lmdb
from rich.progress import Progress

from core.data.convert.load import Load, Stored
from core.data.convert.source import Item, LeftOut
from core.data.lmdb import write_lmdb
from core.errors import DataError
from core.files import write_json
from core.runtime.crash_safe import WorkerCrash, crash_safe_map

PART = 512  # entries of the source a part


class Parts:
    """The folder beside OUT in which its parts collect.

    Args:
        job: what is being made, as JSON; parts of another job are refused.

    Raises:
        DataError: the folder holds parts of another job.
    """

    def __init__(self, out: Path, job: dict):
        self.folder = out.with_name(out.name + ".parts")
        path, job = self.folder / "job.json", {**job, "part": PART}
        if path.is_file():
            before = json.loads(path.read_text())
            changed = sorted(key for key in job.keys() | before.keys() if job.get(key) != before.get(key))
            if changed:
                said = ", ".join(f"{key} was {before.get(key)!r} and is {job.get(key)!r}" for key in changed)
                raise DataError(f"{self.folder} holds parts of another job ({said}); remove it to start again")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(path, job)

    def lmdb(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}"

    def ledger(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.json"

    def write(self, number: int, results: Sequence[Stored | LeftOut]) -> None:
        """One part, made whole by its LMDB appearing."""
        write_json(self.ledger(number), [result for result in results if isinstance(result, LeftOut)])
        write_lmdb(self.lmdb(number), [result for result in results if isinstance(result, Stored)])

    def missing(self, count: int) -> list[int]:
        return [number for number in range(count) if not (self.lmdb(number) / "data.mdb").is_file()]

    def samples(self, numbers: Iterable[int]) -> Iterator[tuple[bytes, str]]:
        """The samples of the parts, in order."""
        for number in numbers:
            with lmdb.open(str(self.lmdb(number)), readonly=True, lock=False) as part, part.begin() as transaction:
                for index in range(1, int(transaction.get(b"num-samples")) + 1):
                    image, label = (transaction.get(f"{kind}-{index:09d}".encode()) for kind in ("image", "label"))
                    yield image, label.decode()

    def left_out(self, count: int) -> list[LeftOut]:
        return [LeftOut(*entry) for number in range(count) for entry in json.loads(self.ledger(number).read_text())]


def make_parts(parts: Parts, entries: Sequence[Item | LeftOut], load: Load, workers: int) -> Iterator[int]:
    """Load every entry that no part holds yet, a part a process; yields the parts' numbers in order, each when it is there.

    Raises:
        OSError: something could not be written.
        DataError: a process died.
    """
    count = parts_of(entries)
    missing = set(parts.missing(count))
    jobs = [Job(parts, number, entries[number * PART : (number + 1) * PART], load) for number in sorted(missing)]
    databases = any(isinstance(entry, Item) and entry.number is not None for entry in entries)
    made = crash_safe_map(make_part, jobs, workers) if workers > 1 or databases else map(make_part, jobs)
    with Progress(transient=True) as progress:
        bar = progress.add_task("loading words", total=len(entries))
        for number in range(count):
            listed = entries[number * PART : (number + 1) * PART]
            if number in missing and isinstance(how := next(made), WorkerCrash):
                which = f"{number * PART + 1} to {number * PART + len(listed)}"
                raise DataError(f"{places(listed)}: loading words {which} {how}")
            progress.advance(bar, len(listed))
            yield number


def parts_of(entries: Sequence[Item | LeftOut]) -> int:
    """How many parts that makes."""
    return max(1, -(-len(entries) // PART))


def places(entries: Sequence[Item | LeftOut]) -> str:
    """The databases that entries lie in, or the first and last file."""
    files = list(dict.fromkeys(entry.file for entry in entries if isinstance(entry, Item)))
    databases = [str(file / "data.mdb") for file in files if file.is_dir()]
    return ", ".join(databases) if databases else " ... ".join(str(file) for file in (files[0], files[-1]))


class Job(NamedTuple):
    """What a process makes a part from."""

    parts: Parts
    number: int
    entries: Sequence[Item | LeftOut]
    load: Load


def make_part(job: Job) -> None:
    """Write one part."""
    job.parts.write(job.number, list(loaded(job.entries, job.load)))


def loaded(entries: Sequence[Item | LeftOut], load: Load) -> Iterator[Stored | LeftOut]:
    """What becomes of the entries, in their order."""
    for _, group in itertools.groupby(entries, key=scene):
        together = list(group)
        yield from load(together) if isinstance(together[0], Item) else together


def scene(entry: Item | LeftOut) -> tuple:
    """Neighbours that share this are loaded together: words of one scene image."""
    return (entry.file, entry.number) if isinstance(entry, Item) else ()
