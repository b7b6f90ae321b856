"""Union14M: JSON lines {"filename", "text"} (MMOCR 0.x) or {"data_list": [{"img_path", "instances"}]} (MMOCR 1.x)."""

import json
from collections.abc import Iterator
from pathlib import Path

from core.data.convert.labels import parse_json
from core.data.convert.source import ImageFinder, Listing, Wanted, first_line, listed, numbered_lines, pick_file, read_bytes
from core.errors import DataError

LOOKS = 'train_hard.jsonl (lines {"filename": ..., "text": ...}) or its .json ({"data_list": [...]}) below Union14M-L'
LEVELS = 4  # folders above the annotations in which images are looked for: they count from Union14M-L


def certain(source: Path) -> bool:
    if source.suffix == ".jsonl":
        return '"filename"' in first_line(source) and '"text"' in first_line(source)
    return source.suffix == ".json" and source.is_file() and b'"data_list"' in read_bytes(source)


def read(source: Path, wanted: Wanted) -> Listing:
    """The words of one annotation file, in its order.

    Raises:
        DataError: an entry does not parse.
    """
    path = pick_file(source, ("*.jsonl", "*.json"), wanted.split)
    words = json_lines(path) if path.suffix == ".jsonl" else data_list(path)
    finder = ImageFinder(wanted.images) if wanted.images else None
    for number, image, label in words:
        finder = finder or ImageFinder(root_of(path, image))
        yield listed(f"{path.name}:{number} {image}", label, finder.at(image), image)


def root_of(path: Path, image: str) -> Path:
    """The folder that image paths count from: the nearest above the annotations that holds the first image."""
    above = list(path.resolve().parents)[:LEVELS]
    found = [folder for folder in above if (folder / image).is_file()]
    if not found:
        raise DataError(
            f"{path}: {image} is in none of {above[0]} ... {above[-1]}; name the folder it counts from with --images"
        )
    return found[0]


def json_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, image, label)"""
    for number, line in numbered_lines(path):
        try:
            entry = json.loads(line)
            image, label = entry["filename"], entry["text"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f'{path}, line {number}: expected {{"filename": ..., "text": ...}}, found {line[:80]!r}') from error
        yield number, str(image), str(label)


def data_list(path: Path) -> Iterator[tuple[int, str, str]]:
    """(entry, image, label); an image of several instances yields each."""
    content = parse_json(path)
    entries = content.get("data_list") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{path}: expected {{"metainfo": ..., "data_list": [...]}}')
    for number, entry in enumerate(entries, start=1):
        try:
            for instance in entry["instances"]:
                yield number, str(entry["img_path"]), str(instance["text"])
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path}, entry {number}: expected img_path and instances with text, found {str(entry)[:80]}"
            ) from error
