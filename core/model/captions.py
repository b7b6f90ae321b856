"""Captions as the text tower reads them: CLIP's byte-pair tokens."""

from functools import lru_cache

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor


class CaptionTokenizer:
    """CLIP's byte-pair tokenizer with a memory: the same words come back many times in training."""

    def __init__(self, context_length: int):
        self.context_length = context_length
        self.known: dict[str, Tensor] = {}
        self.truncated = 0  # captions cut to fit, for the record

    def __call__(self, captions: list[str]) -> Tensor:
        """Ids B L, [SOS] words [EOS] and zeros."""
        return torch.stack([self.encode(caption) for caption in captions])

    def encode(self, caption: str) -> Tensor:
        if caption not in self.known:
            if len(self.known) >= 100_000:
                self.known.clear()
            tokenizer = byte_pairs()
            tokens = [tokenizer.sot_token_id, *tokenizer.encode(caption), tokenizer.eot_token_id]
            if len(tokens) > self.context_length:
                self.truncated += 1
                tokens = [*tokens[: self.context_length - 1], tokenizer.eot_token_id]
            ids = torch.zeros(self.context_length, dtype=torch.long)
            ids[: len(tokens)] = torch.tensor(tokens)
            self.known[caption] = ids
        return self.known[caption]


@lru_cache(maxsize=1)
def byte_pairs() -> SimpleTokenizer:
    return SimpleTokenizer()
