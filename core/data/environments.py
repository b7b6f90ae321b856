"""Open LMDB databases: one a process and folder, closed before a fork, refused when the file is cut off."""

import os
from pathlib import Path

import lmdb

from core.data.errors import DataError

_OPEN: dict[Path, lmdb.Environment] = {}


def close_all() -> None:
    """Close every database; they open again when next asked for.

    Called before a fork: a forked child may not use its parent's environments, nor open the same ones again.
    """
    while _OPEN:
        _OPEN.popitem()[1].close()


def close(path: Path) -> None:
    """Close the database of a folder, if it is open: another is about to lie there."""
    if database := _OPEN.pop(Path(path).resolve(), None):
        database.close()


os.register_at_fork(before=close_all)


def environment(path: Path) -> lmdb.Environment:
    """The open database of a folder, one a process (py-lmdb refuses to open one twice).

    Raises:
        DataError: there is no database, or it is damaged.
    """
    path = Path(path).resolve()
    if path not in _OPEN:
        if not (path / "data.mdb").is_file():
            raise DataError(f"{path}: no data.mdb here; expected an LMDB folder of word images")
        try:
            database = lmdb.open(os.fsencode(path), readonly=True, lock=False, readahead=False, meminit=False)
        except lmdb.Error as error:
            raise DataError(f"{path / 'data.mdb'} cannot be opened ({error}): copy or build it again") from error
        try:
            refuse_truncated(path / "data.mdb", database)
        except BaseException:
            database.close()
            raise
        _OPEN[path] = database
    return _OPEN[path]


def refuse_truncated(file: Path, database: lmdb.Environment) -> None:
    """A page missing at the end would end the process (SIGBUS) when it is read, with no word about the file.

    Raises:
        DataError: the file is shorter than its own page count.
    """
    expected = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    size = file.stat().st_size
    if size < expected:
        raise DataError(f"{file} is cut off: {size:,} bytes of {expected:,}; copy or build it again")
