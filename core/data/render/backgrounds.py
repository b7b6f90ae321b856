"""Photographs as backgrounds of rendered words: a random patch of one, in grey levels."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from core.data.folders import files_below
from core.data.images import decode_image
from core.data.render.page import Page
from core.errors import DataError, UnreadableImage

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def pictures_in(folder: Path) -> tuple[str, ...]:
    """Every image file at or below a folder, in the order of their paths there, which is the same everywhere.

    Raises:
        DataError: the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of backgrounds")
    pictures = files_below(folder, SUFFIXES)
    if not pictures:
        raise DataError(f"{folder}: no picture here; put {', '.join(SUFFIXES)} files there, or omit --backgrounds")
    return pictures


@lru_cache(maxsize=64)
def load_picture(path: str) -> Image.Image:
    """A picture in grey levels.

    Raises:
        DataError: it cannot be decoded.
    """
    try:
        return decode_image(Path(path)).convert("L")
    except UnreadableImage as error:
        raise DataError(f"{path}: {error}; take it out of the backgrounds folder") from error


def patch(path: str, page: Page, rng: np.random.Generator) -> np.ndarray:
    """A random part of a picture, of the page's shape, scaled to it: height x width, grey levels."""
    picture = load_picture(path)
    widest = min(picture.width, picture.height * page.width / page.height)
    width = widest * rng.uniform(0.4, 1)
    height = width * page.height / page.width
    left, top = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    part = picture.resize((page.width, page.height), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))
    return np.asarray(part, dtype=np.float32)
