"""From predicted characters to the tokens that the text tower reads: open_clip's, in arrays."""

import random

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from core.charset import CHARSET_36, CHARSET_94, DIGITS, LOWER, read_charset, reduce_text
from core.files import ROOT
from core.model import captions as captions_module
from core.model.byte_pairs import byte_pairs
from core.model.captions import CaptionReader, CaptionTokenizer
from core.model.tokenizer import Tokenizer

ODD = [
    "",
    "<start_of_text>",
    "a<end_of_text>b",
    "<START_OF_TEXT>",
    "&amp;lt;",
    "&lt;b",
    "don't",
    "l'll",
    "a  b\tc",
    "café",
    "ﬁ",
    "日本",
]


def drawn(count: int, charset: str, longest: int, rng: random.Random) -> list[str]:
    return ["".join(rng.choices(charset, k=rng.randint(1, longest))) for _ in range(count)]


def test_tokens_are_those_of_open_clip():
    """100,000 strings: random ones over both charsets, repeated letters, words of CLIP's vocabulary, digits."""
    rng, plain = random.Random(0), SimpleTokenizer()
    vocabulary = [token.removesuffix("</w>") for token in plain.encoder if token.endswith("</w>") and token.isascii()]
    texts = [
        *ODD,
        *drawn(50_000, CHARSET_36, 10, rng),
        *drawn(10_000, CHARSET_36, 25, rng),
        *drawn(5_000, "ab", 25, rng),
        *drawn(10_000, DIGITS, 25, rng),
        *drawn(8_000, CHARSET_94, 25, rng),
        *rng.sample(vocabulary, 12_000),
        *("".join(rng.choices(vocabulary, k=2)) for _ in range(5_000)),
    ]
    assert len(texts) > 100_000
    differing = [text for text in texts if byte_pairs().encode(text.encode()) != plain.encode(text)]
    assert not differing


def test_rows_are_those_of_open_clip_where_they_fit():
    texts = ["table", "", "a b", "1234567890", "<end_of_text>"]
    assert torch.equal(CaptionTokenizer(16)(texts), SimpleTokenizer()(texts, 16))


CYRILLIC, GREEK = (read_charset(ROOT / f"ablations/charsets/{name}.txt") for name in ("cyrillic", "greek"))
LOWER_CYRILLIC = "".join(character for character in CYRILLIC if character == character.lower())


@pytest.mark.parametrize(
    ("charset", "caption_charset"),
    [
        (CHARSET_94, CHARSET_36),
        (CHARSET_94, CHARSET_94),
        (CHARSET_36, CHARSET_36),
        (CYRILLIC, LOWER_CYRILLIC),
        (CYRILLIC, CHARSET_36),
        (GREEK, GREEK),
    ],
)
def test_captions_of_ids_are_those_of_strings(charset, caption_charset):
    """Characters that captions do not know within, before and after others; ids behind [E]; no [E] at all."""
    tokenizer, rng = Tokenizer(charset), np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(0, tokenizer.num_classes, (500, 26)))
    ids[200:300] = ids[:100]
    ids[300:, :13] = ids[300:, :13].clamp(min=1)
    ids[300:310, :13] = 36  # z
    ids[490:] = ids[490:].clamp(min=1)
    words = [reduce_text(word, caption_charset) for word in slowly(ids.tolist(), charset)]
    distinct = list(dict.fromkeys(words))
    reader = CaptionReader(tokenizer, caption_charset, CaptionTokenizer(30))
    captions = reader.finish(reader.begin(ids))
    assert torch.equal(captions.tokens, SimpleTokenizer()(distinct, 30))
    assert [distinct[row] for row in captions.rows] == words
    assert len(distinct) <= 400


def slowly(rows: list[list[int]], charset: str) -> list[str]:
    """What ids spell, one character after the other."""
    words = []
    for row in rows:
        ends = [place for place, token in enumerate(row) if not 1 <= token <= len(charset)]
        words.append("".join(charset[token - 1] for token in row[: ends[0] if ends else len(row)]))
    return words


@pytest.mark.parametrize("charset", [CHARSET_36, CHARSET_94, CYRILLIC, "".join(map(chr, range(0x4E00, 0x4E00 + 7000)))])
def test_words_of_ids(charset):
    tokenizer = Tokenizer(charset)
    ids = torch.randint(0, tokenizer.pad + 1, (300, 26), generator=torch.Generator().manual_seed(0))
    ids[:50] = ids[:50].clamp(1, len(charset))
    assert tokenizer.decode_ids(ids) == slowly(ids.tolist(), charset)
    assert tokenizer.decode_ids(ids[:0]) == [] and tokenizer.decode_ids(ids.int()) == tokenizer.decode_ids(ids)


def test_the_memory_forgets_what_was_unused_longest(monkeypatch):
    monkeypatch.setattr(captions_module, "REMEMBERED", 3)
    tokenizer = CaptionTokenizer(4)
    tokenizer(["a", "b", "c"])
    tokenizer(["a", "d"])
    assert list(tokenizer.known) == [b"c", b"a", b"d"]
    asked = []
    monkeypatch.setattr(tokenizer, "tokenize", lambda caption: asked.append(caption) or b"\0" * 8)
    tokenizer(["a", "d", "c", "b"])
    assert asked == [b"b"]


def test_open_clips_own_memory_does_not_grow():
    before = len(byte_pairs().tokenizer.cache)
    CaptionTokenizer(16)(drawn(100, LOWER, 20, random.Random(1)) + ["a-b", "don't"])
    assert len(byte_pairs().tokenizer.cache) == before
