"""The source formats by name, and the detection of a source's format."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from core.data.convert import coco_text, iiit5k, lists, lmdbs, scene_json, scene_lines, svt_xml
from core.data.convert.source import Listing, SourceOptions
from core.errors import DataError


class Format(NamedTuple):
    """How one format looks, whether a source is certainly in it, and how it is read."""

    looks: str
    detect: Callable[[Path], bool]
    read: Callable[[Path, SourceOptions], Listing]
    pad: int = 0  # pixels by which boxes are grown by default
    splits: bool = True  # whether one source may hold several splits, of which --split takes one
    languages: bool = False  # whether words have a language or script, of which --language takes some


FORMATS = {
    "labels": Format(lists.LABELS, lists.detect_labels, lists.read_labels),
    "iiit5k": Format(iiit5k.LOOKS, iiit5k.detect, iiit5k.read),
    "icdar-words": Format(lists.ICDAR, lists.detect_icdar, lists.read_icdar),
    "icdar-scenes": Format(scene_lines.ICDAR, scene_lines.detect_icdar, scene_lines.read_icdar, splits=False),
    "mlt-words": Format(lists.MLT, lists.detect_mlt, lists.read_mlt, languages=True),
    "mlt-scenes": Format(scene_lines.MLT, scene_lines.detect_mlt, scene_lines.read_mlt, splits=False, languages=True),
    "rctw17": Format(scene_lines.RCTW17, scene_lines.detect_rctw17, scene_lines.read_rctw17, splits=False),
    "uber-text": Format(scene_lines.UBER, scene_lines.detect_uber, scene_lines.read_uber, splits=False),
    "art": Format(scene_json.ART, scene_json.detect_art, scene_json.read_by_scene, languages=True),
    "lsvt": Format(scene_json.LSVT, scene_json.detect_lsvt, scene_json.read_by_scene),
    "rects": Format(scene_json.RECTS, scene_json.detect_rects, scene_json.read_rects, splits=False),
    "ppocrlabel": Format(scene_json.PPOCRLABEL, scene_json.detect_ppocrlabel, scene_json.read_ppocrlabel),
    "svt-xml": Format(svt_xml.LOOKS, svt_xml.detect, svt_xml.read),
    "coco-text": Format(coco_text.COCO, coco_text.detect_coco, coco_text.read_coco, coco_text.PAD, languages=True),
    "textocr": Format(coco_text.TEXTOCR, coco_text.detect_textocr, coco_text.read_textocr),
    "open-images": Format(coco_text.OPEN_IMAGES, coco_text.detect_open_images, coco_text.read_open_images, languages=True),
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
