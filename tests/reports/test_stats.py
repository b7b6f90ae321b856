"""Statistics against values worked by hand or by another library, and on simulated data whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from statsmodels.stats.power import TTestPower

from reports.stats import intervals
from reports.stats.compare import Comparison
from reports.stats.noise import Noise, beside, combined, noise_of_replicates, noise_of_rows
from reports.stats.strata import Strata

SIMULATED = np.random.default_rng(0)


def one_seed(correct) -> pd.DataFrame:
    return pd.DataFrame({0: np.asarray(correct, bool)})


def paired(ours, baseline, strata=None, noise=None) -> intervals.Paired:
    return intervals.compared(
        100 * (ours.to_numpy(float) - baseline.to_numpy(float)), strata or Strata.single(len(ours)), noise
    )


def test_wilson_interval_by_hand():
    """81 of 263: Wilson's 95 % interval as in Newcombe (1998), example 1."""
    value = intervals.accuracy(81, 263)
    assert (value.value, value.low, value.high) == pytest.approx((30.798, 25.53, 36.62), abs=0.01)


def test_wilson_interval_covers_the_truth():
    hits = 0
    for correct in SIMULATED.binomial(300, 0.92, size=2000):
        interval = intervals.accuracy(correct, 300)
        hits += interval.low <= 92 <= interval.high
    assert 0.93 < hits / 2000 < 0.97


