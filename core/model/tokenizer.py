"""Words to ids, and logits to words.

Ids follow PARSeq and the released checkpoints: [E] is 0, the characters follow, then [B], then [P]. The classifier
has one output for [E] and each character (95); the context embedding also knows [B] and [P] (97 rows).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from core.model.transfer import Download

END = 0  # in an alphabet: what ends a word


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

    @cached_property
    def ids(self) -> dict[str, int]:
        """Every character's id."""
        return {character: number for number, character in enumerate(self.charset, start=1)}

    @property
    def id_dtype(self) -> torch.dtype:
        """The smallest type that holds every id, for copies to the host."""
        return torch.uint8 if self.pad < 256 else torch.int32

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
            unknown = [character for character in word if character not in self.ids]
            if unknown:
                raise ValueError(f"label {word!r}: {unknown[0]!r} is not in the {len(self.charset)}-character set")
            rows.append([self.bos, *(self.ids[character] for character in word), self.eos])
        longest = max(map(len, rows), default=0)
        return torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows], dtype=torch.long)

    def alphabet(self, letters: Sequence[str]) -> np.ndarray:
        """Codes by id: `letters` has one for each character of the charset, or "" to leave it out.

        ASCII codes are uint8, all others uint32; their largest number stands for what is left out.
        """
        codes = np.full(self.pad + 1, END, np.uint8 if "".join(letters).isascii() else np.uint32)
        codes[1 : 1 + len(self.charset)] = [ord(letter) if letter else left_out_code(codes) for letter in letters]
        return codes

    @cached_property
    def own_alphabet(self) -> np.ndarray:
        return self.alphabet(self.charset)

    def decode_ids(self, ids: Tensor) -> list[str]:
        """Ids B N to words: everything before the first [E]; any other id that is not a character ends the word, too."""
        return self.words(Download(ids).wait())

    def words(self, ids: np.ndarray) -> list[str]:
        """`decode_ids` of ids on the host."""
        return spell(ids, self.own_alphabet).astype(str).tolist()

    def decode(self, logits: Tensor) -> tuple[list[str], list[float]]:
        """Logits B N C to (greedy words, confidences); a confidence is the product of probabilities up to [E]."""
        (words,), confidences = self.unpack(Download(self.pack([logits])).wait(), 1)
        return words, confidences

    def pack(self, outputs: Sequence[Tensor]) -> Tensor:
        """Several logits B N C in one tensor for one copy to the host: O outputs' greedy ids and the last one's confidence.

        Returns:
            B O*N+1, float32, which holds ids exactly.
        """
        return torch.cat([*(logits.argmax(-1) for logits in outputs), self.confidence(outputs[-1])[:, None]], 1)

    def unpack(self, packed: np.ndarray, outputs: int) -> tuple[list[list[str]], list[float]]:
        """The words of each output, and the confidences."""
        return [self.words(ids.astype(np.intp)) for ids in np.split(packed[:, :-1], outputs, 1)], packed[:, -1].tolist()

    def confidence(self, logits: Tensor) -> Tensor:
        """Probability of each greedy word, up to its [E] where it has one: B N C to B, float32."""
        probabilities, ids = logits.float().softmax(-1).max(-1)  # B N
        before = (ids == self.eos).cumsum(1) - (ids == self.eos).int()  # how many [E] lie before each output
        return probabilities.masked_fill(before > 0, 1).prod(1)


def spell(ids: np.ndarray, alphabet: np.ndarray) -> np.ndarray:
    """Ids B N to B strings, of bytes where the alphabet is ASCII: the codes of `Tokenizer.alphabet` up to the first END."""
    codes = alphabet[ids]  # B N
    codes[np.logical_or.accumulate(codes == END, axis=1)] = END
    left_out = codes == left_out_code(codes)
    if left_out.any():
        codes[left_out] = END
        codes = np.take_along_axis(codes, (codes == END).argsort(1, kind="stable"), 1)  # close the gaps
    kind = "S" if codes.dtype == np.uint8 else "U"
    return np.ascontiguousarray(codes).view(f"{kind}{codes.shape[1]}")[:, 0]


def left_out_code(codes: np.ndarray) -> int:
    """What stands for a character that is left out; no character has this code."""
    return np.iinfo(codes.dtype).max
