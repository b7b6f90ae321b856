"""Long conversions in parts, each whole or absent, so that an interrupted conversion resumes where it stopped.

OUT.parts/ holds job.json (what is being made), and for each part its ledger part-00000.json and its LMDB part-00000/. The
parts are copied in order into one LMDB, which is renamed to OUT. So its bytes do not depend on interruptions, nor on the
number of processes, each of which makes whole parts. (joblib.Memory caches results too, but pickled, one file per call, and
it cannot tell a half-written one.)
"""

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import lmdb
from rich.progress import Progress

from core.data.convert.load import Load, LoadedWord
from core.data.convert.source import Item, LeftOut
from core.data.keys import COUNT_KEY, key_of
from core.data.lmdb import write_lmdb
from core.errors import DataError
from core.files import write_json
from core.runtime.crash_safe import WorkerCrash, crash_safe_map

PART = 512  # entries of the source per part
Change = tuple[int, str]  # how many words, and the first one's place in the source


class Parts:
    """The folder beside OUT that holds its parts.

    Args:
        job: the conversion, described as JSON; DataError if the folder holds parts of another one.
    """

    def __init__(self, out: Path, job: dict):
        self.folder = out.with_name(out.name + ".parts")
        path, job = self.folder / "job.json", {**job, "part": PART}
        if path.is_file():
            before = json.loads(path.read_text())
            changed = sorted(key for key in job.keys() | before.keys() if job.get(key) != before.get(key))
            if changed:
                changes = ", ".join(f"{key} was {before.get(key)!r} and is {job.get(key)!r}" for key in changed)
                raise DataError(f"{self.folder} holds parts of another job ({changes}); remove it to start again")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(path, job)

    def lmdb(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}"

    def ledger(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}.json"

    def write(self, number: int, results: Sequence[LoadedWord | LeftOut]) -> None:
        words = [result for result in results if isinstance(result, LoadedWord)]
        left_out = [result for result in results if isinstance(result, LeftOut)]
        changed = counted((change, 1, word.key) for word in words for change in word.changes)
        # The ledger first: a part counts as done once its LMDB is there, and by then both must be.
        write_json(self.ledger(number), {"left_out": left_out, "changed": changed})
        write_lmdb(self.lmdb(number), [(word.image, word.label) for word in words])

    def missing(self, count: int) -> list[int]:
        return [number for number in range(count) if not (self.lmdb(number) / "data.mdb").is_file()]

    def samples(self, numbers: Iterable[int]) -> Iterator[tuple[bytes, str]]:
        """The samples of the parts, in order."""
        for number in numbers:
            with lmdb.open(str(self.lmdb(number)), readonly=True, lock=False) as part, part.begin() as transaction:
                for index in range(1, int(transaction.get(COUNT_KEY)) + 1):
                    image, label = (transaction.get(key_of(kind, index).encode()) for kind in ("image", "label"))
                    yield image, label.decode()

    def left_out(self) -> list[LeftOut]:
        """The entries that the parts left out, in order; call it when all parts are written."""
        return [LeftOut(*entry) for ledger in self.ledgers() for entry in ledger["left_out"]]

    def changed(self) -> dict[str, Change]:
        """What decoding changes in the images of all parts; call it when all are written."""
        return counted((change, *what) for ledger in self.ledgers() for change, what in ledger["changed"].items())

    def ledgers(self) -> Iterator[dict]:
        paths = sorted(self.folder.glob("part-*.json"), key=lambda path: int(path.stem.removeprefix("part-")))
        return (json.loads(path.read_text()) for path in paths)


def counted(changes: Iterable[tuple[str, int, str]]) -> dict[str, Change]:
    """Each change with its sum and the place where it comes first, from (change, number, place)."""
    result: dict[str, Change] = {}
    for change, number, place in changes:
        before, first = result.get(change, (0, place))
        result[change] = before + number, first
    return result


def make_parts(parts: Parts, entries: Sequence[Item | LeftOut], load: Load, workers: int) -> Iterator[int]:
    """Load every entry that no part holds yet; yields the parts' numbers in order, each once it is written.

    Raises:
        OSError: something could not be written.
        DataError: a process died.
    """
    blocks = [entries[start : start + PART] for start in range(0, max(1, len(entries)), PART)]
    missing = set(parts.missing(len(blocks)))
    jobs = [(number, blocks[number]) for number in sorted(missing)]
    # A damaged LMDB can end the process that reads it, so LMDBs are read in another one even with one worker.
    databases = any(isinstance(entry, Item) and entry.number is not None for entry in entries)
    make = partial(make_part, parts, load)
    made = crash_safe_map(make, jobs, workers) if workers > 1 or databases else map(make, jobs)
    with Progress(transient=True) as progress:
        bar = progress.add_task("loading words", total=len(entries))
        for number, block in enumerate(blocks):
            if number in missing and isinstance(crash := next(made), WorkerCrash):
                which = f"{number * PART + 1} to {number * PART + len(block)}"
                raise DataError(f"{files_of(block)}: loading words {which} {crash}")
            progress.advance(bar, len(block))
            yield number


def files_of(entries: Sequence[Item | LeftOut]) -> str:
    """The databases that entries lie in, or the first and last file."""
    files = list(dict.fromkeys(entry.file for entry in entries if isinstance(entry, Item)))
    databases = [str(file / "data.mdb") for file in files if file.is_dir()]
    return ", ".join(databases) if databases else " ... ".join(str(file) for file in (files[0], files[-1]))


def make_part(parts: Parts, load: Load, job: tuple[int, Sequence[Item | LeftOut]]) -> None:
    """Load and write one part; neighbouring words of one scene image are loaded together."""
    number, entries = job
    results = []
    for _, group in itertools.groupby(entries, key=lambda entry: (entry.file, entry.number) if isinstance(entry, Item) else ()):
        words = list(group)
        results += load(words) if isinstance(words[0], Item) else words
    parts.write(number, results)
