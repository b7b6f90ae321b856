"""Statistics of word accuracy: intervals, paired tests, agreement of orderings."""

from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint


class Interval(NamedTuple):
    """Per cent, with a 95 % interval."""

    value: float
    low: float
    high: float


class Agreement(NamedTuple):
    """Kendall's tau-b between two orderings of the same rows and its two-sided p-value."""

    tau: float
    p: float
    n: int


def accuracy(correct: float, n: int) -> Interval:
    """Word accuracy with Wilson's interval over images.

    Args:
        correct: may be a mean over seeds.
        n: images.
    """
    low, high = proportion_confint(correct, n, alpha=0.05, method="wilson")
    return Interval(100 * correct / n, 100 * low, 100 * high)


def paired_p(ours: np.ndarray, baseline: np.ndarray) -> float:
    """Exact McNemar test on the same images; True where read correctly."""
    only_ours, only_baseline = int((ours & ~baseline).sum()), int((~ours & baseline).sum())
    if only_ours + only_baseline == 0:
        return 1.0
    return float(mcnemar([[0, only_ours], [only_baseline, 0]], exact=True).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for their number (Holm)."""
    return multipletests(p_values, method="holm")[1].tolist() if p_values else []


def agreement(measured: list[float], published: list[float]) -> Agreement:
    """How far two rows of numbers order the same things alike."""
    result = kendalltau(measured, published)
    return Agreement(float(result.statistic), float(result.pvalue), len(measured))
