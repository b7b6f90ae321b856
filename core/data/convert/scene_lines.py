"""Scenes with one text file each, one line per word; the axis-aligned box around each word's polygon is cut out.

icdar-scenes  2015: x1,y1,...,x4,y4,text; 2013: left, top, right, bottom, "text" or the same with spaces
mlt-scenes    ICDAR MLT 2017 and 2019: x1,y1,...,x4,y4,script,text
rctw17        RCTW-17: x1,y1,...,x4,y4,difficult,"text"
uber-text     Uber-Text: x1 y1 x2 y2 ...<TAB>text<TAB>category

"###" marks text that is not to be read, in Uber-Text "*" a word of it.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from core.data.convert.lists import MLT_SCRIPTS, QUOTED_COLUMNS, SCRIPTS, unescape
from core.data.convert.source import (
    Box,
    ImageFinder,
    LeftOut,
    Listing,
    SourceOptions,
    box_around,
    first_line,
    listed,
    malformed,
    numbered_lines,
)
from core.errors import DataError

ICDAR = "a folder with gt_img_1.txt, ... (x1,y1,...,x4,y4,text) and the scene images in it or at --images"
MLT = "a folder with gt_img_1.txt or tr_img_00001.txt, ... (x1,y1,...,x4,y4,script,text) and the scenes in it or at --images"
RCTW17 = 'a folder with image_0.txt, ... (x1,y1,...,x4,y4,difficult,"text") and the scenes in it or at --images'
UBER = "a folder with truth_<scene>.txt, ... (x1 y1 x2 y2 ...<TAB>text<TAB>category) and the scenes in it or at --images"
PREFIXES = ("gt_", "truth_")  # of a text file's name before its image's
LOOKED_AT = 50  # files whose first lines detection reads: some scenes have no word

NUMBER = r"(-?\d+(?:\.\d+)?)"
CORNERS = r"\s*" + r"\s*,\s*".join([NUMBER] * 8) + r"\s*,"
QUOTED = re.compile(r"\s*" + r"[\s,]+".join([NUMBER] * 4) + r'[\s,]+"(.*)"\s*')
POLYGON = re.compile(CORNERS + "(.*)")
PLAIN = re.compile(r"\s*" + r"\s*,\s*".join([NUMBER] * 4) + r'\s*,\s*([^"\s].*|)')
SCRIPT_LINE = re.compile(rf"{CORNERS}\s*({'|'.join(SCRIPTS)})\s*,(.*)")
DIFFICULT_LINE = re.compile(CORNERS + r'\s*([01])\s*,\s*"(.*)"\s*')
UBER_LINE = re.compile(rf"\s*{NUMBER}(?:[ ,]+{NUMBER[1:-1]}){{5,}}\s*\t.*")


class Word(NamedTuple):
    """A word of a scene, or why it is left out."""

    box: Box
    label: str
    reason: str | None = None


Parse = Callable[[Path, int, str, SourceOptions], Word]  # file, line from 1, text of the line


def read_scenes(source: Path, options: SourceOptions, pattern: str, parse: Parse) -> Listing:
    """The words of all scenes, scenes sorted by name and img_2 before img_10."""
    files = sorted(source.glob(pattern), key=lambda path: natural(path.stem))
    if not files:
        raise DataError(f"{source}: no {pattern} here; name the folder that holds them, and the images with --images")
    finder = ImageFinder(options.images or source)
    for path in files:
        scene = next((path.stem.removeprefix(prefix) for prefix in PREFIXES if path.stem.startswith(prefix)), path.stem)
        file = finder.find(scene)
        for number, line in numbered_lines(path):
            box, label, reason = parse(path, number, line, options)
            key = f"{path.name}:{number}"
            yield LeftOut(key, reason, label) if reason else listed(key, label, file, scene, box)


def detect(source: Path, line_format: re.Pattern, pattern: str = "*.txt") -> bool:
    """Whether a folder's text files begin with lines of a format."""
    lines = (first_line(path) for path in itertools.islice(sorted(source.glob(pattern)), LOOKED_AT))
    return source.is_dir() and any(line_format.fullmatch(line) for line in lines)


