"""Training noise: how far the printed mean of one configuration moves from one training to the next."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.strata import Strata

MOST_DF = 4  # what other rows' noise may count for beside a row's own; chosen by `reports.simulation`


@dataclass(frozen=True)
class Noise:
    """A measure of training noise from outside the two rows that are compared.

    Args:
        variance: of the printed mean over trainings of one configuration, in points squared.
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


def noise_of_rows(means: pd.DataFrame, weights: Mapping[str, float]) -> Noise | None:
    """Noise pooled over the rows of a table: residual mean square of rows x seeds without what the compared rows say.

    Of its (R - 1)(K - 1) degrees of freedom, K - 1 are those of the difference itself and are left out; the rest count for
    `MOST_DF` at most, so that a row noisier than the others keeps a voice.

    Args:
        means: R rows x K seeds, the printed mean in points; rows that share a run stand there once.
        weights: of the rows whose sum is compared, summing to zero; of two rows 1 and -1.

    Returns:
        None where there is no third row, or no second seed.
    """
    rows, seeds = means.shape
    if rows < 3 or seeds < 2:
        return None
    values = means.to_numpy(float)
    residuals = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    factors = np.array(list(weights.values()))
    own = (seeds - 1) * (factors @ means.loc[list(weights)].to_numpy()).var(ddof=1) / (factors @ factors)
    df = (rows - 2) * (seeds - 1)
    return Noise(max(0.0, float((residuals**2).sum() - own)) / df, min(df, MOST_DF), f"the {rows} rows of this table")


def combined(noises: list[Noise]) -> Noise | None:
    """Several measures as one, weighted by their degrees of freedom; None for none."""
    if len(noises) < 2:
        return noises[0] if noises else None
    freedom = np.array([noise.df for noise in noises])
    variance = float(freedom @ [noise.variance for noise in noises] / freedom.sum())
    residual = float(freedom @ [noise.residual for noise in noises] / freedom.sum())
    return Noise(
        variance, min(float(freedom.sum()), max(MOST_DF, freedom.max())), " and ".join(n.source for n in noises), residual
    )
