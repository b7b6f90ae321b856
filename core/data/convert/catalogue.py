"""The source formats by name, and which one a folder or file is in."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from core.data.convert import (
    coco_text,
    icdar_scenes,
    icdar_words,
    iiit5k,
    labels,
    lmdbs,
    occlusion,
    svt_xml,
    textocr,
    union14m,
)
from core.data.convert.source import Listing, Wanted
from core.errors import DataError


class Format(NamedTuple):
    """How one format looks, whether a source is certainly in it, and how it is read."""

    looks: str
    certain: Callable[[Path], bool]
    read: Callable[[Path, Wanted], Listing]
    pad: int = 0  # pixels by which boxes are grown unless said otherwise
    splits: bool = True  # whether one source may hold several, of which --split takes one


FORMATS = {
    "labels": Format(labels.LOOKS, labels.certain, labels.read),
    "iiit5k": Format(iiit5k.LOOKS, iiit5k.certain, iiit5k.read),
    "icdar-words": Format(icdar_words.LOOKS, icdar_words.certain, icdar_words.read),
    "icdar-scenes": Format(icdar_scenes.LOOKS, icdar_scenes.certain, icdar_scenes.read, splits=False),
    "svt-xml": Format(svt_xml.LOOKS, svt_xml.certain, svt_xml.read),
    "coco-text": Format(coco_text.LOOKS, coco_text.certain, coco_text.read, coco_text.PAD),
    "textocr": Format(textocr.LOOKS, textocr.certain, textocr.read),
    "union14m": Format(union14m.LOOKS, union14m.certain, union14m.read),
    "occlusion": Format(occlusion.LOOKS, occlusion.certain, occlusion.read),
    "lmdb": Format(lmdbs.LOOKS, lmdbs.certain, lmdbs.read, splits=False),
}


def guess(source: Path) -> str:
    """The name of the only format that the source is certainly in.

    Raises:
        DataError: none or several; the message says what each looks like.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    names = [name for name, form in FORMATS.items() if form.certain(source)]
    if len(names) == 1:
        return names[0]
    found = f"may be {' or '.join(names)}" if names else "is in no format that can be told from its files"
    looks = "; ".join(f"{name}: {form.looks}" for name, form in FORMATS.items())
    raise DataError(f"{source} {found}; say --format, one of -- {looks}")