def detect_icdar(source: Path) -> bool:
    others = any(detect(source, line_format, "gt_*.txt") for line_format in (SCRIPT_LINE, DIFFICULT_LINE, UBER_LINE))
    return source.is_dir() and any(source.glob("gt_*.txt")) and not others


def read_icdar(source: Path, options: SourceOptions) -> Listing:
    return read_scenes(source, options, "gt_*.txt", parse_icdar)


def parse_icdar(path: Path, number: int, line: str, options: SourceOptions) -> Word:
    if SCRIPT_LINE.fullmatch(line):
        raise malformed(path, number, "a label, not a script's name before it (ICDAR MLT: --format mlt-scenes)", line)
    if DIFFICULT_LINE.fullmatch(line):
        raise malformed(path, number, "a label, not a mark of difficulty before it (RCTW-17: --format rctw17)", line)
    for shape, quoted in ((QUOTED, True), (POLYGON, False), (PLAIN, False)):
        match = shape.fullmatch(line)
        if match and "\t" not in match[match.lastindex].strip() and not (quoted and QUOTED_COLUMNS.search(line)):
            *points, text = match.groups()
            return Word(box_around([float(point) for point in points]), unescape(text) if quoted else text.strip())
    raise malformed(path, number, 'x1,y1,...,x4,y4,text or left, top, right, bottom, "text", no further column', line)


def detect_mlt(source: Path) -> bool:
    return detect(source, SCRIPT_LINE)


def read_mlt(source: Path, options: SourceOptions) -> Listing:
    return read_scenes(source, options, "*.txt", parse_mlt)


def parse_mlt(path: Path, number: int, line: str, options: SourceOptions) -> Word:
    match = SCRIPT_LINE.fullmatch(line)
    if not match or "\t" in match[10].strip():
        raise malformed(
            path, number, f"x1,y1,...,x4,y4,script,text (script: {', '.join(MLT_SCRIPTS)}, ...), no further column", line
        )
    return Word(box_around([float(point) for point in match.groups()[:8]]), match[10].strip(), options.other_language(match[9]))


def detect_rctw17(source: Path) -> bool:
    return detect(source, DIFFICULT_LINE)


def read_rctw17(source: Path, options: SourceOptions) -> Listing:
    return read_scenes(source, options, "*.txt", parse_rctw17)


def parse_rctw17(path: Path, number: int, line: str, options: SourceOptions) -> Word:
    """Words marked as difficult are read like others."""
    match = DIFFICULT_LINE.fullmatch(line)
    if not match or "\t" in match[10].strip():
        raise malformed(path, number, 'x1,y1,...,x4,y4,difficult,"text" (difficult: 0 or 1), no further column', line)
    return Word(box_around([float(point) for point in match.groups()[:8]]), match[10].strip())


def detect_uber(source: Path) -> bool:
    return detect(source, UBER_LINE)


def read_uber(source: Path, options: SourceOptions) -> Listing:
    return read_scenes(source, options, "*.txt", parse_uber)


def parse_uber(path: Path, number: int, line: str, options: SourceOptions) -> Word:
    fields = line.split("\t")
    if not UBER_LINE.fullmatch(line) or len(fields) != 3:
        raise malformed(path, number, "x1 y1 x2 y2 ...<TAB>text<TAB>category", line)
    points = [float(point) for point in re.findall(NUMBER, fields[0])]
    if len(points) % 2:
        raise malformed(path, number, "as many y as x before the text", line)
    label = fields[1].strip()
    return Word(box_around(points), label, "unreadable characters (*)" if "*" in label else None)


def natural(name: str) -> list[tuple[int, str]]:
    """A sorting key: img_2 before img_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