def two_rows(seeds: int, sd: float, rng, n: int = 400) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two rows of equal accuracy, 80 per cent, whose trainings vary by `sd` points."""
    chance = 0.8 + sd / 100 * rng.standard_normal((2, 1, seeds))
    ours, baseline = rng.random((2, n, seeds)) < chance
    return pd.DataFrame(ours), pd.DataFrame(baseline)


def test_one_seed_is_an_interval_over_images():
    """Of 100 images 12 are won and 4 lost: 8 points; with a pair added, variance (16 + 2 - 100 x 0.08^2) / 99 / 100."""
    ours, baseline = one_seed(np.arange(100) < 12), one_seed((np.arange(100) >= 20) & (np.arange(100) < 24))
    found = paired(ours, baseline)
    error = 100 * np.sqrt((16 + 2 - 100 * 0.08**2) / 99 / 100)
    assert found.value == pytest.approx(8) and found.image_se == pytest.approx(error) and found.df == pytest.approx(99)
    assert found.high - found.value == pytest.approx(t.ppf(0.975, 99) * error)
    assert np.isnan(found.p) and np.isnan(found.training_se) and np.isnan(found.seed_sd) and not found.knows_training
    assert found.seeds_needed() is None


def test_equal_readers_differ_by_nothing_but_are_not_known_to_be_equal():
    found = paired(one_seed([1, 0, 1]), one_seed([1, 0, 1]))
    assert found.value == 0 and found.low < 0 < found.high


def test_both_parts_make_the_variance():
    ours, baseline = two_rows(4, 3.0, np.random.default_rng(1))
    found = paired(ours, baseline)
    gain = 100 * (ours.to_numpy(float) - baseline)
    by_seed = gain.mean(axis=0)
    assert found.value == pytest.approx(by_seed.mean()) and found.seed_sd == pytest.approx(by_seed.std(ddof=1))
    assert found.seed_variance == pytest.approx(by_seed.var(ddof=1)) and found.seed_df == 3
    error = np.hypot(found.image_se, found.training_se)
    assert found.high - found.value == pytest.approx(t.ppf(0.975, found.df) * error)
    assert found.p == pytest.approx(2 * t.sf(abs(found.value) / error, found.df))


def test_seeds_have_a_variance_of_their_own():
    """Seeds 60, 70 and 80 per cent against 50, 50 and 50: 20 points, of standard deviation 10."""
    ours = pd.DataFrame({s: np.arange(10) < k for s, k in enumerate((6, 7, 8))})
    baseline = pd.DataFrame({s: np.arange(10) < 5 for s in range(3)})
    found = paired(ours, baseline)
    assert found.value == pytest.approx(20) and found.seed_sd == pytest.approx(10)
    assert intervals.seed_sd(np.array([1.0, 3.0])) == pytest.approx(np.sqrt(2)) and np.isnan(intervals.seed_sd(np.array([1.0])))


def test_noise_from_outside_judges_one_seed_and_joins_several():
    ours, baseline = two_rows(3, 1.0, np.random.default_rng(2))
    outside = Noise(variance=4.0, df=4, source="elsewhere")
    one = paired(ours[[0]], baseline[[0]], noise=outside)
    assert one.seed_variance == 8 and one.seed_df == 4 and 0 < one.p < 1
    assert one.image_se**2 + one.training_se**2 == pytest.approx(one.image_se**2 + 8)
    alone, several = paired(ours, baseline), paired(ours, baseline, noise=outside)
    assert several.seed_variance == pytest.approx((2 * alone.seed_variance + 4 * 8) / 6) and several.seed_df == 6


def test_a_stratified_difference_is_of_the_mean_of_means():
    """One benchmark of 10 images gains 20 points, one of 90 none: 10 points by the mean, 2 pooled."""
    names = ["small"] * 10 + ["large"] * 90
    strata = Strata.of(names, {"small": 0.5, "large": 0.5})
    found = paired(one_seed(np.arange(100) < 2), one_seed(np.zeros(100)), strata=strata)
    assert found.value == pytest.approx(10)
    assert paired(one_seed(np.arange(100) < 2), one_seed(np.zeros(100))).value == pytest.approx(2)
    squares = {"small": 2 * 0.8**2 + 8 * 0.2**2 + 2, "large": 2 * 90 / 100}  # both added images, and 90 % of them
    variance = 0.25 * squares["small"] / 9 / 10 + 0.25 * squares["large"] / 89 / 90
    assert found.image_se == pytest.approx(100 * np.sqrt(variance))


def test_a_benchmark_inside_another_is_correlated_with_it():
    """The mean of half of the images and of all of them has the variance of its weights, image by image."""
    gain = np.random.default_rng(3).choice([-100.0, 0.0, 100.0], size=1000, p=[0.1, 0.7, 0.2])
    both = Strata.of(["inner"] * 500 + ["outer"] * 1000, {"inner": 0.5, "outer": 0.5}, {"inner": ("outer",)})
    weights = np.where(np.arange(1000) < 500, 0.5 / 500 + 0.5 / 1000, 0.5 / 1000)
    assert both.mean(np.concatenate([gain[:500], gain])) == pytest.approx(weights @ gain)
    expected = (weights**2).sum() * gain.var()
    assert both.image_variance(np.concatenate([gain[:500], gain]))[0] == pytest.approx(expected, rel=0.05)


def test_weights_name_every_benchmark_and_sum_to_one():
    for weights in ({"a": 1.0}, {"a": 0.5, "b": 0.4}, {"a": 0.5, "b": 0.2, "c": 0.3}):
        with pytest.raises(ValueError, match="must sum to 1 and name the benchmarks a, b"):
            Strata.of(["a", "b"], weights)


def test_a_rows_own_noise_is_not_counted_twice():
    """Two rows of three seeds: nothing is left for the pool; a third row's residuals are worked by hand."""
    means = {"a": np.array([80.0, 82, 84]), "b": np.array([80.0, 80, 80]), "c": np.array([70.0, 73, 70])}
    of_two, of_one_seed = {row: means[row] for row in "ab"}, {row: values[:1] for row, values in means.items()}
    assert noise_of_rows(of_two, {"a": 1, "b": -1}) is None and noise_of_rows(of_one_seed, {"a": 1, "b": -1}) is None
    rest = means["c"] - (means["a"] + means["b"]) / 2  # the contrast that is left, of squared length 3 / 2
    found = noise_of_rows(means, {"a": 1, "b": -1})
    assert found.variance == pytest.approx(rest.var(ddof=1) / 1.5) and found.df == 2
    alike = {row: np.array([80.0, 81, 82]) + number for number, row in enumerate("abc")}
    assert noise_of_rows(alike, {"a": 1, "b": -1}).variance == pytest.approx(0)


def test_noise_from_elsewhere_counts_little_and_not_against_a_noisier_row():
    noise = Noise(1.0, 20, "elsewhere")
    assert beside(np.array([0.0, 1, 2]), noise) == Noise(1.0, 2, "elsewhere")
    assert beside(np.array([0.0, 5, 9]), noise).df == 0 and beside(np.array([3.0]), noise) == noise
    assert beside(np.array([0.0, 1]), None) is None and beside(np.zeros(3), Noise(0.0, 4, "exact")).df == 2


def test_replicates_measure_one_training():
    correct = pd.DataFrame(np.random.default_rng(4).random((500, 5)) < 0.8)
    found = noise_of_replicates(correct, Strata.single(500))
    assert found.variance == pytest.approx((100 * correct.mean()).var()) and found.df == 4
    assert found.residual == pytest.approx(found.variance, rel=1.5)  # independent images: nothing but that
    both = combined([found, Noise(1.0, 4, "x")])
    assert both.variance == pytest.approx((found.variance + 1) / 2) and both.df == 8 and combined([]) is None


