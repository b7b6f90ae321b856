"""An effect with its uncertainty, and the rules that turn it into a verdict on a claim."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from reports.stats.intervals import LEVEL, POWER, Interval, seeds_needed

SUPPORTED, CONTRADICTED, SAME, UNDECIDED, NOT_RUN = "supported", "contradicted", "same", "undecided", "not run"
# Two one-sided tests must both pass, which at no difference takes (1 + POWER) / 2 each. `seeds_needed` knows one test of
# POWER, so its level is lowered by as much.
EQUIVALENCE_LEVEL = float(2 * norm.sf(norm.ppf(1 - LEVEL) + norm.ppf((1 + POWER) / 2) - norm.ppf(POWER)))


@dataclass(frozen=True)
class Effect:
    """A contrast's value, in points of accuracy or in milliseconds.

    Args:
        value: nan where it was not measured, or not published.
        image_se: standard error from the choice of images; in the published numbers also from their rounding.
        training_se: standard error that training adds; nan where training noise is not known.
        df: degrees of freedom of the interval.
        seeds: trainings of each row; 0 where there is none.
        seed_variance, seed_df, floor_variance, alone: for `seeds_needed`; the variance that images leave however many seeds
            there are is nan where it is not known.
        spread: ends of a time's repeats, in place of an interval; None for accuracies, and where no spread is known.
        reason: why there is no value, or no interval that a verdict could rest on; empty where there is.
        unshared: images that not all rows scored, so that the effect is without them.
    """

    value: float = np.nan
    image_se: float = np.nan
    training_se: float = np.nan
    df: float = np.nan
    seeds: int = 0
    seed_variance: float = np.nan
    seed_df: float = 0
    floor_variance: float = np.nan
    alone: bool = False
    spread: tuple[float, float] | None = None
    reason: str = ""
    unshared: int = 0

    def interval(self, confidence: float) -> Interval | None:
        """Two-sided; over images alone where training noise is not known. A time's is its spread at any confidence."""
        if self.spread:
            return Interval(self.value, *self.spread)
        if np.isnan(self.image_se):
            return None
        reach = float(t.ppf((1 + confidence) / 2, self.df) * np.hypot(self.image_se, np.nan_to_num(self.training_se)))
        return Interval(self.value, self.value - reach, self.value + reach)

    @property
    def decidable(self) -> bool:
        """Whether the interval holds for other trainings of the rows, so that a verdict may rest on it."""
        return self.spread is not None or not np.isnan(self.training_se)


class Verdict(NamedTuple):
    """One of the words above, and why it is not a decision (empty where it is one)."""

    word: str
    why: str = ""

    def record(self) -> dict[str, str]:
        return {"verdict": self.word, "why": self.why}


def judge(kind: str, margin: float | None, effect: Effect, contrasts: int = 1) -> Verdict:
    """The verdict of an effect on a contrast.

    more, less: supported where the 95 % interval lies wholly on the claimed side of zero, contradicted where it lies wholly on
    the other side; else the same, where a margin is given and the 90 % interval lies inside it.
    same: supported where the 90 % interval lies inside the margin (two one-sided tests at 5 %, Schuirmann 1987), contradicted
    where the 95 % interval lies wholly outside.

    Args:
        margin: the claim's margin in the unit of the effect.
        contrasts: how many the claim has. All must hold to support it, which needs no correction; one is enough to contradict
            it, so that interval is widened to 1 - 5 % / contrasts (Bonferroni).
    """
    if np.isnan(effect.value):
        return Verdict(NOT_RUN, effect.reason)
    if not effect.decidable:
        return Verdict(UNDECIDED, effect.reason)
    against = LEVEL / contrasts
    usual, wide, narrow = (effect.interval(1 - level) for level in (LEVEL, against, 2 * LEVEL))
    inside = margin is not None and -margin < narrow.low and narrow.high < margin
    if kind == "same":
        if inside:
            return Verdict(SUPPORTED)
        if wide.low > margin or wide.high < -margin:
            return Verdict(CONTRADICTED)
        left = margin - abs(effect.value)
        return Verdict(UNDECIDED, needed(effect, abs(left), EQUIVALENCE_LEVEL if left > 0 else against))
    sign = 1 if kind == "more" else -1
    if min(sign * usual.low, sign * usual.high) > 0:
        return Verdict(SUPPORTED)
    if max(sign * wide.low, sign * wide.high) < 0:
        return Verdict(CONTRADICTED)
    if inside:
        return Verdict(SAME)
    return Verdict(UNDECIDED, needed(effect, abs(effect.value), LEVEL if sign * effect.value > 0 else against))


def needed(effect: Effect, distance: float, level: float) -> str:
    """The number of seeds that would decide the claim, if true effect and noise are as observed.

    Args:
        distance: from the effect to what it is tested against: zero, or the margin of a claim of equivalence.
        level: of the test that decides on the effect's side.
    """
    if effect.spread:
        return "the spread of the times is too wide"
    if np.isclose(distance, 0):
        return "the value lies on the boundary: no number of seeds tells on which side"
    floor = float(np.nan_to_num(effect.floor_variance))
    seeds = seeds_needed(distance, effect.seed_variance, effect.seed_df, floor, level, effect.alone)
    if seeds is None:
        return "no number of seeds decides it on these images"
    least = "at least " if np.isnan(effect.floor_variance) else ""
    return f"{least}{seeds:,} seeds per row would decide it"


def together(verdicts: list[Verdict]) -> Verdict:
    """The verdict on a claim: supported only if each contrast is, contradicted if any is."""
    words = [verdict.word for verdict in verdicts]
    if len(words) == 1:
        return verdicts[0]
    for word, decides in ((CONTRADICTED, CONTRADICTED in words), (SAME, set(words) == {SAME, SUPPORTED})):
        if decides:
            return Verdict(word, f"{words.count(word)} of {len(words)} contrasts")
    if len(set(words)) == 1 and words[0] != UNDECIDED:
        return verdicts[0]
    return Verdict(UNDECIDED, "contrasts: " + ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words)))
