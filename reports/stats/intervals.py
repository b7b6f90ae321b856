"""Statistics of word accuracy: intervals, p-values of differences with image and training noise, Holm's correction, power.

A difference of two rows is gain[i, k] = mu + a_k + b_i + e_ik for image i and seed k, in points: a_k is training noise, b_i
the choice of images, e_ik both together (docs/statistics.md).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import nct, norm, t
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from core.data.benchmarks import distinct
from core.errors import ReportError
from reports.stats.noise import Noise
from reports.stats.strata import Strata

LEVEL = 0.05
CONFIDENCE = 1 - LEVEL
POWER = 0.8


class Interval(NamedTuple):
    """Per cent or points, with a 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """A row against the baseline on the same images, in points.

    Args:
        value: difference of the printed means, averaged over seeds.
        low, high: 95 % interval; over images alone where `knows_training` is False, and then of these two models only.
        p: two-sided, from the same t; nan where training noise is not known.
        df: degrees of freedom of t.
        image_se: standard error from the choice of images.
        training_se: standard error that training adds: image_se^2 + training_se^2 is the whole variance; nan where unknown.
        n: images.
        seeds: trainings of each row.
        seed_sd: standard deviation of the difference over seeds; nan for one seed.
        seed_variance: variance of the difference of two single trainings as it was used; nan where unknown.
        seed_df: its degrees of freedom; 0 where unknown.
        floor_variance: variance from images that no number of seeds removes.
        alone: whether these trainings are all that training noise can be known from.
    """

    value: float
    low: float
    high: float
    p: float
    df: float
    image_se: float
    training_se: float
    n: int
    seeds: int
    seed_sd: float
    seed_variance: float
    seed_df: float
    floor_variance: float
    alone: bool

    @property
    def knows_training(self) -> bool:
        """Whether the interval and p hold for other trainings of the two rows."""
        return not np.isnan(self.seed_variance)

    @property
    def detectable(self) -> float:
        """The smallest true difference, in points, that such a study finds with 80 % power at the 5 % level."""
        error = np.hypot(self.image_se, np.nan_to_num(self.training_se))
        return float(error * brentq(lambda shift: power(shift, 1.0, self.df) - POWER, 0, 1000))

    def seeds_needed(self, level: float = LEVEL) -> int | None:
        """`seeds_needed` for the difference and the noise observed; None also where training noise is not known."""
        if not self.knows_training:
            return None
        return seeds_needed(self.value, self.seed_variance, self.seed_df, self.floor_variance, level, self.alone)


def accuracy(correct: float, n: int, effective: float | None = None) -> Interval:
    """Word accuracy with Wilson's interval over images.

    Args:
        correct: may be a mean over seeds.
        n: images, those that an average counts twice twice.
        effective: how many images counted once say as much (`effective_images`); n where left out.
    """
    worth = effective or n
    low, high = proportion_confint(correct / n * worth, worth, alpha=LEVEL, method="wilson")
    return Interval(100 * correct / n, 100 * low, 100 * high)


def pooled_accuracy(scored: pd.DataFrame, seeds: int = 1) -> Interval:
    """Word accuracy on all images together; those that lie in two of the benchmarks widen the interval.

    Args:
        scored: `benchmark` and `correct`, one line per image and seed; with several seeds also `seed`.

    Raises:
        ReportError: the seeds have unlike numbers of images.
    """
    if seeds > 1 and (counts := scored.groupby("seed").size()).nunique() > 1:
        seen = ", ".join(f"{count} with seed {seed}" for seed, count in counts.items())
        raise ReportError(f"an accuracy over seeds is of the same images, but {seen} were read; evaluate them again")
    twice = int((~scored.benchmark.isin(distinct(scored.benchmark))).sum()) // seeds
    images = len(scored) // seeds
    return accuracy(scored.correct.sum() / seeds, images, effective_images(images, twice))


def effective_images(n: int, twice: int) -> float:
    """The effective number of images if `twice` images are counted two times among n: Kish's (sum w)^2 / sum w^2."""
    return n**2 / (n + 2 * twice)