@pytest.mark.parametrize("seeds", [2, 5])
def test_the_detectable_difference_is_found_four_times_in_five(seeds):
    """By the t test that is used, on differences whose variance is known to have the degrees of freedom it claims."""
    rng = np.random.default_rng(4)
    found = paired(*two_rows(seeds, 2.0, rng))
    df, error = found.df, np.hypot(found.image_se, found.training_se)
    estimates = found.detectable + error * rng.standard_normal(20000)
    errors = error * np.sqrt(rng.chisquare(df, 20000) / df)
    assert np.mean(np.abs(estimates) > t.ppf(0.975, df) * errors) == pytest.approx(0.8, abs=0.02)


def test_the_fewest_seeds_that_decide():
    """Without images it is a t test of K differences, which statsmodels knows."""
    for difference in (0.8, 1.0, 3.0):
        known = int(np.ceil(TTestPower().solve_power(difference / 1.5, alpha=0.05, power=0.8)))
        assert intervals.seeds_needed(difference, 1.5**2, 0, 0.0) == known
    assert intervals.seeds_needed(1.0, 1.0, 4, 1.0) is None  # 2.8 standard errors of images alone are more
    assert intervals.seeds_needed(0.0, 1.0, 4, 0.0) is None and intervals.seeds_needed(1.0, 0.0, 4, 0.0) == 1
    few, many = (intervals.seeds_needed(1.0, 1.0, 4, 0.02, level) for level in (0.05, 0.005))
    assert few < many


def test_images_that_count_twice_say_less():
    """14,315 counts of 12,504 images: the 1,811 of IC15 stand in both of its sets."""
    effective = intervals.effective_images(14315, 1811)
    assert effective == pytest.approx(14315**2 / (10693 + 4 * 1811)) and intervals.effective_images(100, 0) == 100
    once, twice = intervals.accuracy(13000, 14315), intervals.accuracy(13000, 14315, effective)
    assert once.value == twice.value and twice.low < once.low and twice.high > once.high


def test_holm_by_hand():
    assert intervals.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert intervals.holm([]) == []


def test_rows_of_a_run_that_others_read_too_count_once_as_they_are_compared():
    """A fourth row reads the first one's models in another way, and much less alike over seeds: the pool has none of it."""
    means = {"a": (80, 82, 84), "b": (80, 80, 80), "c": (70, 73, 70), "a2": (60, 60, 90)}
    correct = {
        row: pd.DataFrame({seed: np.arange(100) < right for seed, right in enumerate(values)}) for row, values in means.items()
    }
    compared = Comparison(correct, Strata.single(100), {"a": "one", "b": "two", "c": "three", "a2": "one"})
    expected = noise_of_rows({row: np.array(means[row], float) for row in "abc"}, {"a": 1, "b": -1})
    found = compared.noise({"a": 1, "b": -1})
    assert (found.variance, found.df) == pytest.approx((expected.variance, 2))


def test_the_own_part_of_four_rows_is_that_of_their_weights(monkeypatch):
    """Residuals of six rows: 4 x 2 and 2 x 18, 44 in all; a contrast is 4 and -4, of variance 32, 8 of a training."""
    values = {"a": (81, 79), "b": (79, 81), "c": (79, 81), "d": (81, 79), "e": (83, 77), "f": (77, 83)}
    means, weights = {row: np.array(pair, float) for row, pair in values.items()}, {"a": 1, "b": -1, "c": -1, "d": 1}
    found = noise_of_rows(means, weights)
    assert found.df == 4 and found.variance == pytest.approx((44 - 8) / 4)
    trainings = []
    monkeypatch.setattr("reports.stats.compare.beside", lambda by_seed, noise, count=2: trainings.append(count))
    correct = {row: pd.DataFrame({s: np.arange(100) < n for s, n in enumerate(pair)}) for row, pair in values.items()}
    Comparison(correct, Strata.single(100), {row: row for row in correct}).noise(weights)
    assert trainings == [4]


def test_noises_are_pooled_by_their_degrees_of_freedom():
    both = combined([Noise(1.0, 2, "a", 0.5), Noise(4.0, 6, "b", 0.1)])
    assert (both.variance, both.df, both.residual) == pytest.approx((3.25, 8, 0.2)) and both.source == "a and b"


def test_a_contrast_of_four_rows_has_the_noise_of_four_trainings():
    """Weights of 1 and -1: the variance of one training as often as there are rows."""
    rng, rows = np.random.default_rng(5), "abcd"
    correct = {row: pd.DataFrame(rng.random((50, 1)) < 0.8) for row in rows}
    compared = Comparison(correct, Strata.single(50), {row: row for row in rows}, Noise(4.0, 1000, "elsewhere"))
    assert compared.contrast({"a": 1, "b": -1}).seed_variance == 8
    assert compared.contrast({"a": 1, "b": -1, "c": -1, "d": 1}).seed_variance == 16


