"""Characters: which there are, how a label is normalised, how a word becomes ids and back (section IV-A).

Ids follow PARSeq and the released checkpoints: [E] is 0, the characters follow, then [B], then [P]. The classifier
has one output for [E] and each character (95); the context embedding also knows [B] and [P] (97 rows).
"""

import unicodedata
from dataclasses import dataclass

import torch
from torch import Tensor

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
CHARSET_36 = DIGITS + LOWER
CHARSET_94 = DIGITS + LOWER + LOWER.upper() + PUNCTUATION
CHARSETS = {36: CHARSET_36, 94: CHARSET_94}
MAX_LETTERS = 25


class RejectedLabel(ValueError):
    """A label the rules drop; the message is the reason as the ledger counts it."""


def reduce_text(text: str, charset: str) -> str:
    """`text` as `charset` can write it: case folded where only one case exists, other characters removed."""
    if charset == charset.lower():
        text = text.lower()
    elif charset == charset.upper():
        text = text.upper()
    return "".join(character for character in text if character in charset)


def normalise_label(label: str, charset: str, max_letters: int) -> str:
    """The published label rules: no white space, NFKD to ASCII, at most `max_letters`, supported characters only.

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


@dataclass(frozen=True)
class Tokenizer:
    """Words to ids and logits to words over one charset."""

    charset: str

    @property
    def eos(self) -> int:
        return 0

    @property
    def bos(self) -> int:
        return len(self.charset) + 1

    @property
    def pad(self) -> int:
        return len(self.charset) + 2

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier: the characters and [E]."""
        return len(self.charset) + 1

    def encode(self, words: list[str]) -> Tensor:
        """[B] word [E], padded with [P] to the longest: B L+2, int64.

        Raises:
            ValueError: a word holds a character that the charset does not.
        """
        rows = []
        for word in words:
            unknown = [character for character in word if character not in self.charset]
            if unknown:
                raise ValueError(f"label {word!r}: {unknown[0]!r} is not in the {len(self.charset)}-character set")
            rows.append([self.bos, *(1 + self.charset.index(character) for character in word), self.eos])
        longest = max(map(len, rows), default=0)
        return torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows], dtype=torch.long)

    def decode_ids(self, ids: Tensor) -> list[str]:
        """Ids B N to words: everything before the first [E]; ids that are no character end the word too."""
        words = []
        for row in ids.tolist():
            letters = []
            for token in row:
                if not 1 <= token <= len(self.charset):
                    break
                letters.append(self.charset[token - 1])
            words.append("".join(letters))
        return words

    def decode(self, logits: Tensor) -> tuple[list[str], list[float]]:
        """Logits B N C to (greedy words, confidences); a confidence is the product of probabilities up to [E]."""
        probabilities, ids = logits.float().softmax(-1).max(-1)  # B N
        words = self.decode_ids(ids)
        confidences = [probabilities[i, : len(word) + 1].prod().item() for i, word in enumerate(words)]
        return words, confidences
