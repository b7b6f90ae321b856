"""From a listed word to the bytes that are stored: a file as it is, or a crop of a scene."""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from core.data.convert.source import Box, Item, LeftOut
from core.data.images import Decoded, decode, exif_orientation
from core.data.keys import image_key
from core.data.lmdb import ImageLmdb
from core.errors import DataError, UnreadableImage, UserError

CROP_FORMS = {
    "png": {"format": "PNG", "compress_level": 6},
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


EXIF = ("apply", "ignore")


class LoadedWord(NamedTuple):
    """A word as it is stored.

    Args:
        image: encoded.
        key: where it stands in the source.
        changes: what decoding changes in its image, or cutting changed (core.data.images).
    """

    image: bytes
    label: str
    key: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Load:
    """Loads the words of one image file; can be pickled for worker processes.

    Args:
        crop: png (lossless) or jpeg (quality 95, colour not subsampled).
        pad: pixels by which every box is grown.
        min_side: smaller images and crops are left out, in pixels.
        exif: whether images are turned as their EXIF orientation says, "apply" or "ignore"; None: apply, where no box is cut.
    """

    crop: str = "png"
    pad: int = 0
    min_side: int = 1
    exif: str | None = None

    def __post_init__(self):
        if self.crop not in CROP_FORMS:
            raise UserError(f"crop {self.crop!r}: expected one of {', '.join(CROP_FORMS)}")
        if self.exif not in (None, *EXIF):
            raise UserError(f"exif {self.exif!r}: expected one of {', '.join(EXIF)}")
        if self.pad < 0 or self.min_side < 1:
            raise UserError(f"pad {self.pad} must be at least 0 and min_side {self.min_side} at least 1")

    def __call__(self, items: list[Item]) -> list[LoadedWord | LeftOut]:
        """Load words of one image file, which is decoded once."""
        try:
            raw = read_image(items[0])
            decoded = decode(raw, turn=self.exif != "ignore")
        except FileNotFoundError:
            return [LeftOut(item.key, "image missing", item.file.name) for item in items]
        except (UnreadableImage, OSError) as error:
            return [LeftOut(item.key, "image cannot be read", str(error)) for item in items]
        return [self.load_one(item, raw, decoded) for item in items]

    def load_one(self, item: Item, raw: bytes, decoded: Decoded) -> LoadedWord | LeftOut:
        image = decoded.image
        if item.box is not None:
            box = pixels(item.box, self.pad, image.size)
            if isinstance(box, str):
                return LeftOut(item.key, box, f"box {item.box} in an image of {image.size[0]} x {image.size[1]}")
            image = image.crop(box)
        if min(image.size) < self.min_side:
            return LeftOut(item.key, f"side shorter than {self.min_side} pixels", f"{image.size[0]} x {image.size[1]}")
        # A file that is not to be turned is stored without the tag that would turn it whenever it is read.
        as_it_is = item.box is None and (self.exif != "ignore" or decoded.orientation == 1)
        return LoadedWord(raw if as_it_is else encode(image, self.crop), item.label, item.key, decoded.changes)


def ask_for_exif(entries: Iterable[Item | LeftOut], exif: str | None) -> None:
    """DataError where words are cut from scenes with an EXIF orientation, and nobody said what their boxes count in.

    Data sets differ in it: some were drawn on the image as viewers show it, others on its pixels as they are stored.
    """
    scenes = {entry.file: None for entry in entries if isinstance(entry, Item) and entry.box is not None}
    turned = [] if exif else [(path, orientation) for path in scenes if (orientation := orientation_in(path)) != 1]
    if turned:
        path, orientation = turned[0]
        raise DataError(
            f"{len(turned)} of {len(scenes)} scenes have an EXIF orientation other than 1 (first: {path}, orientation "
            f"{orientation}), and their boxes may count in the image as viewers show it or as it is stored: say --exif apply "
            "(turn, then cut) or --exif ignore (cut as stored), and look at some crops"
        )


def orientation_in(path: Path) -> int:
    try:
        return exif_orientation(path)
    except (UnreadableImage, OSError):
        return 1  # such a file is left out by name when it is loaded


def read_image(item: Item) -> bytes:
    """The encoded image of an item: OSError if its file, UnreadableImage if its key in an LMDB cannot be read."""
    if item.number is None:
        return item.file.read_bytes()
    (raw,) = database(item.file, source_size(item.file / "data.mdb")).raw_samples(item.number, item.number, ("image",))
    if raw.image is None:
        raise UnreadableImage(raw.problem or f"no key {image_key(item.number)}")
    return raw.image


@lru_cache(maxsize=4)
def database(folder: Path, size: int) -> ImageLmdb:
    """An LMDB, opened once for all its samples; its `size` makes a replaced file open again."""
    return ImageLmdb(folder)


def pixels(box: Box, pad: int, size: tuple[int, int]) -> tuple[int, int, int, int] | str:
    """The whole pixels that a box touches, grown by `pad` and cut at the image's border; or why there are none."""
    left, top, right, bottom = box
    if not all(map(math.isfinite, box)) or right <= left or bottom <= top:
        return "box has no area"
    if right <= 0 or bottom <= 0 or left >= size[0] or top >= size[1]:
        return "box outside the image"
    low = max(0, math.floor(left) - pad), max(0, math.floor(top) - pad)
    return *low, min(size[0], math.ceil(right) + pad), min(size[1], math.ceil(bottom) + pad)


def encode(image: Image.Image, crop: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **CROP_FORMS[crop])
    return stream.getvalue()


def source_size(path: Path) -> int:
    """A file's size, or -1 if it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
