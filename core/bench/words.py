"""Words for timing inference: as long as the model can write, or as long as words in photographs."""

import random
from collections.abc import Sequence

from core.charset import LOWER
from core.errors import UserError

LENGTHS = ("full", "typical")
GUESSES = ("right", "wrong")  # see `core.bench.forced_outputs`
MEANINGS = {
    "full": "every word has as many letters as the decoder has room for",
    "typical": "words are as long as IIIT5K's test words",
    "right": "the first guess, both branches and refinement agree, as they mostly do of a trained model",
    "wrong": "no guess is right in any letter, the branches agree in none, and refinement changes every caption",
}

# How many of IIIT5K's 3,000 test words (Mishra et al., BMVC 2012) have 0, 1, 2, ... letters, white space removed.
IIIT5K_TEST = (0, 84, 350, 432, 559, 478, 318, 308, 186, 129, 75, 35, 15, 7, 2, 0, 3, 3, 7, 1, 2, 0, 6)


def typical_lengths(count: int, rng: random.Random) -> list[int]:
    """`count` lengths at evenly spaced quantiles of IIIT5K's, in random order: few of them represent all."""
    known = [length for length, words in enumerate(IIIT5K_TEST) for _ in range(words)]
    places = [(2 * i + 1) * len(known) // (2 * count) for i in range(count)]
    return rng.sample([known[place] for place in places], count)


def letters_of(charset: str) -> str:
    """What words are made of: lower-case letters where the charset has them all, otherwise all that it has."""
    return LOWER if set(LOWER) <= set(charset) else charset


def draw_words(lengths: str, batch: int, batches: int, max_outputs: int, letters: str = LOWER) -> list[list[str]]:
    """Batches of random words, always the same ones.

    Args:
        lengths: "full", `max_outputs` letters and no [E], or "typical", at most `max_outputs` - 1 letters and an [E].
        max_outputs: positions of the decoder, [E] included.
        letters: what the words are made of, as `letters_of` gives it.

    Raises:
        UserError: another name of lengths.
    """
    rng, count = random.Random(0), batch * batches
    if lengths not in LENGTHS:
        raise UserError(f"--lengths {lengths}: expected one of {', '.join(LENGTHS)}")
    sizes = [max_outputs] * count
    if lengths == "typical":
        sizes = [min(length, max_outputs - 1) for length in typical_lengths(count, rng)]
    words = random_words(sizes, rng, letters)
    return [words[start : start + batch] for start in range(0, count, batch)]


def random_words(lengths: Sequence[int], rng: random.Random, charset: str = LOWER) -> list[str]:
    """Random words of these lengths."""
    return ["".join(rng.choices(charset, k=length)) for length in lengths]


def mean_letters(words: Sequence[str]) -> float:
    return sum(map(len, words)) / len(words)
