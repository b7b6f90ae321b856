"""How a word becomes ids and logits become a word.

Ids follow PARSeq and the released checkpoints: [E] is 0, the characters follow, then [B], then [P]. The classifier
has one output for [E] and each character (95); the context embedding also knows [B] and [P] (97 rows).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


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
