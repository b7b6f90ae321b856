"""Word images that a file lists with their labels.

labels        labels.tsv, .csv, .json or .jsonl beside the images, or gt.txt and rec_gt.txt with a tab between image and label
icdar-words   ICDAR 2013 and 2015 word recognition: lines like `word_1.png, "Tiredness"`, with or without byte order mark
mlt-words     ICDAR MLT 2017 and 2019 word recognition: lines like `word_1.png,Latin,Tiredness`
occlusion     HOST, WOST and OCTT: lines like `heavy/1.png label`, with spaces or a tab between
union14m      JSON lines {"filename", "text"} (MMOCR 0.x) or {"data_list": [{"img_path", "instances"}]} (MMOCR 1.x)
"""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from core.data.convert.source import (
    IMAGE_SUFFIXES,
    ImageFinder,
    LeftOut,
    Listing,
    SourceOptions,
    first_line,
    json_lines,
    label_text,
    listed,
    malformed,
    numbered_lines,
    parse_json,
    pick_file,
    read_bytes,
)
from core.errors import DataError


class Row(NamedTuple):
    """A word that a list names."""

    number: int  # line or entry, from 1
    image: str
    label: str | None  # None: the list has none for this image
    reason: str | None = None  # why the word is left out


Rows = Iterator[Row]

LABELS = "a folder with labels.tsv or gt.txt (image<TAB>label), labels.csv (image,label), labels.json or .jsonl, or such a file"
LABEL_FILES = ("labels.tsv", "labels.csv", "labels.json", "labels.jsonl")
TAB_FILES = ("gt.txt", "rec_gt*.txt")  # lists only if their first line has a tab
IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "path", "name")
LABEL_COLUMNS = ("label", "text", "word", "transcription")

ICDAR = 'a folder of word images with gt.txt (lines like word_1.png, "Tiredness"), or the .txt file with --images'
ICDAR_FILES = ("gt.txt", "*_GT.txt", "*_gt.txt")
ICDAR_LINE = re.compile(r'\s*([^,"]+\.\w+)\s*,\s*"(.*)"\s*')
QUOTED_COLUMNS = re.compile(r'(?<!\\)"\s*,\s*"')  # between two columns in quotes, not inside one label

SUFFIX = f"(?i:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})"
TAB_LINE = re.compile(rf"[^\t]+{SUFFIX}\t.*")

MLT_SCRIPTS = ("Arabic", "Bangla", "Chinese", "Hindi", "Japanese", "Korean", "Latin", "Mixed", "None", "Symbols")
OTHER_SCRIPTS = (
    *("Cyrillic", "Devanagari", "English", "Greek", "Gujarati", "Gurmukhi", "Hebrew", "Kannada", "Khmer", "Malayalam"),
    *("Marathi", "Odia", "Punjabi", "Tamil", "Telugu", "Thai", "Tibetan", "Urdu", "Vietnamese"),
)
SCRIPTS = MLT_SCRIPTS + OTHER_SCRIPTS  # names that stand before a word, here and in other sets of MLT's layout
MLT = "a folder of word images with gt.txt (lines like word_1.png,Latin,Tiredness), or the .txt file with --images"
MLT_LINE = re.compile(rf"\s*([^,]+{SUFFIX})\s*,\s*({'|'.join(SCRIPTS)})\s*,(.*)")

OCCLUSION = "a .txt list with lines like heavy/1.png label (space or tab between), images counted from its folder or --images"
OCCLUSION_LINE = re.compile(rf"\s*(.+?{SUFFIX})(?:\t|[ ]+)(.*)")
STRUCTURES = ("[{", "[[", '["', '{"')  # how JSON begins, such as the boxes in PPOCRLabel's Label.txt

UNION14M = 'train_hard.jsonl (lines {"filename": ..., "text": ...}) or its .json ({"data_list": [...]}) below Union14M-L'
LEVELS = 4  # folders above the annotations that image paths may count from (it is Union14M-L)


def read_list(
    source: Path,
    options: SourceOptions,
    patterns: tuple[str, ...],
    rows_of: Callable[[Path], Rows],
    root_of: Callable[[Path, str], Path] = lambda path, image: path.parent,
) -> Listing:
    """The words of one list, in its order; `root_of` (list, first image) is the folder that image paths count from."""
    path, finder = pick_file(source, patterns, options.split), None
    for number, image, label, reason in rows_of(path):
        finder, key = finder or ImageFinder(options.images or root_of(path, image)), f"{path.name}:{number} {image}"
        yield LeftOut(key, reason, label or "") if reason else listed(key, label, finder.at(image), image)


