"""Walking folders with links followed, since data sets are linked to where they are used; hidden ones below are skipped.

DataError is raised for a folder that exists and cannot be listed; one that does not exist is empty.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import DataError

SPLITS = ("train", "val", "test")  # the folders of a data root


def folders_below(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and every folder below it with the names of its files, sorted by name on every file system.

    A link to a folder above itself is not followed, so that the walk ends and no file comes twice.
    """
    chains = {root: (resolved(root),)}  # for each folder, the folders that lead to it, links resolved
    for where, below, files in os.walk(root, onerror=refuse, followlinks=True):
        chain = chains.pop(Path(where))
        below[:] = [name for name in below if not name.startswith(".")]  # first: a .Trash-1000 may belong to somebody else
        real = {name: resolved(Path(where, name)) for name in below}
        below[:] = sorted(name for name in below if not any(above.is_relative_to(real[name]) for above in chain))
        chains |= {Path(where, name): (*chain, real[name]) for name in below}
        yield Path(where), sorted(files)


def refuse_broken_link(path: Path) -> None:
    """Raise DataError for a link that leads nowhere, perhaps to a disk that is not mounted; `data.mdb` has other messages."""
    if path.is_symlink() and not path.name.startswith(".") and path.name != "data.mdb" and not path.exists():
        raise DataError(f"{path} is a link that leads nowhere: mount the disk that it leads to, or remove the link")


def resolved(path: Path) -> Path:
    """A path with its links followed.

    Raises:
        DataError: they lead in a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError before Python 3.13
        raise DataError(f"{path} is a link that leads to itself: remove it") from error


def refuse(error: OSError) -> None:
    """os.walk's `onerror`."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise DataError(f"{error.filename} cannot be listed ({error.strerror}): make it readable, or move it away")


def lmdbs_below(root: Path) -> list[Path]:
    """Every folder at or below `root` that holds a data.mdb, sorted by path.

    Raises:
        DataError: a link leads nowhere; it may stand for a whole set.
    """
    found = []
    for folder, files in folders_below(root):
        for name in files:
            refuse_broken_link(folder / name)
        found += [folder] * ("data.mdb" in files)
    return sorted(found)


def files_below(root: Path, suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """Every file at or below a folder with one of the (lower-case) suffixes, sorted by path below the folder."""
    paths = (folder / name for folder, names in folders_below(root) for name in names if not name.startswith("."))
    files = (path for path in paths if path.suffix.lower() in suffixes and path.is_file())
    return tuple(map(str, sorted(files, key=lambda path: path.relative_to(root).as_posix())))
