"""COCO-Text v1.4 and v2: words cut from COCO train2014 scenes, chosen by their attributes.

Kept unless said otherwise: legible, English, machine printed. As in the converter that the field's training set was made
with, labels are unescaped from HTML, and a label with "#" inside or "*" at an end is left out (unreadable characters); each
box is grown by 2 pixels.
"""

import html
from collections import Counter
from pathlib import Path

from core.data.convert.annotated_json import Annotation, annotations, holds
from core.data.convert.source import ImageFinder, LeftOut, Listing, Wanted, listed, pick_file
from core.errors import DataError

LOOKS = 'COCO_Text.json or cocotext.v2.json (imgs, anns with "legibility", imgToAnns); say --split and --images'
PAD = 2  # pixels


def certain(source: Path) -> bool:
    return holds(source, b'"legibility"')


def read(source: Path, wanted: Wanted) -> Listing:
    """The words of one split ("all" for every one).

    Raises:
        DataError: the JSON is not of that layout, or no image is of the split.
    """
    path = pick_file(source, ("*.json",), None)
    finder = ImageFinder(wanted.images or path.parent)
    found = list(annotations(path))
    sets = Counter(str(annotation.image.get("set")) for annotation in found)
    if wanted.split != "all" and wanted.split not in sets:
        held = ", ".join(f"{name} ({count} words)" for name, count in sorted(sets.items()))
        raise DataError(f"{path}: --split {wanted.split} is not in it; it holds {held}; name one, or all")
    for annotation in found:
        if wanted.split in ("all", annotation.image.get("set")):
            label = html.unescape(str(annotation.fields.get("utf8_string", "")).strip())
            reason = unwanted(annotation, label, wanted)
            name = annotation.image["file_name"]
            yield (
                LeftOut(annotation.key, reason, label)
                if reason
                else listed(annotation.key, label, finder.find(name), name, annotation.box)
            )


def unwanted(annotation: Annotation, label: str, wanted: Wanted) -> str | None:
    """Why a word is left out, or None."""
    asked = {"legibility": wanted.legibility, "language": wanted.language, "class": wanted.writing}
    for field, value in asked.items():
        if value != "any" and annotation.fields.get(field) != value:
            return f"{field} is {annotation.fields.get(field)!r}, not {value!r}"
    if not label:
        return "empty label"
    if (label != "#" and "#" in label) or label.startswith("*") or label.endswith("*"):
        return "unreadable characters (# or *)"
    return None