def matched_lines(path: Path, line_format: re.Pattern, expected: str) -> Iterator[tuple[int, re.Match]]:
    """The lines of a text file in a format whose last group is the label, which no tab can be part of."""
    for number, line in numbered_lines(path):
        match = line_format.fullmatch(line)
        if not match or "\t" in match[match.lastindex]:
            raise malformed(path, number, f"{expected}, no further column", line)
        yield number, match


def text_files(source: Path, patterns: tuple[str, ...] = ("gt.txt",)) -> list[Path]:
    """SOURCE if it is a .txt file, or the files of these names in it."""
    return [source] if source.suffix == ".txt" else [path for pattern in patterns for path in sorted(source.glob(pattern))]


def detect_labels(source: Path) -> bool:
    names = source.suffix in (".tsv", ".csv") or source.name in LABEL_FILES
    names = names or (source.suffix == ".jsonl" and not detect_union14m(source))
    return names or any((source / name).is_file() for name in LABEL_FILES) or bool(tab_lists(source))


def tab_lists(source: Path) -> list[Path]:
    """The text files that are lists of image<TAB>label, and not of image<TAB>boxes."""
    files = [(path, first_line(path)) for path in text_files(source, TAB_FILES)]
    return [path for path, line in files if TAB_LINE.fullmatch(line) and not line.partition("\t")[2].startswith(STRUCTURES)]


def read_labels(source: Path, options: SourceOptions) -> Listing:
    return read_list(source, options, (*LABEL_FILES, *(path.name for path in tab_lists(source))), label_rows)


def label_rows(path: Path) -> Rows:
    rows = {".json": json_rows, ".jsonl": json_rows, ".csv": csv_rows}.get(path.suffix, tsv_rows)
    for row in rows(path):
        header = row.number == 1 and rows is not json_rows and row.label.strip().lower() in LABEL_COLUMNS
        if not header or row.image.strip().lower() not in IMAGE_COLUMNS:
            yield row


def tsv_rows(path: Path) -> Rows:
    """Two columns, quotes being part of the label."""
    for number, line in numbered_lines(path):
        image, *labels = line.split("\t")
        if len(labels) != 1:
            raise malformed(path, number, f"image<TAB>label{separated(line) if not labels else ', no third column'}", line)
        if labels[0].lstrip().startswith(STRUCTURES):
            raise malformed(path, number, "one word's text after the tab (for PPOCRLabel's boxes: --format ppocrlabel)", line)
        yield Row(number, image, labels[0])


def separated(line: str) -> str:
    """A hint at the separator that a line seems to have, or an empty string."""
    names = {"\t": "tabs (.tsv)", ";": "semicolons", "|": "bars", ",": "commas (.csv)"}
    seen = next((names[sign] for sign in names if line.count(sign) == 1), None)
    return f", not separated by {seen}" if seen else ""


def csv_rows(path: Path) -> Rows:
    """Rows of an image and its label."""
    return (Row(number, *fields) for number, fields in csv_fields(path, "image,label"))


def csv_fields(path: Path, columns: str) -> Iterator[tuple[int, list[str]]]:
    """Every line's number and its fields, as many as there are columns; they are quoted as spreadsheets do."""
    numbered = list(numbered_lines(path))
    numbers = [number for number, _ in numbered]
    lines = csv.reader(io.StringIO("\n".join(text for _, text in numbered)), strict=True)
    try:
        for row in lines:
            number = numbers[lines.line_num - 1]  # of the file, where blank lines count
            if len(row) != columns.count(",") + 1:
                hint = separated(row[0]) if len(row) == 1 else ""
                raise malformed(path, number, f"{columns}{hint} (a label with a comma in double quotes)", ",".join(row))
            yield number, row
    except csv.Error as error:
        raise DataError(f"{path}, line {numbers[lines.line_num - 1]}: {error}") from error


