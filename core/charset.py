"""Character sets, the files that name them, and how a label is normalised (section IV-A).

A charset is a string of its characters, each once: their order is that of the model's outputs. A file of one has one character
or one range per line (U+0410, U+0410..U+044F); `#` begins a comment, so that the character itself is written U+0023.

Right-to-left scripts keep logical order: the first character of a label is the first one that is read aloud.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from core.errors import DataError, UserError
from core.files import read_utf8

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
CHARSET_36 = DIGITS + LOWER  # ablations/charsets/36.txt: what published accuracies count
CHARSET_94 = DIGITS + LOWER + LOWER.upper() + PUNCTUATION  # ablations/charsets/94.txt: what the published models write
MAX_LETTERS = 25  # of a label (section IV-A)
SIZES = ("36", "62", "94")  # of the charsets that are called by their size
SUFFIX = ".txt"  # of charset files; no charset ends so, since a character comes only once
POINT = r"[Uu]\+([0-9A-Fa-f]{4,6})"
POINTS = re.compile(rf"{POINT}(?:\.\.{POINT})?")
UNICODE_END, LONGEST_SHOWN = 0x110000, 40  # the end of Unicode; characters that a message shows of a charset
DO_NOT_READ = re.compile("#{3,}")  # what data sets write for text that nobody can read
BREAKS = {"Cc", "Zl", "Zp"}  # Unicode categories: control characters (tab, line breaks, NUL), line and paragraph separators


class RejectedLabel(ValueError):
    """A label that the rules drop; the message is the reason, as the ledger counts it."""


def check_charset(name: str, value: object) -> None:
    """Raise UserError unless a value is a string of characters that a charset can have.

    Args:
        name: of the value, for messages.
    """
    fix = f"name a file of characters, like 'ablations/charsets/94{SUFFIX}'"
    if not isinstance(value, str) or not value:
        raise UserError(f"{name} = {value!r}: expected a charset; {fix}")
    if value in SIZES:
        raise UserError(
            f"{name} = {value!r}: two characters; for the charset of {value} write 'ablations/charsets/{value}{SUFFIX}'"
        )
    seen: set[str] = set()
    for character in value:
        problem = f"{spelled(character)} is repeated; {fix}" if character in seen else problem_of(character)
        if problem:
            shown = value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}..."
            raise UserError(f"{name} = {shown!r}: {problem}")
        seen.add(character)


def read_charset(path: Path) -> str:
    """The characters of a charset file, in its order.

    Raises:
        DataError: naming the file, the line, the character and the fix.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such charset file; expected one character or range like U+0410..U+044F per line")
    text = read_utf8(path)
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        for character in characters_of(f"{path}, line {number}", line):
            if problem := problem_of(character):
                raise DataError(f"{path}, line {number}: {problem}")
            if character in lines:
                where = f"line {lines[character]}" if lines[character] < number else "this line"
                raise DataError(f"{path}, line {number}: {spelled(character)} is in {where} already; take one of them out")
            lines[character] = number
    if not lines:
        raise DataError(f"{path}: no character here; write one character or range like U+0410..U+044F per line")
    return "".join(lines)


def characters_of(place: str, line: str) -> Iterator[str]:
    """The characters of one line of a charset file; `place` is for messages."""
    if line.strip() == "#":
        raise DataError(f"{place}: '#' begins a comment; write U+0023 for the character, or take the line out")
    content = unicodedata.normalize("NFC", line.partition("#")[0].strip())
    points = POINTS.fullmatch(content)
    if not points:
        if len(content) > 1:
            what = f"{content[:LONGEST_SHOWN]!r} is neither one character nor a range"
            raise DataError(f"{place}: {what}; write one per line, like U+0410..U+044F")
        yield from content
        return
    first, last = (int(point, 16) for point in (points[1], points[2] or points[1]))
    if not first <= last < UNICODE_END:
        raise DataError(f"{place}: {content} is not a range of Unicode; write the smaller number first, at most U+10FFFF")
    yield from map(chr, range(first, last + 1))


def problem_of(character: str) -> str:
    """Why no label can hold a character, and the fix; empty where one can."""
    if not character.isprintable() or character.isspace():
        return f"U+{ord(character):04X} is white space or cannot be printed, so no label holds it; take it out"
    normal = unicodedata.normalize("NFC", character)
    if normal != character:
        return f"{spelled(character)} is written {' '.join(map(spelled, normal))} in labels (NFC); list that instead"
    return ""


def spelled(character: str) -> str:
    """A character with its number: 'a' (U+0061)."""
    return f"{character!r} (U+{ord(character):04X})"


class CharsetRules(NamedTuple):
    """What a charset decides for labels.

    Args:
        members: its characters.
        ascii: whether it has ASCII characters alone, so that labels are brought to ASCII.
        lower, upper: whether all its letters are of that case, so that labels are folded to it.
    """

    members: frozenset[str]
    ascii: bool
    lower: bool
    upper: bool


@lru_cache(maxsize=32)
def rules_of(charset: str) -> CharsetRules:
    """The rules of a charset, worked out once."""
    return CharsetRules(frozenset(charset), charset.isascii(), charset == charset.lower(), charset == charset.upper())


def fold(text: str, charset: str) -> str:
    """`text` in the case of `charset`'s letters; as it is where these have both."""
    rules = rules_of(charset)
    if rules.lower:
        return text.lower()
    return text.upper() if rules.upper else text


def reduce_text(text: str, charset: str) -> str:
    """`text` in the characters of `charset`: case folded if it has only one case, other characters removed."""
    members = rules_of(charset).members
    return "".join(character for character in fold(text, charset) if character in members)


def not_a_word(text: str) -> str | None:
    """Why a stored text is not one word's label, in any character set; None where it may be one.

    A tab or a line break means that columns or lines were glued together, NUL that the encoding was misread.
    """
    if DO_NOT_READ.fullmatch(text.strip()):
        return "marked not to be read (###)"
    if not text.isprintable() and any(unicodedata.category(character) in BREAKS for character in text):
        return "control character in the label"
    return None


def read_label(stored: str, charset: str, max_letters: int) -> str:
    """A stored label under the published rules, once it is certain that it is one word's text; raises RejectedLabel."""
    if reason := not_a_word(stored.strip()):
        raise RejectedLabel(reason)
    return normalise_label(stored, charset, max_letters)


def normalise_label(label: str, charset: str, max_letters: int) -> str:
    """The published label rules, in this order: no white space, NFKD to ASCII, at most `max_letters`, supported characters.

    A charset that is more than ASCII has NFC in place of the second: accents and other scripts stay.

    Raises:
        RejectedLabel: "empty label", "longer than 25 characters" or "no supported character".
    """
    label = "".join(label.split())
    if not label:
        raise RejectedLabel("empty label")
    if rules_of(charset).ascii:
        label = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    else:
        label = unicodedata.normalize("NFC", label)
    reduced = reduce_text(label, charset)
    if max(len(label), len(reduced)) > max_letters:  # capitals can be more than their small letters, as SS of ß
        raise RejectedLabel(f"longer than {max_letters} characters")
    if not reduced:
        raise RejectedLabel("no supported character")
    return reduced
