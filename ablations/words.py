"""How long the longest word of a step is: training pads every word of a step to it."""

from collections.abc import Sequence

from ablations.source import Source
from core.data.lmdb import sample_labels, train_roots

SAMPLE = 5000  # labels of a training set that are looked at


def longest_word(source: Source, names: Sequence[str], images: int, assumed: Sequence[int]) -> int:
    """Letters of the longest of `images` words of training sets, on average.

    Args:
        assumed: how many words have 1, 2, 3, ... letters, where there is no data to look at.
    """
    if source.world is not None:
        return source.world.max_letters
    return mean_longest(assumed if source.published else lengths(source, names), images)


def lengths(source: Source, names: Sequence[str]) -> list[int]:
    """How many labels of a sample of training sets have 1, 2, 3, ... letters; looked at once per source."""
    key = tuple(names)
    if key not in source.lengths:
        words = [len(label) for label in sample_labels(train_roots(source.root, names), SAMPLE)]
        source.lengths[key] = [words.count(letters) for letters in range(1, max(words, default=1) + 1)]
    return source.lengths[key]


def mean_longest(counts: Sequence[int], words: int) -> int:
    """The mean of the longest of so many independent words, rounded to whole letters; 1 where there are no counts.

    The longest has at least k letters unless all words are shorter: the mean is the sum over k of 1 - P(shorter) ** words.
    """
    total, shorter, mean = sum(counts), 0, 0.0
    for number in counts:
        mean += 1 - (shorter / total) ** words if total else 0.0
        shorter += number
    return max(1, round(mean))
