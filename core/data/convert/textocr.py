"""TextOCR: words cut from OpenImages scenes; "." stands for a word that is illegible or not English."""

from pathlib import Path

from core.data.convert.annotated_json import annotations, holds
from core.data.convert.source import ImageFinder, LeftOut, Listing, Wanted, box_around, listed, pick_file
from core.errors import DataError

LOOKS = 'TextOCR_0.1_train.json or _val.json (imgs, anns with "points" and "utf8_string", imgToAnns); say --images'
ILLEGIBLE = "."


def certain(source: Path) -> bool:
    return holds(source, b'"points"', b'"legibility"')


def read(source: Path, wanted: Wanted) -> Listing:
    """The words of one file; the box around the polygon is cut, text that runs upwards stays as it is.

    Raises:
        DataError: the JSON is not of that layout.
    """
    path = pick_file(source, ("*.json",), wanted.split)
    finder = ImageFinder(wanted.images or path.parent)
    for key, image, fields, box in annotations(path):
        label, points, name = fields.get("utf8_string"), fields.get("points"), image["file_name"]
        if not isinstance(label, str):
            raise DataError(f"{path}: {key}: utf8_string = {label!r}, expected a string")
        numbers = isinstance(points, list) and all(isinstance(point, int | float) for point in points)
        if points and not (numbers and len(points) % 2 == 0):
            raise DataError(f"{path}: {key}: points = {str(points)[:80]}, expected [x1, y1, x2, y2, ...]")
        if label == ILLEGIBLE:
            yield LeftOut(key, "illegible or not English (.)")
        else:
            yield listed(key, label, finder.find(name), name, box_around(points) if points else box)
