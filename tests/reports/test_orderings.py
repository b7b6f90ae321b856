"""Agreement of orderings against values worked by hand and by enumeration."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import kendalltau

from reports.stats.orderings import agreement, with_interval
from reports.stats.strata import Strata


def test_kendall_by_hand():
    """One of six pairs disagrees; of 24 orders 8 are as far from chance or farther: 1 + 3 on either side."""
    found = agreement([1, 2, 3, 4], [1, 2, 4, 3])
    assert found.tau == pytest.approx(4 / 6) and found.p == pytest.approx(8 / 24) and found.ties == 0 and np.isnan(found.low)


def test_rounding_makes_no_order():
    assert agreement([0.1 + 0.2, 0.3, 0.4], [0.3, 0.3, 0.5]).tau == pytest.approx(1.0)


def test_ties_are_counted_and_p_is_over_permutations():
    measured, published = [1.0, 2, 2, 4, 5], [2.0, 1, 3, 3, 5]
    found = agreement(measured, published)
    taus = [kendalltau(order, published).statistic for order in permutations(measured)]
    assert found.ties == 2 and found.tau == pytest.approx(kendalltau(measured, published).statistic)
    assert found.p == pytest.approx(np.mean(np.abs(taus) > abs(found.tau) - 1e-9))


def rows(accuracies, seeds: int, sd: float, n: int = 500) -> np.ndarray:
    rng = np.random.default_rng(0)
    chance = np.array(accuracies)[:, None] + sd * rng.standard_normal((len(accuracies), seeds))
    return rng.random((n, len(accuracies), seeds)) < chance


def interval(correct, published) -> tuple[float, float]:
    found = agreement(correct.mean(axis=(0, 2)).tolist(), published)
    return with_interval(found, correct, published, Strata.single(len(correct)))[3:5]


def test_rows_far_apart_have_a_sure_order_and_close_ones_have_not():
    published = [1.0, 2, 3, 4]
    assert interval(rows([0.2, 0.4, 0.6, 0.8], 3, 0.01), published) == (1, 1)
    low, high = interval(rows([0.50, 0.51, 0.52, 0.53], 1, 0.0), published)
    assert low < 0.5 <= high


def test_seeds_widen_the_interval():
    published = [1.0, 2, 3, 4]
    quiet, loud = (interval(rows([0.5, 0.6, 0.7, 0.8], 4, sd), published) for sd in (0.0, 0.15))
    assert quiet[1] - quiet[0] < loud[1] - loud[0]


def test_the_interval_is_of_the_printed_mean():
    """20 images that weigh 90 % have the published order, 400 others the reverse."""
    correct = np.zeros((420, 3, 1), bool)
    correct[:20, 2], correct[20:, 0] = True, True
    correct[::2, 1] = True
    strata = Strata.of(["few"] * 20 + ["many"] * 400, {"few": 0.9, "many": 0.1})
    found = with_interval(agreement([10, 50, 90], [1, 2, 3]), correct, [1, 2, 3], strata)
    assert (found.low, found.high) == (1, 1)


def test_all_rows_are_resampled_with_the_same_seeds():
    """The seeds are far apart, 40 points, and all rows of a seed in the same order, 20 points apart."""
    read = 10 + 20 * np.arange(3)[:, None] + 40 * np.arange(2)
    assert interval(np.arange(100)[:, None, None] < read, [1, 2, 3]) == (1, 1)


def test_the_interval_leaves_out_two_and_a_half_per_cent_on_either_side():
    """Two rows, 30 images read by one alone and 18 by the other: about 3.5 % of the resamples turn them round."""
    images = np.arange(400)
    correct = np.stack([images < 18, (images >= 18) & (images < 48)], axis=1)[..., None]
    assert interval(correct, [1, 2]) == (-1, 1) and interval(correct, [2, 1]) == (-1, 1)
