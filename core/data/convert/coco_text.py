"""COCO-Text, TextOCR and OpenVINO's Open Images: words cut from scenes that a JSON file lists beside its annotations.

COCO-Text and TextOCR are JSON of imgs, anns, and imgToAnns from one to the other.

COCO-Text (v1.4 and v2, scenes of COCO train2014): by default legible, English, machine printed words. As in the converter
that the field's training set was made with, labels are unescaped from HTML, a label with "#" inside or "*" at an end is left
out (unreadable characters), and each box is grown by 2 pixels.

TextOCR (scenes of OpenImages): "." stands for a word that is illegible or not English. The box around the polygon is cut;
text that runs upwards stays as it is.

Open Images as OpenVINO annotated it: images and annotations are lists, and each annotation names its image. By default legible
English words, as in the converter of the field's training set.
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
    SourceOptions,
    label_text,
    listed,
    parse_json,
    pick_file,
    polygon,
    rectangle,
)
from core.errors import DataError

COCO = 'COCO_Text.json or cocotext.v2.json (imgs, anns with "legibility", imgToAnns); say --split and --images'
PAD = 2  # pixels
TEXTOCR = 'TextOCR_0.1_train.json or _val.json (imgs, anns with "points" and "utf8_string", imgToAnns); say --images'
ILLEGIBLE = "."
OPEN_IMAGES = "text_spotting_openimages_v5_train_1.json, ... of OpenVINO (images, annotations with attributes) and --images"
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
            box = rectangle(f"{path}: annotation {number}", fields.get("bbox"))
            yield Annotation(f"{path.name}:{image['file_name']}#{number}", image, fields, box)


def json_files(source: Path) -> list[Path]:
    return [path for path in ([source] if source.suffix == ".json" else sorted(source.glob("*.json"))) if path.is_file()]


def detect(source: Path, field: bytes, without: bytes | None = None) -> bool:
    """Whether SOURCE is, or is a folder of, JSON of this layout that has one field (and lacks another)."""
    for path in json_files(source):
        text = path.read_bytes()
        if b'"imgToAnns"' in text and field in text and (without is None or without not in text):
            return True
    return False


def detect_coco(source: Path) -> bool:
    return detect(source, b'"legibility"')


def read_coco(source: Path, options: SourceOptions) -> Listing:
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
            label = html.unescape((label_text(f"{path}: {word.key}", word.fields.get("utf8_string")) or "").strip())
            name = word.image["file_name"]
            reason = reason_left_out(word, label, options)
            yield LeftOut(word.key, reason, label) if reason else listed(word.key, label, finder.find(name), name, word.box)


def reason_left_out(word: Annotation, label: str, options: SourceOptions) -> str | None:
    """Why a word of COCO-Text is left out, or None."""
    legibility, writing = word.fields.get("legibility"), word.fields.get("class")
    if options.legibility not in ("any", legibility):
        return f"legibility is {legibility!r}, not {options.legibility!r}"
    if reason := options.other_language(word.fields.get("language"), "english"):
        return reason
    if options.writing not in ("any", writing):
        return f"class is {writing!r}, not {options.writing!r}"
    if not label:
        return "empty label"
    if (label != "#" and "#" in label) or label.startswith("*") or label.endswith("*"):
        return "unreadable characters (# or *)"
    return None


def detect_textocr(source: Path) -> bool:
    return detect(source, b'"points"', without=b'"legibility"')


def read_textocr(source: Path, options: SourceOptions) -> Listing:
    path = pick_file(source, ("*.json",), options.split)
    finder = ImageFinder(options.images or path.parent)
    for key, image, fields, box in annotations(path):
        label, points, name = fields.get("utf8_string"), fields.get("points"), image["file_name"]
        label, box = label_text(f"{path}: {key}", label), polygon(f"{path}: {key}", points) if points else box
        if label == ILLEGIBLE:
            yield LeftOut(key, "illegible or not English (.)")
        else:
            yield listed(key, label, finder.find(name), name, box)


def detect_open_images(source: Path) -> bool:
    return any(b'"transcription"' in path.read_bytes() and b'"attributes"' in path.read_bytes() for path in json_files(source))


def read_open_images(source: Path, options: SourceOptions) -> Listing:
    """The words of every image, in the order of "images"."""
    path = pick_file(source, ("*.json",), options.split)
    content, finder = parse_json(path), ImageFinder(options.images or path.parent)
    images, annotations = (content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations"))
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise DataError(f"{path}: expected an object with the lists images and annotations")
    names, words = {}, {}
    for number, image in enumerate(images, start=1):
        if not isinstance(image, dict) or "id" not in image or not isinstance(image.get("file_name"), str):
            raise DataError(f"{path}, image {number}: expected an object with id and file_name, found {image!s:.80}")
        names[str(image["id"])] = image["file_name"]
    for number, fields in enumerate(annotations, start=1):
        if not isinstance(fields, dict) or str(fields.get("image_id")) not in names:
            raise DataError(f"{path}, annotation {number}: expected the image_id of an image, found {fields!s:.80}")
        words.setdefault(str(fields["image_id"]), []).append((number, fields))
    for image, name in names.items():
        for number, fields in words.get(image, []):
            attributes, where = fields.get("attributes"), f"{path}, annotation {number}"
            if not isinstance(attributes, dict) or "transcription" not in attributes:
                raise DataError(f"{where}: expected attributes with transcription, found {fields!s:.80}")
            label, key = label_text(where, attributes["transcription"]), f"{path.name}:{name}#{number}"
            reason = None if attributes.get("legible", True) else "marked not to be read (legible is false)"
            if reason := reason or options.other_language(attributes.get("language"), "english"):
                yield LeftOut(key, reason, label or "")
            else:
                yield listed(key, label, finder.find(name), name, rectangle(where, fields.get("bbox")))
