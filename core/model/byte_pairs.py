"""CLIP's byte-pair tokens of a text: open_clip's vocabulary and cleaning, the merges over numbers instead of strings.

The ids are those of `open_clip.tokenizer.SimpleTokenizer.encode` (tests/method/test_captions.py). Two things are left out: its
cache, which grows without bound, and the cleaning (ftfy, HTML entities, white space) of texts that it cannot change.
"""

from functools import lru_cache

from open_clip.tokenizer import SimpleTokenizer

BYTES = 256


class BytePairs:
    """A symbol's number is its token id: the bytes, the bytes at a word's end, then what each merge makes, by its rank."""

    def __init__(self):
        self.tokenizer = SimpleTokenizer()
        self.sos, self.eos = self.tokenizer.all_special_ids
        ids = self.tokenizer.encoder
        self.special = dict(zip(self.tokenizer.cache, self.tokenizer.all_special_ids, strict=True))
        letters = [self.tokenizer.byte_encoder[byte] for byte in range(BYTES)]
        self.inner = [ids[letter] for letter in letters]
        self.last = [ids[letter + "</w>"] for letter in letters]
        self.merges = {(ids[left], ids[right]): rank for (left, right), rank in self.tokenizer.bpe_ranks.items()}
        self.unmerged = len(self.merges)  # above every rank

    def encode(self, text: bytes) -> list[int]:
        """Token ids of a text in UTF-8, without [SOS] and [EOS]."""
        if text.isalnum():  # of bytes: ASCII letters and digits alone, which cleaning leaves as they are
            cleaned = text.decode("ascii").lower()
        else:
            cleaned = self.tokenizer.clean_fn(text.decode())
        tokens: list[int] = []
        for word in self.tokenizer.pat.findall(cleaned):
            tokens += [self.special[word]] if word in self.special else self.merge(word.encode())
        return tokens

    def merge(self, word: bytes) -> list[int]:
        """Merge the pair of lowest rank, the leftmost of equals, until no pair is known.

        SimpleTokenizer merges all equal pairs at once. That is the same: no two merges make the same symbol, so whatever
        a new symbol takes part in has a higher rank than the pair it came from.
        """
        symbols = [self.inner[byte] for byte in word]
        symbols[-1] = self.last[word[-1]]
        rank = self.merges.get
        ranks = [rank(pair, self.unmerged) for pair in zip(symbols, symbols[1:], strict=False)]
        while ranks and (lowest := min(ranks)) < self.unmerged:
            place = ranks.index(lowest)
            symbols[place : place + 2] = [2 * BYTES + lowest]
            del ranks[place]
            if place:
                ranks[place - 1] = rank((symbols[place - 1], symbols[place]), self.unmerged)
            if place < len(ranks):
                ranks[place] = rank((symbols[place], symbols[place + 1]), self.unmerged)
        return symbols


@lru_cache(maxsize=1)
def byte_pairs() -> BytePairs:
    return BytePairs()
