"""A difference and what it is worth, whether it was published or measured."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from reports.stats import Interval, Paired


@dataclass(frozen=True)
class Effect:
    """A contrast's value, in points of accuracy or in milliseconds.

    Args:
        value: nan where it was not measured, or not published.
        image_se: standard error from the choice of images; in the published numbers also from their rounding.
        training_se: standard error that training adds; nan where training noise is not known.
        df: degrees of freedom of the interval.
        seeds: trainings of each row; 0 where there is none.
        seed_variance, seed_df, floor_variance: what `reports.stats.seeds_needed` asks for; the variance that images leave
            however many seeds there are is nan where it is not known.
        spread: ends of a time's repeats, in place of an interval; None for accuracies, and where no spread is known.
        reason: why there is no value, or no interval that a verdict could rest on; empty where there is.
    """

    value: float = np.nan
    image_se: float = np.nan
    training_se: float = np.nan
    df: float = np.nan
    seeds: int = 0
    seed_variance: float = np.nan
    seed_df: float = 0
    floor_variance: float = np.nan
    spread: tuple[float, float] | None = None
    reason: str = ""

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


def of_paired(found: Paired) -> Effect:
    """What `reports.stats` says of a difference."""
    return Effect(
        value=found.value,
        image_se=found.image_se,
        training_se=found.training_se,
        df=found.df,
        seeds=found.seeds,
        seed_variance=found.seed_variance,
        seed_df=found.seed_df,
        floor_variance=found.floor_variance,
        reason="" if found.knows_training else "one training per row cannot tell",
    )
