"""Word images that a file lists with their labels.

labels        labels.tsv, .csv or .json beside the images
icdar-words   ICDAR 2013 and 2015 word recognition: lines like `word_1.png, "Tiredness"`, with or without byte order mark
occlusion     HOST, WOST and OCTT: lines like `heavy/1.png label`, with a tab or spaces between
union14m      JSON lines {"filename", "text"} (MMOCR 0.x) or {"data_list": [{"img_path", "instances"}]} (MMOCR 1.x)
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from core.data.convert.source import (
    IMAGE_SUFFIXES,
    ImageFinder,
    Listing,
    ReadOptions,
    first_line,
    listed,
    malformed,
    numbered_lines,
    parse_json,
    pick_file,
    read_bytes,
)
from core.errors import DataError

Rows = Iterator[tuple[int, str, str]]  # line or entry from 1, image, label

LABELS = "a folder with labels.tsv (image<TAB>label), labels.csv (image,label) or labels.json, or such a file"
LABEL_FILES = ("labels.tsv", "labels.csv", "labels.json")
IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "path", "name")
LABEL_COLUMNS = ("label", "text", "word", "transcription")

ICDAR = 'a folder of word images with gt.txt (lines like word_1.png, "Tiredness"), or the .txt file with --images'
ICDAR_FILES = ("gt.txt", "*_GT.txt", "*_gt.txt")
ICDAR_LINE = re.compile(r'\s*([^,"]+\.\w+)\s*,\s*"(.*)"\s*')

OCCLUSION = "a .txt list with lines like heavy/1.png label (tab or space between), images counted from its folder or --images"
OCCLUSION_LINE = re.compile(rf"\s*(.+?(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))}))(?:\t|[ ]+)(.*)", re.IGNORECASE)

UNION14M = 'train_hard.jsonl (lines {"filename": ..., "text": ...}) or its .json ({"data_list": [...]}) below Union14M-L'
LEVELS = 4  # folders above the annotations that image paths may count from (it is Union14M-L)


def read_list(
    source: Path,
    options: ReadOptions,
    patterns: tuple[str, ...],
    rows_of: Callable[[Path], Rows],
    root_of: Callable[[Path, str], Path] = lambda path, image: path.parent,
) -> Listing:
    """The words of one list, in its order; `root_of` (list, first image) is the folder that image paths count from."""
    path, finder = pick_file(source, patterns, options.split), None
    for number, image, label in rows_of(path):
        finder = finder or ImageFinder(options.images or root_of(path, image))
        yield listed(f"{path.name}:{number} {image}", label, finder.at(image), image)


def line_rows(path: Path, line_format: re.Pattern, expected: str) -> Rows:
    """Rows of a text file whose lines hold an image and its label."""
    for number, line in numbered_lines(path):
        match = line_format.fullmatch(line)
        if not match:
            raise malformed(path, number, expected, line)
        yield number, match[1].strip(), match[2]


def detect_labels(source: Path) -> bool:
    names = any((source / name).is_file() for name in LABEL_FILES)
    return source.suffix in (".tsv", ".csv") or source.name in LABEL_FILES or names


def read_labels(source: Path, options: ReadOptions) -> Listing:
    return read_list(source, options, LABEL_FILES, label_rows)


def label_rows(path: Path) -> Rows:
    rows = {".json": json_rows, ".csv": csv_rows}.get(path.suffix, tsv_rows)
    for number, image, label in rows(path):
        header = number == 1 and image.strip().lower() in IMAGE_COLUMNS and label.strip().lower() in LABEL_COLUMNS
        if not header or path.suffix == ".json":
            yield number, image, label


def tsv_rows(path: Path) -> Rows:
    """The label is all that follows the first tab, quotes included."""
    for number, line in numbered_lines(path):
        image, tab, label = line.partition("\t")
        if not tab:
            raise malformed(path, number, "image<TAB>label", line)
        yield number, image, label


def csv_rows(path: Path) -> Rows:
    """Fields are quoted as spreadsheets do."""
    numbered = list(numbered_lines(path))
    numbers = [number for number, _ in numbered]
    lines = csv.reader(io.StringIO("\n".join(text for _, text in numbered)), strict=True)
    try:
        for row in lines:
            number = numbers[lines.line_num - 1]  # of the file, where blank lines count
            if len(row) != 2:
                raise malformed(path, number, "image,label (a label with a comma in double quotes)", ",".join(row))
            yield number, row[0], row[1]
    except csv.Error as error:
        raise DataError(f"{path}, line {numbers[lines.line_num - 1]}: {error}") from error


def json_rows(path: Path) -> Rows:
    """Rows of {"image": "label", ...} or [{"image": ..., "label": ...}, ...]."""
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


def detect_icdar(source: Path) -> bool:
    files = [source] if source.suffix == ".txt" else [path for pattern in ICDAR_FILES for path in source.glob(pattern)]
    return any(ICDAR_LINE.fullmatch(first_line(path)) for path in files)


def read_icdar(source: Path, options: ReadOptions) -> Listing:
    return read_list(source, options, ICDAR_FILES, icdar_rows)


def icdar_rows(path: Path) -> Rows:
    for number, image, label in line_rows(path, ICDAR_LINE, 'word_1.png, "label"'):
        yield number, image, unescape(label)


def unescape(text: str) -> str:
    r"""An ICDAR label without its escapes: \" is a double quote, \\ a backslash."""
    return re.sub(r'\\(["\\])', r"\1", text)


def detect_occlusion(source: Path) -> bool:
    return source.suffix == ".txt" and OCCLUSION_LINE.fullmatch(first_line(source)) is not None


def read_occlusion(source: Path, options: ReadOptions) -> Listing:
    expected = "image label, the image with its suffix"
    return read_list(source, options, ("*.txt",), lambda path: line_rows(path, OCCLUSION_LINE, expected))


def detect_union14m(source: Path) -> bool:
    if source.suffix == ".jsonl":
        return '"filename"' in first_line(source) and '"text"' in first_line(source)
    return source.suffix == ".json" and source.is_file() and b'"data_list"' in read_bytes(source)


def read_union14m(source: Path, options: ReadOptions) -> Listing:
    return read_list(source, options, ("*.jsonl", "*.json"), union14m_rows, union14m_root)


def union14m_root(path: Path, image: str) -> Path:
    """The nearest folder above the annotations that holds the first image."""
    above = list(path.resolve().parents)[:LEVELS]
    root = next((folder for folder in above if (folder / image).is_file()), None)
    if root is None:
        raise DataError(
            f"{path}: {image} is in none of {above[0]} ... {above[-1]}; name the folder it counts from with --images"
        )
    return root


def union14m_rows(path: Path) -> Rows:
    """Rows of either layout; an image of several instances has one row per instance."""
    if path.suffix == ".jsonl":
        for number, line in numbered_lines(path):
            try:
                entry = json.loads(line)
                image, label = entry["filename"], entry["text"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise malformed(path, number, '{"filename": ..., "text": ...}', line) from error
            yield number, str(image), str(label)
        return
    content = parse_json(path)
    entries = content.get("data_list") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{path}: expected {{"metainfo": ..., "data_list": [...]}}')
    for number, entry in enumerate(entries, start=1):
        try:
            rows = [(str(entry["img_path"]), str(instance["text"])) for instance in entry["instances"]]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path}, entry {number}: expected img_path and instances with text, found {str(entry)[:80]}"
            ) from error
        for image, label in rows:
            yield number, image, label
