"""The image files that a command line names: files as they are, folders with every image at or below them."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from core.data.folders import folders_below
from core.data.images import known_formats
from core.errors import DataError, UserError

STDIN = Path("-")


def image_files(named: Iterable[Path]) -> Iterator[Path | UserError]:
    """`files_at` the paths that are named, and in the place of STDIN at those that standard input names, one per line."""
    for path in named:
        yield from files_at(lines_of_stdin() if path == STDIN else [path])


def lines_of_stdin() -> Iterator[Path]:
    """As they come; names need not be UTF-8."""
    for line in sys.stdin.buffer:
        if name := line.rstrip(b"\r\n"):
            yield Path(os.fsdecode(name))


def files_at(named: Iterable[Path]) -> Iterator[Path | UserError]:
    """Files in the order in which they are named, those of a folder sorted by path; an error for a folder without an image.

    A file that is named itself is taken whatever it is called. Of a folder, hidden folders are skipped, and hidden files and
    files without the suffix of an image are left out; how many, and the first of them, is printed on stderr.
    """
    for path in named:
        try:
            if not path.is_dir():
                yield path
                continue
            images, others = below(path)
        except DataError as error:
            yield error
            continue
        except OSError as error:  # nobody may look there, or no file can have that name
            yield UserError(f"{path}: {error.strerror}")
            continue
        if others:
            print(
                f"note: {path}: {len(others):,} files left out, hidden or not named as images, first {others[0]}",
                file=sys.stderr,
            )
        yield from images or [UserError(f"{path}: no image here")]


def below(root: Path) -> tuple[list[Path], list[Path]]:
    """The files at or below a folder that have the suffix of an image, and the others; hidden files are the latter.

    Raises:
        DataError: a folder cannot be listed.
    """
    Image.init()
    suffixes = {suffix for suffix, name in Image.EXTENSION.items() if name in known_formats()}
    images, others = [], []
    for folder, names in folders_below(root):
        for path in (folder / name for name in names):
            hidden = path.name.startswith(".")
            (images if path.suffix.lower() in suffixes and not hidden else others).append(path)
    return sorted(images), sorted(others)
