"""Decoding: whatever an image file or LMDB value holds, in RGB."""

import io
import re
from pathlib import Path

from PIL import Image

from core.data.errors import UnreadableImage


def decode_image(source: bytes | memoryview | Path) -> Image.Image:
    """An encoded image or image file in RGB; 16-bit grey is scaled, not clipped.

    Raises:
        UnreadableImage: it is no whole image, or too large to be one.
        FileNotFoundError: there is no such file.
    """
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
            if image.mode.startswith("I;16"):
                image = image.point(lambda level: level / 256).convert("L")
            return image.convert("RGB")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        said = re.sub(r" ?<_io.BytesIO object at \w+>", "", str(error))  # an address would differ from run to run
        raise UnreadableImage(f"{type(error).__name__}: {said}") from error
