"""The micro world's words: whole-word entries of CLIP's own byte-pair vocabulary, most frequent first.

The vocabulary ships inside open_clip, so the word list needs no file of ours, no download and no system dictionary.
"""

import gzip
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from core.errors import UserError

BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49152 - 256 - 2  # what CLIP's tokenizer keeps of the file: merges 1 .. 48,894


@lru_cache(maxsize=1)
def vocabulary_words() -> tuple[str, ...]:
    """Every lower-case a-z word that CLIP's tokenizer knows as one token, in order of merge rank."""
    (folder,) = find_spec("open_clip").submodule_search_locations  # found, not imported: that would load torch
    path = Path(folder) / BPE_FILE
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        merges = lines.read().split("\n")[1 : MERGES + 1]
    words = ("".join(merge.split()) for merge in merges if merge.endswith("</w>"))
    words = (word.removesuffix("</w>") for word in words)
    return tuple(dict.fromkeys(w for w in words if w.isascii() and w.isalpha() and w.islower()))


def lexicon(size: int, min_letters: int, max_letters: int) -> list[str]:
    """The `size` most frequent words of `min_letters` to `max_letters` letters.

    Raises:
        UserError: the vocabulary has fewer such words.
    """
    words = [word for word in vocabulary_words() if min_letters <= len(word) <= max_letters]
    if len(words) < size:
        raise UserError(f"lexicon of {size} words of {min_letters}-{max_letters} letters: only {len(words)} exist")
    return words[:size]


def split_unseen(words: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Split into (words training may use, words kept for testing), deterministic in `seed`."""
    order = np.random.default_rng([seed, len(words)]).permutation(len(words))
    unseen = set(order[: round(fraction * len(words))].tolist())
    seen = [word for i, word in enumerate(words) if i not in unseen]
    return seen, [words[i] for i in sorted(unseen)]
