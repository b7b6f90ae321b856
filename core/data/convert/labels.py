"""A folder of word images with a list of labels: labels.tsv, .csv or .json."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from core.data.convert.source import ImageFinder, Listing, Wanted, listed, malformed, numbered_lines, pick_file, read_bytes
from core.errors import DataError

LOOKS = "a folder with labels.tsv (image<TAB>label), labels.csv (image,label) or labels.json, or such a file"
PATTERNS = ("labels.tsv", "labels.csv", "labels.json")
IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "path", "name")
LABEL_COLUMNS = ("label", "text", "word", "transcription")


def certain(source: Path) -> bool:
    return source.suffix in (".tsv", ".csv") or source.name in PATTERNS or any((source / name).is_file() for name in PATTERNS)


def read(source: Path, wanted: Wanted) -> Listing:
    """The words of the list, in its order.

    Raises:
        DataError: the list does not parse.
    """
    path = pick_file(source, PATTERNS, wanted.split)
    finder = ImageFinder(wanted.images or path.parent)
    rows = {".json": json_rows, ".csv": csv_rows}.get(path.suffix, tsv_rows)
    for number, image, label in rows(path):
        yield listed(f"{path.name}:{number} {image}", label, finder.at(image), image)


def tsv_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, image, label); the label is all that follows the first tab, quotes included."""
    for number, line in numbered_lines(path):
        image, tab, label = line.partition("\t")
        if not tab:
            raise malformed(path, number, "image<TAB>label", line)
        if not is_header(number, image, label):
            yield number, image, label


def csv_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, image, label), fields quoted as spreadsheets do."""
    text = "\n".join(line for _, line in numbered_lines(path))
    numbers = [number for number, _ in numbered_lines(path)]
    lines = csv.reader(io.StringIO(text), strict=True)
    try:
        for row in lines:
            number = numbers[lines.line_num - 1]
            if len(row) != 2:
                raise malformed(path, number, "image,label (a label with a comma in double quotes)", ",".join(row))
            if not is_header(number, *row):
                yield number, row[0], row[1]
    except csv.Error as error:
        raise DataError(f"{path}, line {numbers[lines.line_num - 1]}: {error}") from error


def is_header(number: int, image: str, label: str) -> bool:
    return number == 1 and image.strip().lower() in IMAGE_COLUMNS and label.strip().lower() in LABEL_COLUMNS


def json_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """(entry, image, label) of {"image": "label", ...} or [{"image": ..., "label": ...}, ...]."""
    content = parse_json(path)
    if isinstance(content, dict):
        content = [{"image": image, "label": label} for image, label in content.items()]
    if not isinstance(content, list):
        raise DataError(f'{path}: expected {{"a.png": "label"}} or [{{"image": "a.png", "label": "label"}}]')
    for number, entry in enumerate(content, start=1):
        fields = entry if isinstance(entry, dict) else {}
        image = next((fields[name] for name in IMAGE_COLUMNS if name in fields), None)
        label = next((fields[name] for name in LABEL_COLUMNS if name in fields), None)
        if not isinstance(image, str) or not isinstance(label, str):
            raise DataError(f"{path}, entry {number}: expected image and label as strings, found {str(entry)[:80]}")
        yield number, image, label


def parse_json(path: Path) -> object:
    """The content of a JSON file.

    Raises:
        DataError: it is not JSON; the message has the line.
    """
    try:
        return json.loads(read_bytes(path).decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: no valid JSON ({error.msg}); download or write it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; convert it, e.g. iconv -f latin1 -t utf-8") from error
