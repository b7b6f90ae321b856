"""Decoding of untrusted image files and LMDB values to RGB."""

import io
import re
from functools import lru_cache
from pathlib import Path

from PIL import Image

from core.errors import UnreadableImage

LARGEST = 89_000_000  # pixels; a file of a few kB can claim any number, and this many take 270 MB in RGB
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")  # none that runs a program


@lru_cache(maxsize=1)
def known_formats() -> list[str]:
    """The FORMATS that this build of Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def decode_image(source: bytes | memoryview | Path) -> Image.Image:
    """An encoded image or image file in RGB; 16-bit grey is scaled, not clipped.

    Raises:
        UnreadableImage: the source is not a whole image, or too large.
        FileNotFoundError: there is no such file.
    """
    formats = known_formats()
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=formats) as image:
            if image.width * image.height > LARGEST:  # before anything decodes pixels: the header alone has been read
                raise ValueError(f"{image.width} x {image.height} pixels are more than the {LARGEST:,} that are decoded")
            if image.mode.startswith("I;16") or (image.mode == "I" and image.getextrema()[1] > 255):
                image = image.point(lambda level: level / 256).convert("L")
            return image.convert("RGB")
    except FileNotFoundError:
        raise
    except Exception as error:  # decoders raise what they like on damaged bytes: RuntimeError, struct.error, IndexError
        message = re.sub(r" ?<_io.BytesIO object at \w+>", "", str(error))  # an address would differ from run to run
        raise UnreadableImage(f"{type(error).__name__}: {message}") from error
