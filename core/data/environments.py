"""Open LMDB databases: one a process and folder, closed before a fork, refused when the file is cut off."""

import os
from pathlib import Path

import lmdb

from core.errors import DataError

_OPEN: dict[Path, lmdb.Environment] = {}
_FILES: dict[Path, tuple[int, int]] = {}  # device and inode of each open data.mdb


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


def close_replaced(path: Path) -> None:
    """Close the database of a folder if it is open and another one lies there now."""
    path = Path(path).resolve()
    if path in _OPEN and file_of(path) != _FILES[path]:
        close(path)


def file_of(folder: Path) -> tuple[int, int] | None:
    try:
        found = (folder / "data.mdb").stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


os.register_at_fork(before=close_all)


def environment(path: Path) -> lmdb.Environment:
    """The open database of a folder, one a process (py-lmdb refuses to open one twice).

    Raises:
        DataError: there is no database, or it is damaged.
    """
    if path in _OPEN:  # spares `resolve`, which asks the disk about every folder above
        return _OPEN[path]
    path = Path(path).resolve()
    if path not in _OPEN:
        if not (path / "data.mdb").is_file():
            raise DataError(f"{path}: no data.mdb here; expected an LMDB folder of word images")
        lies_there = file_of(path)
        try:
            database = lmdb.open(os.fsencode(path), readonly=True, lock=False, readahead=False, meminit=False)
        except lmdb.Error as error:
            raise DataError(f"{path / 'data.mdb'} cannot be opened ({error}): copy or build it again") from error
        try:
            refuse_truncated(path / "data.mdb", database)
        except BaseException:
            database.close()
            raise
        _OPEN[path], _FILES[path] = database, lies_there
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
