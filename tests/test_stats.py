"""Statistics against values worked by hand or by another library, and on simulated data whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

from reports import stats

SIMULATED = np.random.default_rng(0)


def one_seed(correct) -> pd.DataFrame:
    return pd.DataFrame({0: np.asarray(correct, bool)})


def simulate(n: int, gain: float, discordant: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """Two readers of n images: the first is better by `gain`, and `discordant` of the images are read by one alone."""
    kind = rng.choice(4, size=n, p=[(discordant + gain) / 2, (discordant - gain) / 2, 0.6, 0.4 - discordant])
    return (kind == 0) | (kind == 2), (kind == 1) | (kind == 2)


def test_wilson_interval_by_hand():
    """81 of 263: Wilson's 95 % interval as in Newcombe (1998), example 1."""
    value = stats.accuracy(81, 263)
    assert (value.value, value.low, value.high) == pytest.approx((30.798, 25.53, 36.62), abs=0.01)


def test_wilson_interval_covers_the_truth():
    hits = 0
    for correct in SIMULATED.binomial(300, 0.92, size=2000):
        interval = stats.accuracy(correct, 300)
        hits += interval.low <= 92 <= interval.high
    assert 0.93 < hits / 2000 < 0.97


def test_exact_mcnemar_by_hand():
    """2 against 8 discordant images: the two-sided binomial is 2 (1 + 10 + 45) / 1024."""
    ours = np.array([True] * 2 + [False] * 8 + [True] * 5)
    baseline = np.array([False] * 2 + [True] * 8 + [True] * 5)
    assert stats.paired_p(ours, baseline) == pytest.approx(112 / 1024)
    assert stats.paired_p(ours, ours) == 1.0


def test_mcnemar_keeps_its_false_positive_rate():
    rng = np.random.default_rng(0)
    p = [stats.paired_p(*simulate(300, 0.0, 0.2, rng)) for _ in range(1000)]
    assert np.mean(np.array(p) < 0.05) < 0.06


def test_the_paired_bootstrap_is_scipys():
    """Drawing how often each outcome occurs is resampling images."""
    ours, baseline = simulate(500, 0.05, 0.15, np.random.default_rng(1))
    gain = ours.astype(float) - baseline
    mine = stats.mean_interval(gain)
    theirs = bootstrap((gain,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(2))
    assert mine.value == pytest.approx(100 * gain.mean())
    assert mine.low == pytest.approx(100 * theirs.confidence_interval.low, abs=0.4)
    assert mine.high == pytest.approx(100 * theirs.confidence_interval.high, abs=0.4)


def test_the_paired_bootstrap_covers_the_truth():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(500):
        ours, baseline = simulate(400, 0.04, 0.12, rng)
        interval = stats.mean_interval(ours.astype(float) - baseline)
        hits += interval.low <= 4 <= interval.high
    assert 0.92 < hits / 500 < 0.975


def test_equal_readers_differ_by_nothing():
    assert stats.mean_interval(np.zeros(10)) == (0, 0, 0)
    found = stats.paired(one_seed([1, 0, 1]), one_seed([1, 0, 1]))
    assert found.difference.value == 0 and found.p == 1 and np.isnan(found.seed_sd)


def test_the_detectable_difference_is_found_four_times_in_five():
    rng, n, discordant = np.random.default_rng(4), 1500, 0.1
    difference = stats.detectable(n, discordant) / 100
    found = [stats.paired_p(*simulate(n, difference, discordant, rng)) < 0.05 for _ in range(600)]
    assert 0.74 < np.mean(found) < 0.86


def test_more_images_show_smaller_differences():
    sizes = [stats.detectable(n, 0.1) for n in (50, 500, 5000)]
    assert sizes == sorted(sizes, reverse=True)
    assert stats.detectable(1000, 0.0) == pytest.approx(0.8, abs=0.1)  # all eight disagreements one way: 2^-7 is significant
    assert stats.detectable(3, 1.0) == 100


def test_seeds_have_a_variance_of_their_own():
    """Seeds 60, 70 and 80 per cent against 50, 50 and 50: 20 points, of standard deviation 10."""
    ours = pd.DataFrame({s: np.arange(10) < k for s, k in enumerate((6, 7, 8))})
    baseline = pd.DataFrame({s: np.arange(10) < 5 for s in range(3)})
    found = stats.paired(ours, baseline)
    assert found.difference.value == pytest.approx(20) and found.seed_sd == pytest.approx(10)
    assert found.p == 1.0  # of the first seed: one image
    assert stats.seed_sd(np.array([1.0, 3.0])) == pytest.approx(np.sqrt(2)) and np.isnan(stats.seed_sd(np.array([1.0])))


def test_other_images_or_seeds_are_refused():
    with pytest.raises(ValueError, match="not evaluated on the same images with the same seeds"):
        stats.paired(one_seed([1, 0]), one_seed([1, 0, 1]))
    with pytest.raises(ValueError, match="same seeds"):
        stats.paired(one_seed([1, 0]), one_seed([1, 0]).rename(columns={0: 1}))


def test_images_that_count_twice_say_less():
    """14,315 counts of 12,504 images: the 1,811 of IC15 stand in both of its sets."""
    effective = stats.effective_images(14315, 1811)
    assert effective == pytest.approx(14315**2 / (10693 + 4 * 1811)) and stats.effective_images(100, 0) == 100
    once, twice = stats.accuracy(13000, 14315), stats.accuracy(13000, 14315, effective)
    assert once.value == twice.value and twice.low < once.low and twice.high > once.high


def test_rounding_makes_no_order():
    assert stats.agreement([0.1 + 0.2, 0.3, 0.4], [0.3, 0.3, 0.5]).tau == pytest.approx(1.0)


def test_holm_and_kendall_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([]) == []
    assert stats.agreement([1, 2, 3, 4], [1, 2, 4, 3]).tau == pytest.approx(4 / 6)
