"""Shared by all format readers: the words that they yield, text files with line numbers, images looked up by name."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from core.data.folders import SPLITS, folders_below
from core.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


class Item(NamedTuple):
    """A word that the source lists."""

    key: str  # where it stands in the source, for the ledger
    label: str  # as the source has it
    file: Path  # image file, or the folder of an LMDB
    number: int | None = None  # the sample's key number in that LMDB
    box: Box | None = None  # what to cut from a scene image; None: the file as it is


class LeftOut(NamedTuple):
    """A word that the source lists but that is not used."""

    key: str
    reason: str
    detail: str = ""


Listing = Iterator[Item | LeftOut]


@dataclass(frozen=True)
class ReadOptions:
    """Which words of a source to read.

    Args:
        images: folder of the images, if they are not beside the annotations.
        split: train, val or test, for sources that hold several.
        legibility, language, writing: values that COCO-Text's attributes must have, or "any".
    """

    images: Path | None = None
    split: str | None = None
    legibility: str = "legible"
    language: str = "english"
    writing: str = "machine printed"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, numbered from 1, without byte order mark and line ends."""
    for number, raw in enumerate(read_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            line = raw.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}, line {number}: not UTF-8 ({raw[:40]!r}); convert it, e.g. iconv -f latin1 -t utf-8"
            ) from error
        if line.strip():
            yield number, line


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); is SOURCE right?") from error


def parse_json(path: Path) -> object:
    try:
        return json.loads(read_bytes(path).decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}); download or write it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; convert it, e.g. iconv -f latin1 -t utf-8") from error


def malformed(path: Path, number: int, expected: str, line: str) -> DataError:
    """The error for a line that does not parse."""
    return DataError(f"{path}, line {number}: expected {expected}, found {line[:80]!r}; mend the line or name another --format")


def first_line(path: Path) -> str:
    """The start of a text file's first line, or "" where there is none to read."""
    try:
        with path.open("rb") as file:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "ignore").lstrip().partition("\n")[0].rstrip()
    except OSError:
        return ""


def pick_file(source: Path, patterns: tuple[str, ...], split: str | None) -> Path:
    """The annotation file: SOURCE itself, or the only one in it that fits (of several, the one named after the split)."""
    if source.is_file():
        named = [name for name in SPLITS if name in source.name.lower()]
        if split in SPLITS and named and split not in named:
            raise DataError(
                f"{source} is named after {' and '.join(named)}, yet --split says {split}: drop it or name another file"
            )
        return source
    files = sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()})
    if len(files) > 1 and split:
        files = [path for path in files if split in path.name.lower()]
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        expected = " or ".join(patterns)
        raise DataError(f"{source}: expected one annotation file ({expected}), found {names}; name the file or say --split")
    return files[0]


@dataclass(frozen=True)
class ImageFinder:
    """Finds images below a folder."""

    root: Path

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """Every image below the folder, under its name and under its name without suffix."""
        images: dict[str, list[Path]] = {}
        for folder, files in folders_below(self.root):
            for name in files:
                path = folder / name
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    images.setdefault(name, []).append(path)
                    images.setdefault(path.stem, []).append(path)
        return images

    def at(self, name: str) -> Path | None:
        """The file at that path, or None."""
        path = self.root / name
        try:
            return path if path.is_file() else None
        except OSError:  # a name too long to exist
            return None

    def find(self, name: str) -> Path | None:
        """The file at that path, else the only image of that name (with or without suffix) anywhere below."""
        if exact := self.at(name):
            return exact
        images = self.by_name.get(Path(name).name, [])
        if len(images) > 1:
            raise DataError(f"{self.root}: {name!r} may be {images[0]} or {images[1]}; name one folder with --images")
        return images[0] if images else None


def listed(key: str, label: str, file: Path | None, name: str, box: Box | None = None) -> Item | LeftOut:
    """An item, or an entry for the ledger if its image is missing."""
    return LeftOut(key, "image missing", name) if file is None else Item(key, label, file, box=box)


def box_around(points: list[float]) -> Box:
    """The axis-aligned box around a polygon x1, y1, x2, y2, ..."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
