"""Every font at hand that draws all 94 characters: matplotlib's, those of installed font packages, the machine's.

Which fonts there are is a fact about the machine, so a world drawn with them is identified by their content
(`core.data.micro.World.materials`), and not by names or places. A machine without fonts of its own has matplotlib's.
"""

import re
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

from core.charset import CHARSET_94
from core.data.folders import files_below
from core.data.render.fonts import SUFFIXES, font_digest, font_path

GROUPS = ("fonts_ttf", "fonts_otf")  # entry points by which packages on PyPI announce their fonts (font-roboto and others)
FOLDERS = (  # of Linux, macOS and Windows
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/Library/Fonts", "/System/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts"),
)
FAINT = re.compile(r"thin|hairline|(extra|ultra) ?light", re.IGNORECASE)  # strokes that a small image loses
UNNAMED = re.compile(r"uni[0-9A-Fa-f]{8}|glyph\d+|gid\d+|cid\d+")  # names that say nothing of a glyph


@lru_cache(maxsize=1)
def every_font() -> tuple[str, ...]:
    """The fonts at hand, those of small families several times, so that each family is drawn about as often."""
    families: dict[str, list[str]] = {}
    for file, (family, _) in fonts_at_hand().items():
        families.setdefault(family, []).append(file)
    most = max(map(len, families.values()))
    return tuple(file for files in families.values() for file in files * round(most / len(files)))


@lru_cache(maxsize=1)
def fonts_at_hand() -> dict[str, tuple[str, str]]:
    """Files with family and style: each style once, in the order of their digests, which is the same wherever they lie."""
    files = dict.fromkeys(Path(name).resolve() for place in places() for name in files_below(place, SUFFIXES))
    usable = {font_digest(str(file)): file for file in files if draws_all(file)}
    named = {looks_of(usable[digest]): usable[digest] for digest in sorted(usable, reverse=True)}  # the first digest stays
    return {str(file): looks for looks, file in reversed(named.items()) if not FAINT.search(looks[1])}


def places() -> list[Path]:
    """Existing folders in which fonts may lie."""
    packages = [entry.dist for group in GROUPS for entry in entry_points(group=group)]
    packaged = [Path(package.locate_file(file)).parent for package in packages for file in package.files or ()
                if file.suffix.lower() in SUFFIXES]  # fmt: skip
    folders = [font_path("DejaVuSans.ttf").parent, *packaged, *(Path(name).expanduser() for name in FOLDERS)]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def looks_of(file: Path) -> tuple[str, str]:
    """A font's family and style, as it names them."""
    from matplotlib.ft2font import FT2Font

    font = FT2Font(str(file))
    return font.family_name, font.style_name


def draws_all(file: Path) -> bool:
    """Whether a font has a glyph of the right name for each of the 94 characters.

    Names matter: fonts of mathematics and TeX have other signs at these code points, and a font of last resort has one
    for all. Some fonts name none of their glyphs, and are believed.
    """
    from fontTools.agl import UV2AGL
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(file))
        glyphs = {character: font.get_char_index(ord(character)) for character in CHARSET_94}
        names = {character: font.get_glyph_name(glyph).split(".")[0] for character, glyph in glyphs.items() if glyph}
    except (OSError, RuntimeError):  # not a font, or one without outlines
        return False
    right = (name in (UV2AGL[ord(character)], f"uni{ord(character):04X}") for character, name in names.items())
    return len(names) == len(CHARSET_94) and (all(right) or all(map(UNNAMED.fullmatch, names.values())))
