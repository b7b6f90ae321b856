"""The character sets, and how a label is normalised (section IV-A)."""

import re
import unicodedata

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
CHARSET_36 = DIGITS + LOWER
CHARSET_94 = DIGITS + LOWER + LOWER.upper() + PUNCTUATION
CHARSETS = {36: CHARSET_36, 94: CHARSET_94}
DO_NOT_READ = re.compile("#{3,}")  # what data sets write for text that nobody can read
BREAKS = {"Cc", "Zl", "Zp"}  # Unicode categories: control characters (tab, line breaks, NUL), line and paragraph separators


class RejectedLabel(ValueError):
    """A label that the rules drop; the message is the reason, as the ledger counts it."""


def reduce_text(text: str, charset: str) -> str:
    """`text` in the characters of `charset`: case folded if it has only one case, other characters removed."""
    if charset == charset.lower():
        text = text.lower()
    elif charset == charset.upper():
        text = text.upper()
    return "".join(character for character in text if character in charset)


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

    Raises:
        RejectedLabel: "empty label", "longer than 25 characters" or "no supported character".
    """
    label = "".join(label.split())
    if not label:
        raise RejectedLabel("empty label")
    label = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    if len(label) > max_letters:
        raise RejectedLabel(f"longer than {max_letters} characters")
    label = reduce_text(label, charset)
    if not label:
        raise RejectedLabel("no supported character")
    return label