def seed_sd(values: np.ndarray) -> float:
    """Standard deviation over training seeds (n - 1); nan for one: images say nothing about it."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def compared(gain: np.ndarray, strata: Strata, noise: Noise | None = None, trainings: float = 2) -> Paired:
    """A difference with its t interval and p-value; its variance comes from images and from trainings.

    V = V_image + V_training - V_residual, where V_residual is what both of the others contain (two-way random effects,
    Searle, Casella and McCulloch 1992, chapter 4); at least the larger of the two. Degrees of freedom by Satterthwaite (1946),
    but at most K - 1 where these K trainings of each row are all that training noise can be known from: a spread that is small
    by chance would both narrow the interval and call it well known.

    Args:
        gain: n x K, in points; of two rows ours - baseline.
        noise: training noise measured elsewhere; joins the rows' own spread over seeds, weighted by degrees of freedom
            (Smyth 2004, equation 5), and is all there is for one seed. With 0 degrees of freedom it does not join, as the
            rows' own spread is larger than it explains (`reports.stats.noise.beside`); None where it cannot be known.
        trainings: variance of a difference of single trainings, in variances of one training: the sum of the
            squared weights of a contrast.
    """
    by_seed, seeds = strata.mean(gain), gain.shape[1]
    image, image_df = strata.image_variance(gain.mean(axis=1))
    of_seeds, seed_df = seed_variance(by_seed, noise, trainings)
    residual = strata.residual_variance(gain) if seeds > 1 else trainings * noise.residual if noise else 0.0
    training = np.nan_to_num(of_seeds) / seeds
    variance = max(image + training - residual, image, training)
    df = variance**2 / (image**2 / image_df + (training**2 / seed_df if seed_df else 0))
    alone = noise is None
    if alone and seeds > 1:
        df = min(df, seeds - 1)
    value, error = float(by_seed.mean()), float(np.sqrt(variance))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, df)) * error
    return Paired(
        value=value,
        low=value - reach,
        high=value + reach,
        p=float(2 * t.sf(abs(value) / error, df)) if seed_df else np.nan,
        df=float(df),
        image_se=float(np.sqrt(image)),
        training_se=float(np.sqrt(variance - image)) if seed_df else np.nan,
        n=len(gain),
        seeds=seeds,
        seed_sd=seed_sd(by_seed),
        seed_variance=of_seeds,
        seed_df=seed_df,
        floor_variance=max(0.0, image - residual),
        alone=alone,
    )


def seed_variance(by_seed: np.ndarray, noise: Noise | None, trainings: float) -> tuple[float, float]:
    """Variance of the difference between single trainings, and its degrees of freedom; nan and 0 where unknown.

    Args:
        by_seed: the difference at each seed, in points.
    """
    own_df, noise_df = len(by_seed) - 1, noise.df if noise else 0
    if own_df + noise_df == 0:
        return np.nan, 0
    squares = own_df * by_seed.var(ddof=1) if own_df else 0.0
    squares += noise_df * trainings * noise.variance if noise else 0.0
    return float(squares / (own_df + noise_df)), own_df + noise_df


def power(difference: float, error: float, df: float, level: float = LEVEL) -> float:
    """The chance that a t test finds a true difference (noncentral t; the wrong tail is left out).

    Args:
        error: standard error of the difference.
    """
    if error == 0:
        return float(difference != 0)
    return float(nct.sf(t.ppf(1 - level / 2, df), df, abs(difference) / error))


def seeds_needed(
    difference: float, seed_variance: float, df: float, image_variance: float, level: float = LEVEL, alone: bool = False
) -> int | None:
    """The fewest seeds per row with which a study finds a difference with 80 % power.

    Args:
        difference: true difference, in points.
        seed_variance: variance of the difference of two single trainings, in points squared.
        df: its degrees of freedom; with K seeds at least K - 1.
        image_variance: the variance from images, which no number of seeds reduces, in points squared.
        level: level of the test; divide it by the number of rows to correct for them.
        alone: the two rows' trainings are all that training noise can be known from, see `compared`.

    Returns:
        None where no number of seeds does, because the images alone limit it.
    """

    def decides(seeds: int) -> bool:
        training, known = seed_variance / seeds, max(df, seeds - 1)
        variance = training + image_variance
        if known == 0 or (alone and seeds == 1):
            return False
        freedom = known * (variance / training) ** 2 if training else np.inf
        freedom = min(freedom, seeds - 1) if alone else freedom
        return power(difference, float(np.sqrt(variance)), freedom, level) >= POWER

    if abs(difference) <= image_limit(image_variance, level):
        return None
    few, many = 0, 1
    while not decides(many):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if decides(middle) else (middle, many)
    return many


def image_limit(image_variance: float, level: float = LEVEL) -> float:
    """The smallest difference, in points, that any number of seeds shows with 80 % power on the same images."""
    return float((norm.ppf(1 - level / 2) + norm.ppf(POWER)) * np.sqrt(image_variance))


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for their number (Holm)."""
    return multipletests(p_values, method="holm")[1].tolist() if p_values else []
