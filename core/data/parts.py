"""Long conversions in parts: each is whole or not there, so that an interrupted one goes on where it was.

OUT.parts/ holds job.json (what is being made), and for each part the ledger part-00000.json, written first, and the LMDB
part-00000/. When all are there they become one LMDB, which is renamed to OUT; the bytes are the same however often the work
was interrupted.
"""

import itertools
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import lmdb
from rich.progress import Progress, TaskID

from core.data.errors import DataError
from core.data.formats.load import Load, Stored
from core.data.formats.source import Item, LeftOut
from core.data.lmdb import write_lmdb
from core.files import write_json

PART = 2048  # entries of the source a part
Mapped = Callable[[Load, list[list[Item]]], Iterator[list[Stored | LeftOut]]]


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

    def samples(self, count: int) -> Iterator[tuple[bytes, str]]:
        """The samples of all parts, in order."""
        for number in range(count):
            with lmdb.open(str(self.lmdb(number)), readonly=True, lock=False) as part, part.begin() as transaction:
                for index in range(1, int(transaction.get(b"num-samples")) + 1):
                    image, label = (transaction.get(f"{kind}-{index:09d}".encode()) for kind in ("image", "label"))
                    yield image, label.decode()

    def left_out(self, count: int) -> list[LeftOut]:
        return [LeftOut(*entry) for number in range(count) for entry in json.loads(self.ledger(number).read_text())]


def make_parts(parts: Parts, entries: Sequence[Item | LeftOut], load: Load, workers: int) -> int:
    """Load every entry that no part holds yet, in processes; returns the number of parts.

    Raises:
        OSError: a worker process died, or something could not be written.
    """
    count = max(1, -(-len(entries) // PART))
    missing = parts.missing(count)
    done = len(entries) - sum(len(entries[number * PART : (number + 1) * PART]) for number in missing)
    with Progress(transient=True) as progress:
        bar = progress.add_task("loading words", total=len(entries), completed=done)
        if workers < 2:
            for number in missing:
                parts.write(number, list(loaded(entries, number, load, map, progress, bar)))
            return count
        try:
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                for number in missing:
                    parts.write(number, list(loaded(entries, number, load, chunked(pool), progress, bar)))
        except BrokenProcessPool as error:
            raise OSError(
                f"{parts.folder}: a worker process died (out of memory, mostly); the same command with fewer --workers goes on"
            ) from error
    return count


def chunked(pool: ProcessPoolExecutor) -> Mapped:
    """The pool's map, several tasks at a time."""
    return lambda load, tasks: pool.map(load, tasks, chunksize=8)


def loaded(
    entries: Sequence[Item | LeftOut], number: int, load: Load, mapped: Mapped, progress: Progress, bar: TaskID
) -> Iterator[Stored | LeftOut]:
    """What becomes of the entries of one part, in their order."""
    part = entries[number * PART : (number + 1) * PART]
    groups = [list(group) for _, group in itertools.groupby(part, key=scene)]
    results = mapped(load, [group for group in groups if isinstance(group[0], Item)])
    for group in groups:
        yield from next(results) if isinstance(group[0], Item) else group
        progress.advance(bar, len(group))


def scene(entry: Item | LeftOut) -> tuple:
    """Neighbours that share this are loaded together: words of one scene image."""
    return (entry.file, entry.number) if isinstance(entry, Item) else ()
