"""Shared by all format readers: the words that they yield, text files with line numbers, images looked up by name."""

import codecs
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
BYTE_ORDER_MARKS = {  # UTF-32 first: its little-endian mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
CONVERT = "convert it from its encoding to UTF-8, e.g. iconv -f windows-1252 -t utf-8 (gb18030, shift_jis, euc-kr, ...)"


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
class SourceOptions:
    """Which words of a source to read.

    Args:
        images: folder of the images, if they are not beside the annotations.
        split: train, val or test, for sources that hold several.
        legibility, writing: values that COCO-Text's attributes must have, or "any".
        language: languages or scripts to read, separated by commas, or "any"; None: what the format's reader takes by default.
    """

    images: Path | None = None
    split: str | None = None
    legibility: str = "legible"
    language: str | None = None
    writing: str = "machine printed"

    def other_language(self, value: object, default: str = "any") -> str | None:
        """Why a word of that language or script is left out, or None."""
        wanted = self.language or default
        if wanted == "any" or str(value).lower() in wanted.lower().split(","):
            return None
        return f"language is {value!r}, not {wanted!r}"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, numbered from 1, without byte order mark and line ends."""
    for number, raw in enumerate(utf8_bytes(path).split(b"\n"), start=1):
        try:
            line = raw.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: not UTF-8 ({raw[:40]!r}); {CONVERT}") from error
        if "\r" in line:
            raise DataError(f"{path}, line {number}: a carriage return inside; end lines with \\n, e.g. tr '\\r' '\\n'")
        if line.strip():
            yield number, line


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); is SOURCE right?") from error


def utf8_bytes(path: Path) -> bytes:
    """The bytes of a text file without UTF-8's byte order mark; DataError if they are in an encoding that can be told."""
    raw = read_bytes(path)
    refuse_wide(path, raw)
    return raw.removeprefix(codecs.BOM_UTF8)


def refuse_wide(path: Path, raw: bytes) -> None:
    """DataError for UTF-16 and UTF-32, with or without a byte order mark; ASCII in them has NUL bytes."""
    for mark, name in BYTE_ORDER_MARKS.items():
        if raw.startswith(mark):
            seen = mark.hex(" ").upper()
            raise DataError(f"{path}: {name} (byte order mark {seen}), not UTF-8; convert it: iconv -f {name} -t UTF-8")
    if b"\0" in raw:
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: a NUL byte, as in UTF-16 and UTF-32 or in files that are not text; {CONVERT}")


def parse_json(path: Path) -> object:
    return loads(f"{path}", utf8_bytes(path))


def json_lines(path: Path) -> Iterator[tuple[int, object]]:
    """The values in a file of JSON lines, by line."""
    for number, line in numbered_lines(path):
        yield number, loads(f"{path}, line {number}", line.encode())


def loads(place: str, raw: bytes) -> object:
    """JSON without keys that come twice, of which only the last would count."""

    def once(pairs: list[tuple[str, object]]) -> dict:
        result = dict(pairs)
        if len(result) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            raise DataError(f"{place}: the key {twice[:80]!r} comes twice in one object; keep one, or write a list")
        return result

    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        where = place if ", line " in place else f"{place}, line {error.lineno}"
        raise DataError(f"{where}: not valid JSON ({error.msg}); download or write it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 at byte {error.start}; {CONVERT}") from error
    except DataError:
        raise
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of nested lists
        raise DataError(f"{place}: JSON that cannot be read ({error})") from error


def malformed(path: Path, number: int, expected: str, line: str) -> DataError:
    """The error for a line that does not parse."""
    return DataError(f"{path}, line {number}: expected {expected}, found {line[:80]!r}; mend the line or name another --format")


def label_text(place: str, value: object) -> str | None:
    """A label from JSON: a string, or null for a word without one; DataError for what would have to be turned into a string."""
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"{place}: expected a label that is a string, found {json.dumps(value)[:80]}; mend the entry")


def first_line(path: Path) -> str:
    """The start of a text file's first line, or "" where there is none to read."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        return ""
    refuse_wide(path, start)
    return start.removeprefix(codecs.BOM_UTF8).decode("utf-8", "ignore").lstrip().partition("\n")[0].rstrip()


def pick_file(source: Path, patterns: tuple[str, ...], split: str | None) -> Path:
    """The annotation file: SOURCE itself, or the only one in it that fits (of several, the one named after the split)."""
    if source.is_file():
        refuse_other_split(source, split)
        return source
    files = sorted({path for pattern in patterns for path in source.glob(pattern) if path.is_file()})
    if len(files) > 1 and split:
        files = [path for path in files if split in path.name.lower()]
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        expected = " or ".join(patterns)
        raise DataError(f"{source}: expected one annotation file ({expected}), found {names}; name the file or say --split")
    refuse_other_split(files[0], split)
    return files[0]


def refuse_other_split(file: Path, split: str | None) -> None:
    """Raise DataError if an annotation file is named after another split than the one that is asked for."""
    named = [name for name in SPLITS if name in file.name.lower()]
    if split and named and split not in named and split not in file.name.lower():
        raise DataError(f"{file} is named after {' and '.join(named)}, yet --split says {split}: drop it or name another file")


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
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):  # lists written on Windows have backslashes
            path = self.root / spelled
            try:
                if path.is_file():
                    return path
            except OSError:  # a name too long to exist
                return None
        return None

    def find(self, name: str) -> Path | None:
        """The file at that path, else the only image of that name (with or without suffix) anywhere below."""
        if exact := self.at(name):
            return exact
        images = self.by_name.get(name.replace("\\", "/").rpartition("/")[2], [])
        if len(images) > 1:
            raise DataError(f"{self.root}: {name!r} may be {images[0]} or {images[1]}; name one folder with --images")
        return images[0] if images else None


def listed(key: str, label: str | None, file: Path | None, name: str, box: Box | None = None) -> Item | LeftOut:
    """An item, or an entry for the ledger if it has no label or its image is missing."""
    if label is None:
        return LeftOut(key, "empty label")
    return LeftOut(key, "image missing", name) if file is None else Item(key, label, file, box=box)


def polygon(place: str, points: object) -> Box:
    """The box around a polygon from JSON, [x1, y1, x2, y2, ...] or [[x1, y1], [x2, y2], ...]."""
    flat = points
    if isinstance(points, list) and all(isinstance(point, list) and len(point) == 2 for point in points):
        flat = [side for point in points for side in point]
    if not isinstance(flat, list) or not flat or len(flat) % 2 or not all(map(is_coordinate, flat)):
        raise DataError(f"{place}: points = {str(points)[:80]}, expected [x1, y1, x2, y2, ...] or [[x1, y1], [x2, y2], ...]")
    return box_around(flat)


def rectangle(place: str, box: object) -> Box:
    """The box of a rectangle from JSON, [x, y, width, height]."""
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_coordinate, box)):
        raise DataError(f"{place}: bbox = {str(box)[:80]}, expected [x, y, width, height]")
    left, top, width, height = box
    return left, top, left + width, top + height


def is_coordinate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9  # which NaN is not


def box_around(points: list[float]) -> Box:
    """The axis-aligned box around a polygon x1, y1, x2, y2, ..."""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
