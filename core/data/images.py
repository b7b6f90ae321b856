"""Decoding of untrusted image files and LMDB values to RGB; each kind of image has one rule, wherever images are read.

orientation    turned as EXIF (or XMP) says, 1 to 8, so that words stand as viewers show them
transparency   blended onto white, black or grey, whichever is farthest from the ink; alpha that is the same everywhere tells
               nothing about ink and is ignored
numbers        16 and 32 bits and floating point: white is the smallest of WHITES that no pixel exceeds; where a pixel exceeds
               all of them, or is negative, the pixels' own range is stretched
several        of animations and files of several pages the first; an MPO's others are views of the same
others         CMYK, palettes, 1 bit, YCbCr as Pillow converts them; LAB by its lightness
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from core.errors import UnreadableImage, UserError

LARGEST = 89_000_000  # pixels; a file of a few kB can claim any number, and this many take 270 MB in RGB
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")  # none that runs a program
Source = bytes | memoryview | Path
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
INVERSE = {**TURNS, 6: TURNS[8], 8: TURNS[6]}
BACKGROUNDS = {255: "white", 0: "black", 128: "grey"}  # in this order where several are equally far from the ink
FAINTEST = 0.1  # share of the ink that may be closer to the background than what the choice looks at
WHITES = (1, 255, 4095, 65535)  # shares, 8, 12 and 16 bits


class Decoded(NamedTuple):
    """An image in RGB, and how the file differs from it.

    Args:
        form, mode: of the file, in Pillow's names.
        orientation: of the file; 1 unless EXIF says otherwise.
        changes: what was done to the pixels beyond grey to RGB, in words that images of one kind share.
    """

    image: Image.Image
    form: str
    mode: str
    orientation: int
    changes: tuple[str, ...]


@lru_cache(maxsize=1)
def known_formats() -> list[str]:
    """The FORMATS that this build of Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def opened(source: Source) -> Iterator[Image.Image]:
    """An image whose header alone has been read; whatever fails inside the block is an UnreadableImage."""
    formats = known_formats()
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=formats) as image:
            if image.width * image.height > LARGEST:  # before anything decodes pixels
                raise ValueError(f"{image.width} x {image.height} pixels are more than the {LARGEST:,} that are decoded")
            yield image
    except FileNotFoundError:
        raise
    except Exception as error:  # decoders raise what they like on damaged bytes: RuntimeError, struct.error, IndexError
        message = re.sub(r" ?<_io.BytesIO object at \w+>", "", str(error))  # an address would differ from run to run
        raise UnreadableImage(f"{type(error).__name__}: {message}") from error


def decode_image(source: Source) -> Image.Image:
    """An encoded image or image file in RGB, under the rules above.

    Raises:
        UnreadableImage: the source is not a whole image, or too large.
        FileNotFoundError: there is no such file.
    """
    return decode(source).image


def decode(source: Source, turn: bool = True) -> Decoded:
    """An encoded image or image file in RGB, and what was changed; raises as `decode_image` does.

    Args:
        turn: whether to apply the orientation; without it, pixels stay where the file has them.
    """
    with opened(source) as image:
        form, mode, orientation = image.format or "?", image.mode, orientation_of(image)
        image.load()
        result, changes = to_rgb(image)
        if orientation != 1:
            changes = [
                *changes,
                f"turned as EXIF orientation {orientation} says" if turn else f"EXIF orientation {orientation} ignored",
            ]
            loaded_turned = orientation_of(image) == 1  # as Pillow does with TIFFs
            if turn != loaded_turned:
                result = result.transpose((TURNS if turn else INVERSE)[orientation])
        if form != "MPO" and has_a_second_frame(image):  # last, since it leaves the first one
            changes = [*changes, "first of several frames"]
        return Decoded(result, form, mode, orientation, tuple(changes))


def read_image_file(path: Path) -> Image.Image:
    """An image file in RGB.

    Raises:
        UserError: it is missing, may not be read, or is not an image.
    """
    try:
        return decode_image(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UnreadableImage as error:
        raise UserError(f"{path}: not an image that can be decoded ({error})") from error


def has_a_second_frame(image: Image.Image) -> bool:
    """Whether a loaded image is followed by another one that can be found."""
    try:
        image.seek(1)
    except Exception:  # EOFError where there is none; a damaged one says nothing of the first
        return False
    return True


def exif_orientation(source: Source) -> int:
    """The EXIF orientation of an image, 1 to 8; raises as `decode_image` does."""
    with opened(source) as image:
        return orientation_of(image)


def orientation_of(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return value if value in TURNS else 1
    except Exception:  # damaged EXIF data of any kind says nothing of the pixels
        return 1


def to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """A loaded image in RGB, and what was changed beyond grey to RGB."""
    if image.mode[0] in "IF":
        grey = scaled(image)
        result, changes = blended(grey) if grey.mode == "LA" else (grey.convert("RGB"), [])
        return result, ["scaled to 8 bits", *changes]
    if image.has_transparency_data:
        return blended(image)
    if image.mode == "LAB":
        return image.getchannel("L").convert("RGB"), ["lightness alone"]
    return image.convert("RGB"), [] if image.mode in ("RGB", "L") else ["converted to RGB"]


def scaled(image: Image.Image) -> Image.Image:
    """An image of numbers in 8 bits of grey, with alpha where the file names a transparent level."""
    levels = np.asarray(image).astype(np.float64)
    finite = levels[np.isfinite(levels)]
    if not finite.size:
        raise ValueError("no pixel is a finite number")
    low, high = min(finite.min(), 0), finite.max()
    white = next((white for white in WHITES if low == 0 and high <= white), high - low)
    shares = (np.nan_to_num(levels, nan=low, posinf=high, neginf=low) - low) / (white or 1)
    grey = Image.fromarray(np.rint(255 * shares).astype(np.uint8))
    if isinstance(level := image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(levels == level, 0, 255).astype(np.uint8)))
    return grey


def blended(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """An image with transparency on the background that is farthest from its ink, and which one that is."""
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    least, most = alpha.getextrema()
    if least == most:
        return image.convert("RGB"), ["opaque alpha dropped" if most == 255 else "alpha ignored: it is the same everywhere"]
    # What each level of grey weighs in the visible pixels, then the background whose faintest ink is the clearest.
    weights = np.bincount(np.asarray(image.convert("L")).ravel(), weights=np.asarray(alpha).ravel(), minlength=256)

    def clearness(background: int) -> int:
        distances = np.abs(np.arange(256) - background)
        order = np.argsort(distances)
        return distances[order][np.searchsorted(np.cumsum(weights[order]), FAINTEST * weights.sum())]

    background = max(BACKGROUNDS, key=clearness)
    canvas = Image.new("RGB", image.size, (background,) * 3)
    canvas.paste(image.convert("RGB"), mask=alpha)
    return canvas, [f"transparency blended onto {BACKGROUNDS[background]}"]
