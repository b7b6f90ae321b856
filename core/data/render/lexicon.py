"""The words that are rendered: those of CLIP's byte-pair vocabulary, or a word list of the user.

The vocabulary ships inside open_clip, so the micro world needs no word list of ours, no download and no system dictionary.
"""

import gzip
import unicodedata
from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from core.charset import MAX_LETTERS, RejectedLabel, problem_of, read_label, spelled
from core.errors import DataError, UserError
from core.files import read_utf8

BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
RIGHT_TO_LEFT = {"R", "AL"}  # Unicode's bidirectional classes
MERGES = 49152 - 256 - 2  # what CLIP's tokenizer keeps of the file: merges 1 .. 48,894


class WordList(list):
    """Words in an order of their own, those of each length at hand."""

    @cached_property
    def by_length(self) -> Mapping[int, list[str]]:
        """The words of every length there is, in their order."""
        groups: dict[int, list[str]] = {}
        for word in self:
            groups.setdefault(len(word), []).append(word)
        return groups

    @cached_property
    def known(self) -> frozenset[str]:
        """The words as a set."""
        return frozenset(self)


@lru_cache(maxsize=1)
def vocabulary_words() -> tuple[str, ...]:
    """Every lower-case a-z word that CLIP's tokenizer knows as one token, in order of merge rank."""
    (folder,) = find_spec("open_clip").submodule_search_locations  # not imported, which would load torch
    path = Path(folder) / BPE_FILE
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        merges = lines.read().split("\n")[1 : MERGES + 1]
    words = ("".join(merge.split()) for merge in merges if merge.endswith("</w>"))
    words = (word.removesuffix("</w>") for word in words)
    return tuple(dict.fromkeys(w for w in words if w.isascii() and w.isalpha() and w.islower()))


def lexicon(size: int, min_letters: int, max_letters: int, source: Path | None = None) -> list[str]:
    """The first `size` words of `min_letters` to `max_letters` letters, each once.

    Args:
        source: a word list; None takes CLIP's vocabulary, the most frequent words first.

    Raises:
        DataError: see `read_word_list`.
        UserError: there are fewer such words.
    """
    known = dict.fromkeys(read_word_list(source)) if source else vocabulary_words()
    words = [word for word in known if min_letters <= len(word) <= max_letters]
    if len(words) < size:
        where = f" in {source}" if source else ""
        raise UserError(f"lexicon of {size} words of {min_letters}-{max_letters} letters: only {len(words)} exist{where}")
    return words[:size]


def split_unseen(words: list[str], fraction: float, seed: int) -> tuple[WordList, WordList]:
    """Split into (words training may use, words kept for testing), deterministic in `seed`."""
    order = np.random.default_rng([seed, len(words)]).permutation(len(words))
    unseen = set(order[: round(fraction * len(words))].tolist())
    seen = WordList(word for i, word in enumerate(words) if i not in unseen)
    return seen, WordList(words[i] for i in sorted(unseen))


def read_word_list(path: Path) -> tuple[str, ...]:
    """The words of a text file (UTF-8, one word per line) in its order; white space around them and empty lines are left out.

    Raises:
        DataError: the file is missing, not UTF-8 or empty, or a word in it could not be read back as a label.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such word list; expected a text file with one word per line")
    text = read_utf8(path)
    lines = enumerate(unicodedata.normalize("NFC", text).split("\n"), start=1)  # fonts draw a letter and its accent as one
    words = [(number, line.strip()) for number, line in lines]
    words = [(number, word) for number, word in words if word]
    if not words:
        raise DataError(f"{path}: no word here; expected one word per line")
    checked: set[str] = set()
    for number, word in words:
        check(f"{path}, line {number}", word, checked)
    return tuple(word for _, word in words)


def check(place: str, word: str, checked: set[str]) -> None:
    """Refuse a word that no charset keeps, or that cannot be drawn letter by letter; `checked` gathers what passed."""
    letters = set(unicodedata.normalize("NFC", "".join(word.split())))
    try:
        read_label(word, "".join(sorted(letters)), MAX_LETTERS)
    except RejectedLabel as reason:
        raise DataError(
            f"{place}: {word[:40]!r} would not be kept as a label ({reason}); take the word out, labels have up to "
            f"{MAX_LETTERS} printable characters"
        ) from reason
    for letter in sorted(letters - checked):
        problem = problem_of(letter)
        if unicodedata.category(letter).startswith("M"):
            problem = f"{spelled(letter)} is a mark on another letter, which is not drawn; take the word out"
        elif unicodedata.bidirectional(letter) in RIGHT_TO_LEFT:
            problem = f"{spelled(letter)} is written from right to left, which is not drawn; take the word out"
        if problem:
            raise DataError(f"{place}: {word[:40]!r}: {problem}")
    checked |= letters
