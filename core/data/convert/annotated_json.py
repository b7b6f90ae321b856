"""The JSON layout that COCO-Text and TextOCR share: imgs, anns, and imgToAnns from one to the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from core.data.convert.labels import parse_json
from core.data.convert.source import Box
from core.errors import DataError

KEYS = ("imgs", "anns", "imgToAnns")


class Annotation(NamedTuple):
    key: str
    image: dict
    fields: dict
    box: Box  # from bbox = x, y, width, height


def annotations(path: Path) -> Iterator[Annotation]:
    """Every annotation, image by image in the order of the file.

    Raises:
        DataError: a part is missing; the message names the file and the annotation.
    """
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


def holds(source: Path, mark: bytes, without: bytes | None = None) -> bool:
    """Whether SOURCE is, or is a folder of, JSON of this layout with one field (and without another)."""
    files = [source] if source.suffix == ".json" else sorted(source.glob("*.json"))
    for path in files:
        text = path.read_bytes() if path.is_file() else b""
        if b'"imgToAnns"' in text and mark in text and (without is None or without not in text):
            return True
    return False
