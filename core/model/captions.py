"""Captions as the text tower reads them: from the characters a branch predicts to CLIP's byte-pair tokens.

Characters stay numbers in arrays; Python sees each caption once, as one object, and merges bytes only for those that it has
not met lately.
"""

from array import array
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.charset import reduce_text
from core.model.byte_pairs import byte_pairs
from core.model.tokenizer import Tokenizer, spell
from core.model.transfer import Download, upload

REMEMBERED = 100_000  # captions, some 20 MB


class CaptionTokenizer:
    """CLIP's byte-pair tokenizer with a cache: the same words come back many times in training.

    `truncated` counts the distinct captions that were cut to fit, for the record; one that was forgotten counts again.
    """

    name = "CLIP's byte pairs"  # for errors
    dtype: type = np.uint16  # of the ids in the cache: CLIP has 49,408 tokens

    def __init__(self, context_length: int):
        self.context_length = context_length
        self.known: OrderedDict[bytes, bytes] = OrderedDict()  # the longest unused first
        self.truncated = 0

    def prepare(self) -> None:
        """Read what the first caption would have to wait for: nothing."""

    def __call__(self, captions: list[str]) -> Tensor:
        """Ids B L, [SOS] words [EOS] and zeros."""
        return self.rows([caption.encode() for caption in captions])

    def rows(self, captions: list[bytes]) -> Tensor:
        """The same of captions in UTF-8."""
        rows = b"".join(map(self.encode, captions))  # one buffer: a tensor per caption would cost more than all else
        return torch.from_numpy(np.frombuffer(rows, self.dtype).reshape(-1, self.context_length).astype(np.int64))

    def encode(self, caption: bytes) -> bytes:
        """One row, as the bytes of numbers of `dtype`."""
        row = self.known.get(caption)
        if row is not None:
            self.known.move_to_end(caption)
            return row
        row = self.tokenize(caption)
        self.remember(caption, row)
        return row

    def remember(self, caption: bytes, row: bytes) -> None:
        """Put a row into the cache, in place of the one that was not used for the longest time where it is full."""
        self.known[caption] = row
        if len(self.known) > REMEMBERED:
            self.known.popitem(last=False)

    def tokenize(self, caption: bytes) -> bytes:
        """`encode` of a caption that is not known."""
        pairs = byte_pairs()
        tokens = [pairs.sos, *pairs.encode(caption), pairs.eos]
        if len(tokens) > self.context_length:
            self.truncated += 1
            tokens = [*tokens[: self.context_length - 1], pairs.eos]
        return array("H", tokens + [0] * (self.context_length - len(tokens))).tobytes()


class Captions(NamedTuple):
    """Every distinct caption once.

    Args:
        tokens: D L, on the device of the ids they come from.
        rows: M, on the host: which of them each word has.
    """

    tokens: Tensor
    rows: Tensor


class CaptionReader:
    """Predicted words to captions, in two steps, so that the device can be given more work between them.

    Args:
        tokenizer: the tokenizer that the ids belong to.
        charset: characters of captions; others are left out, and case is folded where it has one only, character by character
            (a final capital sigma becomes a medial one); what would become several characters is left out.
    """

    def __init__(self, tokenizer: Tokenizer, charset: str, caption_tokenizer: CaptionTokenizer):
        self.caption_tokenizer = caption_tokenizer
        self.id_dtype = tokenizer.id_dtype
        letters = [reduce_text(character, charset) for character in tokenizer.charset]
        self.alphabet = tokenizer.alphabet([letter if len(letter) == 1 else "" for letter in letters])

    def begin(self, ids: Tensor) -> tuple[Download, torch.device]:
        """Send character ids M N to the host; `finish` takes what this returns."""
        return Download(ids.to(self.id_dtype)), ids.device

    def finish(self, begun: tuple[Download, torch.device]) -> Captions:
        """Wait for the ids and tokenize the words that they spell."""
        sent, device = begun
        places: dict[bytes | str, int] = {}
        rows = [places.setdefault(word, len(places)) for word in spell(sent.wait(), self.alphabet).tolist()]
        captions = [word if isinstance(word, bytes) else word.encode() for word in places]
        return Captions(upload(self.caption_tokenizer.rows(captions), device), torch.tensor(rows))
