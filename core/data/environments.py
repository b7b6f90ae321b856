"""Open LMDB databases: one per process and folder, closed before a fork, refused if the file is truncated."""

import os
from pathlib import Path

import lmdb

from core.errors import DataError

_OPEN: dict[Path, lmdb.Environment] = {}
_FILES: dict[Path, tuple[int, int]] = {}  # device and inode of each open data.mdb


def close_all() -> None:
    """Close every database; they are opened again when next used.

    Called before a fork: LMDB does not allow a forked child to use its parent's environments, nor to open them again.
    """
    while _OPEN:
        _OPEN.popitem()[1].close()


def close(path: Path) -> None:
    """Close the database of a folder if it is open; call it when another is about to replace it."""
    if database := _OPEN.pop(Path(path).resolve(), None):
        database.close()


def close_replaced(path: Path) -> None:
    """Close the database of a folder if it is open and has been replaced by another file."""
    path = Path(path).resolve()
    if path in _OPEN and file_of(path) != _FILES[path]:
        close(path)


def file_of(folder: Path) -> tuple[int, int] | None:
    try:
        status = (folder / "data.mdb").stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


os.register_at_fork(before=close_all)


def environment(path: Path) -> lmdb.Environment:
    """The open database of a folder, one per process (py-lmdb refuses to open one twice).

    Raises:
        DataError: there is no database, or it is damaged.
    """
    if path in _OPEN:  # before `resolve`, which asks the disk about every folder above
        return _OPEN[path]
    path = Path(path).resolve()
    if path not in _OPEN:
        if not (path / "data.mdb").is_file():
            raise DataError(f"{path}: no data.mdb here; expected an LMDB folder of word images")
        file = file_of(path)  # before opening: a file that is replaced in between is then noticed later
        try:
            database = lmdb.open(os.fsencode(path), readonly=True, lock=False, readahead=False, meminit=False)
        except lmdb.Error as error:
            raise DataError(f"{path / 'data.mdb'} cannot be opened ({error}): copy or build it again") from error
        try:
            refuse_truncated(path / "data.mdb", database)
        except BaseException:
            database.close()
            raise
        _OPEN[path], _FILES[path] = database, file
    return _OPEN[path]


def refuse_truncated(file: Path, database: lmdb.Environment) -> None:
    """Raise DataError if the file is shorter than its own page count: reading a missing page ends the process (SIGBUS)."""
    expected = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    size = file.stat().st_size
    if size < expected:
        raise DataError(f"{file} is cut off: {size:,} bytes of {expected:,}; copy or build it again")
