"""A word list of the user's, for the word renderer: one word a line, UTF-8, checked before anything is drawn."""

from pathlib import Path

from core.charset import CHARSET_94, RejectedLabel, normalise_label
from core.errors import DataError

LONGEST = 25  # letters a label may have (section IV-A)


def read_words(path: Path) -> tuple[str, ...]:
    """The words of a file in its order, white space around them removed, empty lines left out.

    Raises:
        DataError: the file is missing, not UTF-8 or empty, or a word in it could not be read back as a label.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such word list; expected a text file with one word a line")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8") from error
    words = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    words = [(number, word) for number, word in words if word]
    if not words:
        raise DataError(f"{path}: no word here; expected one word a line")
    checked: set[str] = set()
    for number, word in words:
        check(f"{path}, line {number}", word, checked)
    return tuple(word for _, word in words)


def check(place: str, word: str, checked: set[str]) -> None:
    """Refuse a word that would lose letters, or be dropped, when its label is read; `checked` gathers what passed."""
    try:
        normalise_label(word, CHARSET_94, LONGEST)
        for letter in set(word) - checked:
            if not letter.isspace():
                normalise_label(letter, CHARSET_94, LONGEST)
            checked.add(letter)
    except RejectedLabel as reason:
        raise DataError(
            f"{place}: {word[:40]!r} would not be kept as a label ({reason}); take the word out, labels have up to "
            f"{LONGEST} printable ASCII characters"
        ) from reason
