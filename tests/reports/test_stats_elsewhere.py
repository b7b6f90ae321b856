"""Differences against other implementations, on three tables with the shape of real ones and made-up readings.

A brute-force bootstrap resamples images and seeds; statsmodels estimates variance components of the rows' means.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from reports.stats.compare import Comparison
from reports.stats.intervals import compared
from reports.stats.noise import noise_of_rows
from reports.stats.strata import Strata


class Shape(NamedTuple):
    rows: int
    sizes: tuple[int, ...]  # images of each benchmark
    seeds: int
    noise: float  # points


SHAPES = {  # as Tables VI (micro), V (micro, six families pooled) and III (real benchmarks; nine sets without the nested one)
    "table_VI": Shape(10, (600,) * 5, 5, 2.0),
    "table_V": Shape(8, (600,) * 6, 4, 0.7),
    "table_III": Shape(8, (3000, 647, 1015, 2077, 645, 288, 2416, 2416), 5, 0.3),
}


def readings(shape: Shape, rng) -> np.ndarray:
    """n x R x K, True where read: images differ in difficulty, for all rows and for each, and trainings in level."""
    n = sum(shape.sizes)
    difficulty = rng.normal(size=(n, 1, 1)) + 0.4 * rng.normal(size=(n, shape.rows, 1))
    level = 0.8 + 0.01 * np.arange(shape.rows)[:, None] + 0.03 * shape.noise * rng.normal(size=(shape.rows, shape.seeds))
    level += 0.06 * shape.noise * rng.normal(size=shape.seeds)  # rows of a seed share initial weights and order of the data
    return difficulty + 0.5 * rng.normal(size=(n, shape.rows, shape.seeds)) < level


@pytest.fixture(scope="module", params=SHAPES)
def table(request) -> Comparison:
    shape = SHAPES[request.param]
    correct = readings(shape, np.random.default_rng(7))
    names = np.repeat([f"set {number}" for number in range(len(shape.sizes))], shape.sizes)
    strata = Strata.of(list(names), {name: 1 / len(shape.sizes) for name in dict.fromkeys(names)})
    rows = {f"row {place}": pd.DataFrame(correct[:, place]) for place in range(shape.rows)}
    return Comparison(rows, strata, {row: row for row in rows})


def bootstrap(gain: np.ndarray, strata: Strata, draws: int, rng) -> np.ndarray:
    """Means of a difference over images drawn within benchmarks and seeds drawn from all, each with replacement."""
    places = [np.flatnonzero(strata.codes == code) for code in range(len(strata.sizes))]
    means = []
    for _ in range(draws):
        images = np.concatenate([rng.choice(place, len(place)) for place in places])
        seeds = rng.integers(gain.shape[1], size=gain.shape[1])
        means.append(strata.mean(gain[images][:, seeds].mean(axis=1)))
    return np.array(means)


def test_standard_errors_are_those_of_a_two_way_bootstrap(table):
    """Such a bootstrap counts seeds (K - 1)/K times, and adds as much of the residual to what both parts have of it."""
    rng, ratios = np.random.default_rng(8), []
    for row in ("row 1", "row 4", "row 7"):
        gain = 100 * (table.correct[row].to_numpy(float) - table.correct["row 0"].to_numpy(float))
        found, seeds = compared(gain, table.strata), gain.shape[1]
        residual = table.strata.residual_variance(gain)
        expected = (found.seed_variance / seeds + residual) * (seeds - 1) / seeds + found.image_se**2
        draws = bootstrap(gain, table.strata, 400, rng)
        assert draws.mean() == pytest.approx(found.value, abs=4 * np.sqrt(expected / 400))
        ratios.append(draws.var() / expected)
    assert np.mean(ratios) == pytest.approx(1, abs=0.12) and max(np.abs(np.array(ratios) - 1)) < 0.25


def test_pooled_noise_is_statsmodels_mixed_model(table):
    """Rows fixed and seeds random, by restricted maximum likelihood: the residual variance is of one training."""
    means = pd.DataFrame(table.means).rename_axis("seed").reset_index().melt(id_vars="seed", var_name="row", value_name="mean")
    model = smf.mixedlm("mean ~ C(row)", means, groups="seed").fit(reml=True)
    pooled = noise_of_rows(table.means, {"row 3": 1, "row 0": -1})
    seeds = len(table.means["row 0"])
    own = (table.means["row 3"] - table.means["row 0"]).var(ddof=1) / 2
    assert model.cov_re.iloc[0, 0] > 0
    assert (pooled.df * pooled.variance + (seeds - 1) * own) / (pooled.df + seeds - 1) == pytest.approx(model.scale, rel=1e-3)


def test_the_variance_of_one_difference_is_statsmodels_crossed_model():
    """Images and seeds random and crossed, 100 images and four seeds: the sum of its components over their numbers."""
    n, seeds = 100, 4
    rng = np.random.default_rng(9)
    gain = rng.normal(size=(n, 1)) + 0.6 * rng.normal(size=(1, seeds)) + 0.8 * rng.normal(size=(n, seeds))
    frame = pd.DataFrame({"gain": gain.ravel(), "image": np.repeat(np.arange(n), seeds), "seed": np.tile(np.arange(seeds), n)})
    parts = {"image": "0 + C(image)", "seed": "0 + C(seed)"}
    model = smf.mixedlm("gain ~ 1", frame, groups=np.ones(len(frame)), vc_formula=parts).fit(reml=True)
    of = dict(zip(model.model.exog_vc.names, model.vcomp, strict=True))
    expected = of["image"] / n + of["seed"] / seeds + model.scale / (n * seeds)
    found = compared(100 * gain, Strata.single(n))
    pair = 2 * 100**2 / n / (n - 1)  # the two images that are added
    assert (found.image_se**2 + found.training_se**2 - pair) / 100**2 == pytest.approx(expected, rel=0.01)
