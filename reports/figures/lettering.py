"""Fonts for texts of any script: one of equal widths that comes with matplotlib, and installed ones for what it lacks."""

import contextlib
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from matplotlib.font_manager import FontProperties, findfont, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

MONO, ADVANCE = "DejaVu Sans Mono", 0.602  # every character of it is so many times its size wide
FIRST = "DejaVu Sans"  # of the others: it comes with matplotlib too
BOXES = "Last Resort"  # matplotlib's family that has a box for every character


class Lettering(NamedTuple):
    """Families that together draw a text, as matplotlib tries them, and the characters that no installed font has."""

    families: tuple[str, ...]
    missing: str

    def advance(self, character: str) -> float:
        """Width of a character, as a multiple of the font's size."""
        if ord(character) in signs(MONO):
            return ADVANCE
        font = FontProperties(family=list(self.families), size=100)
        return text_to_path.get_text_width_height_descent(character, font, ismath=False)[0] / 100

    def note(self) -> str:
        """What to do about missing characters; empty if there are none."""
        if not self.missing:
            return ""
        codes = ", ".join(f"U+{ord(character):04X}" for character in self.missing[:5])
        more = f" and {len(self.missing) - 5} more" if len(self.missing) > 5 else ""
        return f"Boxes: no installed font has {codes}{more}; install one that has, such as Noto, and draw the figure again."


def lettering(texts: Iterable[str]) -> Lettering:
    """Fonts for all characters of some texts; the same for the same texts and fonts."""
    characters = sorted({character for text in texts for character in text if not character.isspace()})
    lacking = [character for character in characters if ord(character) not in signs(MONO)]
    families, missing = [MONO], []
    others = installed() if lacking else []
    for character in lacking:
        family = next((family for family in [*families, *others] if ord(character) in signs(family)), None)
        if family is None:
            missing.append(character)
        elif family not in families:
            families.append(family)
    return Lettering(tuple(families), "".join(missing))


def installed() -> list[str]:
    """All families but MONO, those included that were installed after matplotlib had listed its fonts."""
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):
        with contextlib.suppress(Exception):  # fonts without outlines, and what is not a font
            fontManager.addfont(path)
    names = {entry.name for entry in fontManager.ttflist if not entry.name.startswith(BOXES)}
    return sorted(names - {MONO}, key=lambda name: (name != FIRST, name))


@cache
def signs(family: str) -> frozenset[int]:
    """Code points that a family draws, in normal and in bold."""
    files = {findfont(FontProperties(family=family, weight=weight)) for weight in ("normal", "bold")}
    return frozenset.intersection(*(frozenset(FT2Font(file).get_charmap()) for file in files))
