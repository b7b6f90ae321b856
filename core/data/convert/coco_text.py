"""COCO-Text and TextOCR: words cut from scenes. Both are JSON of imgs, anns, and imgToAnns from one to the other.

COCO-Text (v1.4 and v2, scenes of COCO train2014): by default legible, English, machine printed words. As in the converter
that the field's training set was made with, labels are unescaped from HTML, a label with "#" inside or "*" at an end is left
out (unreadable characters), and each box is grown by 2 pixels.

TextOCR (scenes of OpenImages): "." stands for a word that is illegible or not English. The box around the polygon is cut;
text that runs upwards stays as it is.
"""

import html
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from core.data.convert.source import (
    Box,
    ImageFinder,
    LeftOut,
    Listing,
    ReadOptions,
    box_around,
    listed,
    parse_json,
    pick_file,
)
from core.errors import DataError

COCO = 'COCO_Text.json or cocotext.v2.json (imgs, anns with "legibility", imgToAnns); say --split and --images'
PAD = 2  # pixels
TEXTOCR = 'TextOCR_0.1_train.json or _val.json (imgs, anns with "points" and "utf8_string", imgToAnns); say --images'
ILLEGIBLE = "."
KEYS = ("imgs", "anns", "imgToAnns")


class Annotation(NamedTuple):
    key: str
    image: dict
    fields: dict
    box: Box  # from bbox = x, y, width, height


def annotations(path: Path) -> Iterator[Annotation]:
    """Every annotation, image by image in the order of the file."""
    content = parse_json(path)
    missing = [key for key in KEYS if not isinstance(content, dict) or not isinstance(content.get(key), dict)]
    if missing:
        raise DataError(f"{path}: {', '.join(missing)} missing; expected an object with {', '.join(KEYS)}")
    for image_id, image in content["imgs"].items():
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
            raise DataError(f"{path}: image {image_id}: expected an object with file_name, found {str(image)[:80]}")
        for number in content["imgToAnns"].get(image_id, []):
            fields = content["anns"].get(str(number))
            if not isinstance(fields, dict):
                raise DataError(f"{path}: annotation {number} of image {image_id} is named in imgToAnns and not in anns")
            box = fields.get("bbox")
            if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
                raise DataError(f"{path}: annotation {number}: bbox = {box!r}, expected [x, y, width, height]")
            left, top, width, height = box
            key = f"{path.name}:{image['file_name']}#{number}"
            yield Annotation(key, image, fields, (left, top, left + width, top + height))


def detect(source: Path, field: bytes, without: bytes | None = None) -> bool:
    """Whether SOURCE is, or is a folder of, JSON of this layout that has one field (and lacks another)."""
    files = [source] if source.suffix == ".json" else sorted(source.glob("*.json"))
    for path in files:
        text = path.read_bytes() if path.is_file() else b""
        if b'"imgToAnns"' in text and field in text and (without is None or without not in text):
            return True
    return False


def detect_coco(source: Path) -> bool:
    return detect(source, b'"legibility"')


def read_coco(source: Path, options: ReadOptions) -> Listing:
    """The words of one split ("all": of every split)."""
    path = pick_file(source, ("*.json",), None)
    finder = ImageFinder(options.images or path.parent)
    words = list(annotations(path))
    sets = Counter(str(word.image.get("set")) for word in words)
    if options.split != "all" and options.split not in sets:
        held = ", ".join(f"{name} ({count} words)" for name, count in sorted(sets.items()))
        raise DataError(f"{path}: --split {options.split} is not in it; it holds {held}; name one, or all")
    for word in words:
        if options.split in ("all", word.image.get("set")):
            label = html.unescape(str(word.fields.get("utf8_string", "")).strip())
            name = word.image["file_name"]
            reason = reason_left_out(word, label, options)
            yield LeftOut(word.key, reason, label) if reason else listed(word.key, label, finder.find(name), name, word.box)


def reason_left_out(word: Annotation, label: str, options: ReadOptions) -> str | None:
    """Why a word of COCO-Text is left out, or None."""
    required = {"legibility": options.legibility, "language": options.language, "class": options.writing}
    for field, value in required.items():
        if value != "any" and word.fields.get(field) != value:
            return f"{field} is {word.fields.get(field)!r}, not {value!r}"
    if not label:
        return "empty label"
    if (label != "#" and "#" in label) or label.startswith("*") or label.endswith("*"):
        return "unreadable characters (# or *)"
    return None


def detect_textocr(source: Path) -> bool:
    return detect(source, b'"points"', without=b'"legibility"')


def read_textocr(source: Path, options: ReadOptions) -> Listing:
    path = pick_file(source, ("*.json",), options.split)
    finder = ImageFinder(options.images or path.parent)
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
