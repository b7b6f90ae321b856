"""Fonts of the word renderer: the ones shipped with matplotlib, or a folder of the user's."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from core.data.folders import files_below
from core.errors import DataError

SUFFIXES = (".otf", ".ttc", ".ttf")
OTHER_SIGNS = {"cmss10.ttf": '"<>\\_{|}'}  # TeX's own encoding: at these code points it draws other signs


@lru_cache(maxsize=1024)
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font file by its path, or by file name where matplotlib ships it, at a size in pixels per em.

    Raises:
        DataError: it is not a font.
    """
    path = font_path(name)
    try:
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise DataError(f"{path} is not a font that can be drawn ({error}): take it out of the fonts folder") from error


def font_path(name: str) -> Path:
    """Where the font lies: matplotlib's folder for a bare file name."""
    if Path(name).name != name:
        return Path(name)
    (folder,) = find_spec("matplotlib").submodule_search_locations  # not imported, which would take a third of a second
    return Path(folder) / "mpl-data" / "fonts" / "ttf" / name


def font_digest(name: str) -> str:
    """16 hex digits of the whole file of a font.

    Raises:
        OSError: there is no such file.
    """
    return hashlib.sha256(font_path(name).read_bytes()).hexdigest()[:16]


def fonts_in(folder: Path) -> tuple[str, ...]:
    """Every font file at or below a folder, in the order of their paths there, which is the same everywhere.

    Raises:
        DataError: the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of fonts")
    fonts = files_below(folder.absolute(), SUFFIXES)
    if not fonts:
        raise DataError(f"{folder}: no font here; put {', '.join(SUFFIXES)} files there, or omit --fonts")
    return fonts


def missing_letters(name: str, letters: Iterable[str]) -> str:
    """Those of the letters that a font has no sign for, sorted; white space needs none.

    Raises:
        DataError: it is not a font.
    """
    from matplotlib.ft2font import FT2Font

    load_font(name, 10)  # any size: says what is wrong with a file that is not a font
    known = FT2Font(str(font_path(name))).get_charmap()
    wrong = OTHER_SIGNS.get(Path(name).name, "")
    return "".join(sorted(c for c in set(letters) if not c.isspace() and (ord(c) not in known or c in wrong)))
