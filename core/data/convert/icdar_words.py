"""ICDAR 2013 and 2015 word recognition: lines like `word_1.png, "Tiredness"`, with or without byte order mark.

The organisers escape double quotes and backslashes inside a label with a backslash.
"""

import re
from pathlib import Path

from core.data.convert.source import ImageFinder, Listing, Wanted, first_line, listed, malformed, numbered_lines, pick_file

LOOKS = 'a folder of word images with gt.txt (lines like word_1.png, "Tiredness"), or the .txt file with --images'
PATTERNS = ("gt.txt", "*_GT.txt", "*_gt.txt")
LINE = re.compile(r'\s*([^,"]+\.\w+)\s*,\s*"(.*)"\s*')


def certain(source: Path) -> bool:
    files = [source] if source.suffix == ".txt" else [path for pattern in PATTERNS for path in source.glob(pattern)]
    return any(LINE.fullmatch(first_line(path)) for path in files)


def read(source: Path, wanted: Wanted) -> Listing:
    """The words of the list, in its order.

    Raises:
        DataError: a line is not as above.
    """
    path = pick_file(source, PATTERNS, wanted.split)
    finder = ImageFinder(wanted.images or path.parent)
    for number, line in numbered_lines(path):
        match = LINE.fullmatch(line)
        if not match:
            raise malformed(path, number, 'word_1.png, "label"', line)
        image = match[1].strip()
        yield listed(f"{path.name}:{number} {image}", unescape(match[2]), finder.at(image), image)


def unescape(text: str) -> str:
    r"""A label without its escapes: \" is a double quote, \\ a backslash."""
    return re.sub(r'\\(["\\])', r"\1", text)
