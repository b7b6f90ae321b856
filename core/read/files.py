"""The image files that a command line names: files as they are, folders with every image at or below them."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from core.data.folders import folders_below
from core.data.images import known_formats
from core.errors import DataError, UserError


def image_files(named: Iterable[Path]) -> Iterator[Path | UserError]:
    """Files in the order in which they are named, those of a folder sorted by path; an error for a folder without an image.

    A file that is named itself is taken whatever it is called. Of a folder, hidden files and folders and files without the
    suffix of an image are left out; how many, and the first of them, is printed on stderr.
    """
    for path in named:
        if not path.is_dir():
            yield path
            continue
        try:
            images, others = below(path)
        except DataError as error:
            yield error
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
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            (images if path.suffix.lower() in suffixes and not hidden else others).append(path)
    return sorted(images), sorted(others)
