"""What a source format yields, and what reading one needs: text with line numbers, and images found by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from core.data.folders import folders_below
from core.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SPLITS = ("train", "val", "test")
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


class Item(NamedTuple):
    """A word that the source lists."""

    key: str  # where it stands in the source, for the ledger
    label: str  # as the source has it
    file: Path  # image file, or the folder of an LMDB
    number: int | None = None  # the sample's number in that LMDB
    box: Box | None = None  # what is cut from a scene image; None: the file as it is


class LeftOut(NamedTuple):
    """A word that the source lists and that is not used."""

    key: str
    reason: str
    detail: str = ""


Listing = Iterator[Item | LeftOut]


@dataclass(frozen=True)
class Wanted:
    """What of a source is wanted.

    Args:
        images: folder of the images, where it is not beside the annotations.
        split: train, val or test, for sources that hold several.
        legibility, language, writing: COCO-Text's attributes, or "any".
    """

    images: Path | None = None
    split: str | None = None
    legibility: str = "legible"
    language: str = "english"
    writing: str = "machine printed"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, numbered from 1, without byte order mark and line ends.

    Raises:
        DataError: a line is not UTF-8, or there is no such file.
    """
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
    """The annotation file: SOURCE itself, or the only one in it that fits (of several, the one named after the split).

    Raises:
        DataError: none or several fit, or SOURCE is named after another split.
    """
    if source.is_file():
        named = [name for name in SPLITS if name in source.name.lower()]
        if split in SPLITS and named and split not in named:
            raise DataError(
                f"{source} is named after {' and '.join(named)}, yet --split says {split}: drop it or name another file"
            )
        return source
    found = sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()})
    if len(found) > 1 and split:
        found = [path for path in found if split in path.name.lower()]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        expected = " or ".join(patterns)
        raise DataError(f"{source}: expected one annotation file ({expected}), found {names}; name the file or say --split")
    return found[0]


@dataclass(frozen=True)
class ImageFinder:
    """Finds images below a folder."""

    root: Path

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """Every image below the folder, under its name and under its name without suffix."""
        found: dict[str, list[Path]] = {}
        for folder, files in folders_below(self.root):
            for name in files:
                path = folder / name
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    found.setdefault(name, []).append(path)
                    found.setdefault(path.stem, []).append(path)
        return found

    def at(self, name: str) -> Path | None:
        """The file at that path; None when there is none."""
        path = self.root / name
        try:
            return path if path.is_file() else None
        except OSError:  # a name too long to exist
            return None

    def find(self, name: str) -> Path | None:
        """The file at that path, else the only image of that name (with or without suffix) anywhere below.

        Raises:
            DataError: several images have that name.
        """
        exact = self.at(name)
        if exact:
            return exact
        found = self.by_name.get(Path(name).name, [])
        if len(found) > 1:
            raise DataError(f"{self.root}: {name!r} may be {found[0]} or {found[1]}; name one folder with --images")
        return found[0] if found else None


def listed(key: str, label: str, file: Path | None, name: str, box: Box | None = None) -> Item | LeftOut:
    """An item, or what is said when its image was not found."""
    return LeftOut(key, "image missing", name) if file is None else Item(key, label, file, box=box)


def box_around(points: list[float]) -> Box:
    """The axis-aligned box around a polygon x1, y1, x2, y2, ..."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