def test_what_images_show_of_replicates_is_that_of_one_training():
    """Independent readings of 20,000 images: nothing but their own variance, 80 % times 20 % over the images."""
    correct = pd.DataFrame(np.random.default_rng(6).random((20_000, 5)) < 0.8)
    found = noise_of_replicates(correct, Strata.single(20_000))
    assert found.residual == pytest.approx(100**2 * 0.8 * 0.2 / 20_000, rel=0.05)


def test_what_images_show_of_training_noise_counts_once():
    """One seed: of two trainings' variance of 8, images show 2 already."""
    won_and_lost = one_seed(np.arange(100) < 2), one_seed(np.arange(100) >= 98)
    found = paired(*won_and_lost, noise=Noise(4.0, 4, "elsewhere", residual=1.0))
    assert 2 < found.image_se**2 < 8 and found.training_se**2 == pytest.approx(8 - 2)


def test_one_image_decides_nothing_however_much_its_benchmark_weighs():
    """Five columns of one mean, one of a single image, which is all that two rows differ in: 20 points."""
    names = ["a"] + [name for name in "bcde" for _ in range(1000)]
    strata = Strata.of(names, dict.fromkeys("abcde", 0.2))
    first = np.arange(4001) == 0
    found = paired(one_seed(first), one_seed(np.zeros(4001)), noise=Noise(0.04, 4, "elsewhere"), strata=strata)
    assert found.value == pytest.approx(20) and found.p > 0.3


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_spread_known_from_these_trainings_alone_has_their_degrees_of_freedom(seeds):
    """Satterthwaite's number, of variances that were estimated from so few trainings, rejects a true null too often."""
    ours, theirs = (pd.DataFrame({seed: np.arange(400) % 7 < limit for seed in range(seeds)}) for limit in (5, 4))
    alone, with_others = paired(ours, theirs), paired(ours, theirs, noise=Noise(1.0, 20, "elsewhere"))
    assert alone.training_se == 0 and alone.df == seeds - 1 and with_others.df > 20
    assert alone.high - alone.value == pytest.approx(t.ppf(0.975, seeds - 1) * np.hypot(alone.image_se, alone.training_se))


def test_seeds_that_would_decide_are_more_than_there_are_where_they_alone_measure_noise():
    """14 of 400 images won and none lost with every seed: t of two degrees of freedom does not call it significant."""
    ours = pd.DataFrame({seed: np.arange(400) < 114 for seed in range(3)})
    found = paired(ours, pd.DataFrame({seed: np.arange(400) < 100 for seed in range(3)}))
    assert found.p > 0.05 and found.alone and found.seeds_needed() > 3
    assert intervals.seeds_needed(5.0, 1e-6, 2, 1.0) == 1 and intervals.seeds_needed(5.0, 1e-6, 2, 1.0, alone=True) > 2


def test_a_row_noisier_than_the_others_keeps_its_degrees_of_freedom():
    """Its spread is known to be large, not by chance small: nothing has to be guarded against."""
    rng = np.random.default_rng(0)
    ours, theirs = (pd.DataFrame({seed: rng.random(400) < share for seed in range(3)}) for share in (0.6, 0.5))
    refused, joined = (paired(ours, theirs, noise=Noise(1.0, df, "elsewhere")) for df in (0, 2))
    alone = paired(ours, theirs)
    assert refused.seed_variance == alone.seed_variance and alone.df <= 2 < refused.df and not refused.alone
    assert joined.seed_df == refused.seed_df + 2


def test_benchmarks_have_their_own_degrees_of_freedom():
    """Satterthwaite (1946): 10 images weigh as much as 90, and their variance, known with 9 degrees of freedom, most of all."""
    gain, names = 100.0 * (np.arange(100) % 3 == 0), ["small"] * 10 + ["large"] * 90
    strata = Strata.of(names, {"small": 0.5, "large": 0.5})
    parts = [
        0.25 * (((part - part.mean()) ** 2).sum() + 2 * 100**2 * added) / (len(part) - 1) / len(part)
        for part, added in ((gain[:10], 1), (gain[10:], 0.9))
    ]
    df = sum(parts) ** 2 / (parts[0] ** 2 / 9 + parts[1] ** 2 / 89)
    assert strata.image_variance(gain) == pytest.approx((sum(parts), df)) and 9 < df < 15
