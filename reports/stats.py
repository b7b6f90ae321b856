"""Statistics of word accuracy: intervals, paired differences and tests, what a test set can show, agreement of orderings."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import kendalltau, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95
POWER = 0.8
RESAMPLES = 2000


class Interval(NamedTuple):
    """Per cent or points, with a 95 % interval."""

    value: float
    low: float
    high: float


class Paired(NamedTuple):
    """A row against the baseline on the same images.

    Args:
        n: images.
        difference: in points, with its interval over images; over several seeds, of their means.
        p: exact McNemar of the first seed, two-sided.
        detectable: the smallest difference in points that n images with so many disagreements show in 80 of 100 studies.
        seed_sd: standard deviation of the difference over seeds, in points; nan for one seed.
    """

    n: int
    difference: Interval
    p: float
    detectable: float
    seed_sd: float


class Agreement(NamedTuple):
    """Kendall's tau-b between two orderings of the same rows and its two-sided p-value."""

    tau: float
    p: float
    n: int


def accuracy(correct: float, n: int, effective: float | None = None) -> Interval:
    """Word accuracy with Wilson's interval over images.

    Args:
        correct: may be a mean over seeds.
        n: images, those that an average counts twice twice.
        effective: how many images counted once say as much (`effective_images`); n where left out.
    """
    said = effective or n
    low, high = proportion_confint(correct / n * said, said, alpha=1 - CONFIDENCE, method="wilson")
    return Interval(100 * correct / n, 100 * low, 100 * high)


def effective_images(n: int, twice: int) -> float:
    """What n counts are worth where `twice` images are counted two times: Kish's (sum w)^2 / sum w^2."""
    return n**2 / (n + 2 * twice)


def seed_sd(values: np.ndarray) -> float:
    """Standard deviation over training seeds (n - 1); nan for one: images say nothing about it."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def paired(ours: pd.DataFrame, baseline: pd.DataFrame) -> Paired:
    """Compare two rows image by image.

    Args:
        ours, baseline: an image a line and a seed a column, True where read correctly; the same images in the same
            order, and the same seeds.

    Raises:
        ValueError: they are not of the same images and seeds.
    """
    if not ours.index.equals(baseline.index) or list(ours.columns) != list(baseline.columns):
        raise ValueError("the rows were not evaluated on the same images with the same seeds")
    gain = ours.to_numpy(float) - baseline.to_numpy(float)
    by_image, by_seed = gain.mean(axis=1), 100 * gain.mean(axis=0)
    first = ours.columns[0]
    return Paired(
        n=len(ours),
        difference=mean_interval(by_image),
        p=paired_p(ours[first].to_numpy(bool), baseline[first].to_numpy(bool)),
        detectable=detectable(len(ours), float(np.mean(gain[:, 0] != 0))),
        seed_sd=seed_sd(by_seed),
    )


def mean_interval(differences: np.ndarray) -> Interval:
    """The mean of per-image differences in points, with the percentile interval of a bootstrap over images.

    Few values occur (-1, 0, 1 with one seed), so resampling images is drawing how often each occurs.
    """
    value = 100 * float(differences.mean())
    levels, counts = np.unique(differences, return_counts=True)
    if len(levels) == 1:
        return Interval(value, value, value)
    n = len(differences)
    rng = np.random.default_rng(0)
    means = rng.multinomial(n, counts / n, size=RESAMPLES) @ levels / n
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, 100 * float(low), 100 * float(high))


def paired_p(ours: np.ndarray, baseline: np.ndarray) -> float:
    """Exact McNemar test on the same images; True where read correctly."""
    only_ours, only_baseline = int((ours & ~baseline).sum()), int((~ours & baseline).sum())
    if only_ours + only_baseline == 0:
        return 1.0
    return float(mcnemar([[0, only_ours], [only_baseline, 0]], exact=True).pvalue)


def detectable(n: int, discordant: float) -> float:
    """The smallest true difference, in points, that McNemar's test finds with 80 % power at the 5 % level (Connor 1987).

    Args:
        n: images.
        discordant: share of images that exactly one of the two reads; at least the difference itself, so that a larger
            difference than seen comes with more of them.
    """
    of_level, of_power = norm.ppf((1 + CONFIDENCE) / 2), norm.ppf(POWER)

    def excess(difference: float) -> float:
        share = max(discordant, difference)
        return difference * np.sqrt(n) - of_level * np.sqrt(share) - of_power * np.sqrt(max(0.0, share - difference**2))

    return 100 * float(brentq(excess, 1e-9, 1.0)) if excess(1.0) > 0 else 100.0


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for their number (Holm)."""
    return multipletests(p_values, method="holm")[1].tolist() if p_values else []


def agreement(measured: list[float], published: list[float]) -> Agreement:
    """How far two rows of numbers order the same things alike."""
    result = kendalltau(np.round(measured, 6), np.round(published, 6))  # sums of equal cells are ties
    return Agreement(float(result.statistic), float(result.pvalue), len(measured))
