"""The source formats by name, and the detection of a source's format."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from core.data.convert import coco_text, icdar_scenes, iiit5k, lists, lmdbs, svt_xml
from core.data.convert.source import Listing, ReadOptions
from core.errors import DataError


class Format(NamedTuple):
    """How one format looks, whether a source is certainly in it, and how it is read."""

    looks: str
    detect: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Listing]
    pad: int = 0  # pixels by which boxes are grown by default
    splits: bool = True  # whether one source may hold several splits, of which --split takes one


FORMATS = {
    "labels": Format(lists.LABELS, lists.detect_labels, lists.read_labels),
    "iiit5k": Format(iiit5k.LOOKS, iiit5k.detect, iiit5k.read),
    "icdar-words": Format(lists.ICDAR, lists.detect_icdar, lists.read_icdar),
    "icdar-scenes": Format(icdar_scenes.LOOKS, icdar_scenes.detect, icdar_scenes.read, splits=False),
    "svt-xml": Format(svt_xml.LOOKS, svt_xml.detect, svt_xml.read),
    "coco-text": Format(coco_text.COCO, coco_text.detect_coco, coco_text.read_coco, coco_text.PAD),
    "textocr": Format(coco_text.TEXTOCR, coco_text.detect_textocr, coco_text.read_textocr),
    "union14m": Format(lists.UNION14M, lists.detect_union14m, lists.read_union14m),
    "occlusion": Format(lists.OCCLUSION, lists.detect_occlusion, lists.read_occlusion),
    "lmdb": Format(lmdbs.LOOKS, lmdbs.detect, lmdbs.read, splits=False),
}


def guess(source: Path) -> str:
    """The name of the only format that the source is certainly in.

    Raises:
        DataError: there is none or several; the message says what each format looks like.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    names = [name for name, form in FORMATS.items() if form.detect(source)]
    if len(names) == 1:
        return names[0]
    result = f"may be {' or '.join(names)}" if names else "is in no format that can be told from its files"
    looks = "; ".join(f"{name}: {form.looks}" for name, form in FORMATS.items())
    raise DataError(f"{source} {result}; say --format, one of -- {looks}")
