"""The LMDBs that a training or test set is made of: found, linked, told apart by their content."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote

from core.data.content import content_digest
from core.data.folders import lmdbs_below
from core.errors import DataError

SECOND_ROOTS = {"rbu": "str_dataset_ub"}  # training sets that are released as a data root of their own


def find_lmdbs(root: Path) -> list[Path]:
    """Every folder at or below `root` that holds a data.mdb, sorted by path; DataError where there is none."""
    folders = lmdbs_below(Path(root))
    if not folders:
        raise DataError(f"{root}: no data.mdb at or below this folder; expected train/**/, val/**/ and test/<benchmark>/")
    return folders


def copies_among(folders: Iterable[Path]) -> list[tuple[Path, Path]]:
    """LMDBs whose data.mdb is that of an earlier one, and which: each of their images counts twice."""
    first: dict[str, Path] = {}
    copies = []
    for folder in folders:
        digest = content_digest(folder / "data.mdb")
        if digest in first:
            copies.append((folder, first[digest]))
        first.setdefault(digest, folder)
    return copies


def say_copies(folders: Iterable[Path]) -> list[str]:
    """A line for each copy among the LMDBs of one set."""
    return [
        f"{copy} is read twice, so that each of its images counts twice: name it once in TRAIN_DATA"
        if copy == original
        else f"{copy} holds the same as {original}, so that each of its images counts twice: move one of them away"
        for copy, original in copies_among(folders)
    ]


def train_roots(data: Path, names: Sequence[str]) -> list[Path]:
    """The folders (or links) below data/train that a run learns from; if one is missing, the DataError says how to link it."""
    roots = [Path(data) / "train" / name for name in names]
    for root in roots:
        if not root.is_dir():
            there = [path.name for path in sorted(root.parent.glob("[!.]*")) if path.is_dir()] if root.parent.is_dir() else []
            raise DataError(
                f"{root} is missing: TRAIN_DATA = {tuple(names)!r} names folders below {root.parent}, which holds "
                f"{', '.join(there) or 'none'}; {how_to_link(root) or 'put or link the LMDBs there'}"
            )
    return roots


def how_to_link(root: Path) -> str:
    """The command that links data/train/<set> to the data root it was released as; empty if that root is not nearby."""
    data = root.parents[1].resolve()
    second = SECOND_ROOTS.get(root.name, "")
    for place in (data, data.parent) if second else ():
        if (place / second).is_dir():
            inner = place / second / "train"
            target = os.path.relpath(inner if inner.is_dir() else inner.parent, data / "train")
            return f"link it: mkdir -p {quote(str(root.parent))} && ln -s {quote(target)} {quote(str(root))}"
    return ""


def digest_or_problem(file: Path) -> str:
    """A file's digest, or why it cannot be read: whoever opens it says so, and leaves out what can be left out."""
    try:
        return content_digest(file)
    except OSError as error:
        return str(error.strerror)


def fingerprint(*roots: Path) -> str:
    """16 hex digits that change with the names of the LMDBs below the folders, and with any byte of their data.mdb."""
    digest = hashlib.sha256()
    for root in roots:
        for folder in find_lmdbs(root):
            line = f"{folder.relative_to(root).as_posix()} {digest_or_problem(folder / 'data.mdb')}\n"
            digest.update(os.fsencode(line))  # a folder's name need not be UTF-8
    return digest.hexdigest()[:16]
