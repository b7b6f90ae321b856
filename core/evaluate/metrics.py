"""Scores of predictions: word accuracy and 1-NED, over the characters that a protocol scores."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from rapidfuzz.distance import Levenshtein

from core.charset import reduce_text
from core.data.keys import label_key
from core.data.samples import Ledger, left_out_text


@dataclass(frozen=True)
class Score:
    """The score of one output on one benchmark: n images, exact matches, mean of 1 - normalised edit distance."""

    n: int
    correct: int
    one_minus_ned: float

    @property
    def accuracy(self) -> float:
        """Word accuracy in per cent; nan without images."""
        return 100 * self.correct / self.n if self.n else float("nan")

    def as_entry(self) -> dict[str, float]:
        """The score without n, as metrics.json holds it."""
        return {"correct": self.correct, "accuracy": self.accuracy, "one_minus_ned": self.one_minus_ned}


def score(labels: list[str], readings: list[str], charset: str) -> Score:
    """Compare after reducing both sides to `charset` (36: case folded, punctuation removed), as published.

    Images whose label holds no character of the charset are not counted.
    """
    pairs = [(reduce_text(a, charset), reduce_text(b, charset)) for a, b in zip(labels, readings, strict=True)]
    pairs = [pair for pair in pairs if pair[0]]
    correct = sum(label == reading for label, reading in pairs)
    similarity = sum(Levenshtein.normalized_similarity(label, reading) for label, reading in pairs)
    return Score(len(pairs), correct, similarity / len(pairs) if pairs else float("nan"))


def unscored(rows: pd.DataFrame, charset: str) -> dict[str, dict]:
    """The labels of predictions without a character of the charset, as `Ledger.as_dict` writes what is left out."""
    ledger = Ledger()
    for label, lmdb, index in zip(rows["label"], rows["lmdb"], rows["index"], strict=True):
        if not reduce_text(label, charset):
            ledger.add(f"no character of the {len(charset)} that are scored", f"{lmdb}: {label_key(index)}")
    return ledger.as_dict()


def images_left_out(entry: Mapping) -> str:
    """`left_out_text` of a benchmark's entry in metrics.json."""
    return left_out_text(entry["stored"], entry["left_out"], entry.get("unscored", {}))
