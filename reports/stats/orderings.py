"""Agreement of the measured and the published order of rows: Kendall's tau, exact p, interval over seeds and images."""

from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau, permutation_test

from reports.stats.intervals import LEVEL
from reports.stats.strata import Strata

RESAMPLES = 1000
PERMUTATIONS = 9999  # all n! where there are not more of them


class Agreement(NamedTuple):
    """Kendall's tau-b between two orderings of the same rows.

    Args:
        p: two-sided and exact; where values are tied, over permutations.
        n: rows.
        low, high: 95 % interval of a bootstrap over seeds and images; nan where it was not asked for.
        ties: pairs of rows that are equal in one of the orderings, as printed.
    """

    tau: float
    p: float
    n: int
    low: float = np.nan
    high: float = np.nan
    ties: int = 0


def agreement(measured: list[float], published: list[float]) -> Agreement:
    """Kendall's tau of two sequences of numbers, without an interval."""
    ours, theirs = np.round(measured, 6), np.round(published, 6)  # sums of equal cells are ties
    signs = signs_of(np.stack([ours, theirs]))
    ties = int((signs == 0).any(axis=0).sum())
    result = kendalltau(ours, theirs, method="asymptotic" if ties else "exact")
    return Agreement(float(result.statistic), tied_p(ours, signs[1]) if ties else float(result.pvalue), len(ours), ties=ties)


def signs_of(values: np.ndarray) -> np.ndarray:
    """The order of every pair of rows: ... x R to ... x R(R - 1)/2 of -1, 0 and 1."""
    first, second = np.triu_indices(values.shape[-1], 1)
    return np.sign(values[..., first] - values[..., second])


def tied_p(values: np.ndarray, published: np.ndarray) -> float:
    """Two-sided p of Kendall's S over permutations of the rows; ties do not change its denominator.

    Args:
        values: R.
        published: signs of the pairs.
    """

    def score(permuted: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(signs_of(np.moveaxis(permuted, axis, -1)) @ published)

    test = permutation_test(
        (values,), score, permutation_type="pairings", vectorized=True, n_resamples=PERMUTATIONS, alternative="greater", rng=0
    )
    return float(test.pvalue)


def with_interval(order: Agreement, correct: np.ndarray, published: list[float], strata: Strata) -> Agreement:
    """Add the percentile interval of tau over resampled seeds (the same for all rows) and images (within benchmarks).

    Args:
        correct: n x R x K, True where read correctly.
        published: R.
    """
    _, rows, seeds = correct.shape
    rng = np.random.default_rng(0)
    means = np.zeros((RESAMPLES, rows, seeds))
    for code, (size, weight) in enumerate(zip(strata.sizes, strata.weights, strict=True)):
        drawn = rng.multinomial(size, np.full(size, 1 / size), size=RESAMPLES).astype(np.float32)
        here = correct[strata.codes == code].reshape(size, -1).astype(np.float32)
        means += weight / size * (drawn @ here).reshape(RESAMPLES, rows, seeds)
    chosen = rng.integers(seeds, size=(RESAMPLES, 1, seeds))
    resampled = np.take_along_axis(means, chosen, axis=2).mean(axis=2)
    ours, theirs = signs_of(np.round(resampled, 6)), signs_of(np.round(published, 6))
    pairs = np.sqrt((ours != 0).sum(axis=1) * (theirs != 0).sum())
    taus = np.divide(ours @ theirs, pairs, out=np.zeros(RESAMPLES), where=pairs > 0)
    low, high = np.quantile(taus, [LEVEL / 2, 1 - LEVEL / 2])
    return order._replace(low=float(low), high=float(high))
