"""Folders and what lies in them, links followed: data sets are linked to where they are used."""

import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import DataError


def folders_below(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and every one below it with the names of its files, in the order of names, which is the same everywhere.

    A link to a folder that it lies in is not followed, so this ends and no file comes twice that way.

    Raises:
        DataError: a folder cannot be listed.
    """
    chains = {root: (root.resolve(),)}  # the folders that lead to each, links resolved
    for where, below, files in os.walk(root, onerror=refuse, followlinks=True):
        chain = chains.pop(Path(where))
        real = {name: Path(where, name).resolve() for name in below}
        below[:] = sorted(name for name in below if not any(above.is_relative_to(real[name]) for above in chain))
        chains |= {Path(where, name): (*chain, real[name]) for name in below}
        yield Path(where), sorted(files)


def refuse(error: OSError) -> None:
    """What becomes of a folder that cannot be listed; one that is not there, or no folder, holds nothing.

    Raises:
        DataError: it is there.
    """
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise DataError(f"{error.filename} cannot be listed ({error.strerror}): make it readable, or move it away")


def lmdbs_below(root: Path) -> list[Path]:
    """Every folder at or below `root` that holds a data.mdb, sorted by path; hidden folders below it are left out.

    Raises:
        DataError: a folder cannot be listed.
    """
    holding = (folder for folder, files in folders_below(root) if "data.mdb" in files)
    return sorted(folder for folder in holding if not any(part[0] == "." for part in folder.relative_to(root).parts))


def files_below(root: Path, suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """Every file at or below a folder with one of the suffixes (in lower case), in the order of their paths there.

    Raises:
        DataError: a folder cannot be listed.
    """
    files = (folder / name for folder, names in folders_below(root) for name in names)
    found = (path for path in files if path.suffix.lower() in suffixes and path.is_file())
    return tuple(map(str, sorted(found, key=lambda path: path.relative_to(root).as_posix())))
