"""Fonts of the word renderer: the ones shipped with matplotlib, or a folder of the user's."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from core.data.folders import files_below
from core.errors import DataError

FONT_SIZE = 30
SUFFIXES = (".otf", ".ttc", ".ttf")
FONTS = (  # shipped with matplotlib; letters of every one are told apart at 16 pixels height
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "STIXGeneralBol.ttf",
    "cmss10.ttf",
)
OTHER_SIGNS = {"cmss10.ttf": '"<>\\_{|}'}  # TeX's own encoding: at these code points it draws other signs


@lru_cache(maxsize=64)
def load_font(name: str) -> ImageFont.FreeTypeFont:
    """A font file by its path, or by file name where matplotlib ships it.

    Raises:
        DataError: it is no font.
    """
    path = font_path(name)
    try:
        return ImageFont.truetype(str(path), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise DataError(f"{path} is no font that can be drawn ({error}): take it out of the fonts folder") from error


def font_path(name: str) -> Path:
    """Where the font lies: matplotlib's folder for a bare file name."""
    if Path(name).name != name:
        return Path(name)
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name


def fonts_in(folder: Path) -> tuple[str, ...]:
    """Every font file at or below a folder, in the order of their paths there, which is the same everywhere.

    Raises:
        DataError: the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of fonts")
    found = files_below(folder.absolute(), SUFFIXES)
    if not found:
        raise DataError(f"{folder}: no font here; put {', '.join(SUFFIXES)} files there, or leave --fonts out")
    return found


def missing_letters(name: str, letters: Iterable[str]) -> str:
    """Those of the letters that a font has no sign for, sorted; white space needs none.

    Raises:
        DataError: it is no font.
    """
    from matplotlib.ft2font import FT2Font

    load_font(name)
    known = FT2Font(str(font_path(name))).get_charmap()
    wrong = OTHER_SIGNS.get(Path(name).name, "")
    return "".join(sorted(c for c in set(letters) if not c.isspace() and (ord(c) not in known or c in wrong)))
