"""Training noise: how far the printed mean of one configuration moves from one training to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import f

from reports.stats.strata import Strata

MOST_DF = 2  # what noise from elsewhere counts for beside the rows' own; chosen by `reports.simulation`
DISAGREE = 0.2  # level of the test that drops it altogether


@dataclass(frozen=True)
class Noise:
    """A measure of training noise beside the compared rows' own spread over seeds.

    Args:
        variance: variance of the printed mean over trainings of one configuration, in points squared.
        df: degrees of freedom of that variance.
        source: where it comes from, for the notes.
        residual: the part of it that is of single (image, training) pairs, which images show too; 0 where it is not known.
    """

    variance: float
    df: float
    source: str
    residual: float = 0.0


def noise_of_replicates(correct: pd.DataFrame, strata: Strata) -> Noise:
    """Noise from several trainings of one configuration.

    Args:
        correct: one line per image and one column per seed (two at least), True where read correctly.
    """
    values = 100 * correct.to_numpy(float)
    means = strata.mean(values)
    residual = strata.residual_variance(values) * len(means)  # of one training, not of their mean
    return Noise(float(means.var(ddof=1)), len(means) - 1, f"{len(means)} trainings of the baseline", residual)


def noise_of_rows(means: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> Noise | None:
    """Noise pooled over the rows of a table: residual mean square of rows x seeds without what the compared rows say.

    Of its (R - 1)(K - 1) degrees of freedom, K - 1 are those of the difference itself and are left out.

    Args:
        means: for R rows, the printed mean of each of K seeds in points; rows that share a run count once.
        weights: weights of the compared rows, summing to zero; 1 and -1 for two rows.

    Returns:
        None where there is no third row, or no second seed.
    """
    values = np.stack(list(means.values()))
    rows, seeds = values.shape
    if rows < 3 or seeds < 2:
        return None
    residuals = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    factors = np.array([weights.get(row, 0.0) for row in means])
    own = (seeds - 1) * (factors @ values).var(ddof=1) / (factors @ factors)
    df = (rows - 2) * (seeds - 1)
    return Noise(max(0.0, float((residuals**2).sum() - own)) / df, df, f"the {rows} trained rows of this table")


def combined(noises: list[Noise]) -> Noise | None:
    """Several measures pooled, weighted by their degrees of freedom; None if there are none."""
    if len(noises) < 2:
        return noises[0] if noises else None
    freedom = np.array([noise.df for noise in noises], float)
    variance = freedom @ [noise.variance for noise in noises] / freedom.sum()
    residual = freedom @ [noise.residual for noise in noises] / freedom.sum()
    return Noise(float(variance), float(freedom.sum()), " and ".join(noise.source for noise in noises), float(residual))


def beside(by_seed: np.ndarray, noise: Noise | None, trainings: float = 2) -> Noise | None:
    """The part of a noise measured elsewhere that may be pooled with a difference's own spread over seeds.

    A row may be noisier than others. So noise from elsewhere has `MOST_DF` degrees of freedom at most, and 0 where the own
    spread is larger than it explains (F test, one-sided, at the level `DISAGREE`). One seed has no spread of its own.

    Args:
        by_seed: the difference at each seed, in points.
        trainings: variance of the difference in variances of one training.
    """
    if noise is None or len(by_seed) == 1:
        return noise
    own, expected = by_seed.var(ddof=1), trainings * noise.variance
    if own > 0 and (expected == 0 or f.sf(own / expected, len(by_seed) - 1, noise.df) < DISAGREE):
        return replace(noise, df=0)
    return replace(noise, df=min(noise.df, MOST_DF))
