"""ICDAR end-to-end: one gt_<image>.txt per scene image, one line per word; the words are cut out.

2015: x1,y1,...,x4,y4,text (the axis-aligned box around the polygon is cut); 2013: left, top, right, bottom, "text" or the
same with spaces. "###" marks unreadable text.
"""

import re
from pathlib import Path

from core.data.convert.lists import unescape
from core.data.convert.source import (
    Box,
    ImageFinder,
    LeftOut,
    Listing,
    ReadOptions,
    box_around,
    listed,
    malformed,
    numbered_lines,
)
from core.errors import DataError

LOOKS = "a folder with gt_img_1.txt, ... (x1,y1,...,x4,y4,text) and the scene images in it or at --images"
NUMBER = r"(-?\d+(?:\.\d+)?)"
QUOTED = re.compile(r"\s*" + r"[\s,]+".join([NUMBER] * 4) + r'[\s,]+"(.*)"\s*')
POLYGON = re.compile(r"\s*" + r"\s*,\s*".join([NUMBER] * 8) + r"\s*,(.*)")
PLAIN = re.compile(r"\s*" + r"\s*,\s*".join([NUMBER] * 4) + r"\s*,(.*)")
IGNORED = "###"


def detect(source: Path) -> bool:
    return source.is_dir() and any(source.glob("gt_*.txt"))


def read(source: Path, options: ReadOptions) -> Listing:
    """The words of all scenes, scenes sorted by name and img_2 before img_10."""
    files = sorted(source.glob("gt_*.txt"), key=lambda path: natural(path.stem))
    if not files:
        raise DataError(f"{source}: no gt_*.txt here; name the folder that holds them, and the images with --images")
    finder = ImageFinder(options.images or source)
    for path in files:
        scene = path.stem.removeprefix("gt_")
        file = finder.find(scene)
        for number, line in numbered_lines(path):
            box, label = parse(path, number, line)
            key = f"{path.name}:{number}"
            yield LeftOut(key, "marked unreadable (###)") if label == IGNORED else listed(key, label, file, scene, box)


def parse(path: Path, number: int, line: str) -> tuple[Box, str]:
    """The box and the label of a line."""
    for shape, quoted in ((QUOTED, True), (POLYGON, False), (PLAIN, False)):
        match = shape.fullmatch(line)
        if match:
            *points, text = match.groups()
            return box_around([float(point) for point in points]), unescape(text) if quoted else text.strip()
    raise malformed(path, number, 'x1,y1,...,x4,y4,text or left, top, right, bottom, "text"', line)


def natural(name: str) -> list[tuple[int, str]]:
    """A sorting key: img_2 before img_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