def json_rows(path: Path) -> Rows:
    """Rows of {"image": "label", ...}, of [{"image": ..., "label": ...}, ...], or of one such object per line."""
    if path.suffix == ".jsonl":
        for number, entry in json_lines(path):
            yield json_row(number, f"{path}, line {number}", entry)
        return
    content = parse_json(path)
    if isinstance(content, dict):
        content = [{"image": image, "label": label} for image, label in content.items()]
    if not isinstance(content, list):
        raise DataError(f'{path}: expected {{"a.png": "label"}} or [{{"image": "a.png", "label": "label"}}]')
    for number, entry in enumerate(content, start=1):
        yield json_row(number, f"{path}, entry {number}", entry)


def json_row(number: int, place: str, entry: object) -> Row:
    """The row of one object, which has one of the usual names for image and one for label."""
    fields = entry if isinstance(entry, dict) else {}
    image = next((fields[name] for name in IMAGE_COLUMNS if name in fields), None)
    labels = [fields[name] for name in LABEL_COLUMNS if name in fields]
    if not labels or not isinstance(image, str):
        raise DataError(f'{place}: expected image and label, such as {{"filename": ..., "text": ...}}, found {entry!s:.80}')
    return Row(number, image, label_text(place, labels[0]))


def detect_icdar(source: Path) -> bool:
    return any(ICDAR_LINE.fullmatch(first_line(path)) for path in text_files(source, ICDAR_FILES))


def read_icdar(source: Path, options: SourceOptions) -> Listing:
    return read_list(source, options, ICDAR_FILES, icdar_rows)


def icdar_rows(path: Path) -> Rows:
    for number, match in matched_lines(path, ICDAR_LINE, 'word_1.png, "label"'):
        if QUOTED_COLUMNS.search(match[2]):
            raise malformed(path, number, 'word_1.png, "label", no further column', match[0])
        yield Row(number, match[1].strip(), unescape(match[2]))


def unescape(text: str) -> str:
    r"""An ICDAR label without its escapes: \" is a double quote, \\ a backslash."""
    return re.sub(r'\\(["\\])', r"\1", text)


def detect_mlt(source: Path) -> bool:
    return any(MLT_LINE.fullmatch(first_line(path)) for path in text_files(source, ICDAR_FILES))


def read_mlt(source: Path, options: SourceOptions) -> Listing:
    def rows(path: Path) -> Rows:
        for number, match in matched_lines(path, MLT_LINE, f"word_1.png,script,label (script: {', '.join(MLT_SCRIPTS)}, ...)"):
            yield Row(number, match[1].strip(), match[3].strip(), options.other_language(match[2]))

    return read_list(source, options, ICDAR_FILES, rows)


def detect_occlusion(source: Path) -> bool:
    return not tab_lists(source) and any(OCCLUSION_LINE.fullmatch(first_line(path)) for path in text_files(source))


def read_occlusion(source: Path, options: SourceOptions) -> Listing:
    def rows(path: Path) -> Rows:
        for number, match in matched_lines(path, OCCLUSION_LINE, "image label, the image with its suffix"):
            if match[2].lstrip().startswith(STRUCTURES):
                raise malformed(path, number, "one word's text after the image, not JSON", match[0])
            yield Row(number, match[1].strip(), match[2])

    return read_list(source, options, ("*.txt",), rows)


def detect_union14m(source: Path) -> bool:
    if source.suffix == ".jsonl":
        return source.name not in LABEL_FILES and '"filename"' in first_line(source) and '"text"' in first_line(source)
    return source.suffix == ".json" and source.is_file() and b'"data_list"' in read_bytes(source)


def read_union14m(source: Path, options: SourceOptions) -> Listing:
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
    """Rows of either layout."""
    if path.suffix == ".jsonl":
        yield from json_rows(path)
        return
    content = parse_json(path)
    entries = content.get("data_list") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{path}: expected {{"metainfo": ..., "data_list": [...]}}')
    for number, entry in enumerate(entries, start=1):
        image, instances = (entry.get("img_path"), entry.get("instances")) if isinstance(entry, dict) else (None, None)
        right = isinstance(image, str) and isinstance(instances, list)
        if not right or not all(isinstance(instance, dict) and "text" in instance for instance in instances):
            raise DataError(f"{path}, entry {number}: expected img_path and instances with text, found {entry!s:.80}")
        if len(instances) > 1:
            raise DataError(f"{path}, entry {number}: {len(instances)} texts for {image}, which is one word's image; keep one")
        for instance in instances:
            yield Row(number, image, label_text(f"{path}, entry {number}", instance["text"]))
