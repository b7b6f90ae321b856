"""HOST, WOST and OCTT as lists: a line an image, `path label`, the two parted by a tab or by white space."""

import re
from pathlib import Path

from core.data.convert.source import (
    IMAGE_SUFFIXES,
    ImageFinder,
    Listing,
    Wanted,
    first_line,
    listed,
    malformed,
    numbered_lines,
    pick_file,
)

LOOKS = "a .txt list with lines like heavy/1.png label (tab or space between), images counted from its folder or --images"
LINE = re.compile(rf"\s*(.+?(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))}))(?:\t|[ ]+)(.*)", re.IGNORECASE)


def certain(source: Path) -> bool:
    return source.suffix == ".txt" and LINE.fullmatch(first_line(source)) is not None


def read(source: Path, wanted: Wanted) -> Listing:
    """The words of the list, in its order.

    Raises:
        DataError: a line is not as above.
    """
    path = pick_file(source, ("*.txt",), wanted.split)
    finder = ImageFinder(wanted.images or path.parent)
    for number, line in numbered_lines(path):
        match = LINE.fullmatch(line)
        if not match:
            raise malformed(path, number, "image label, the image with its suffix", line)
        yield listed(f"{path.name}:{number} {match[1]}", match[2], finder.at(match[1]), match[1])
