"""Simulated tables whose truth is known, and how often their intervals and p-values are right.

Every table has ten rows that read the same images in five benchmarks. Row 0 is the baseline, rows 1 to 4 differ from it by
nothing but their trainings, the others by 1 to 5 points. Coverage: how often the 95 % interval holds the true difference of
the configurations. False positives: how often p < 0.05 (before Holm's correction) for rows 1 to 4.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.progress import track
from scipy.stats import norm, t

from reports.figures import style
from reports.figures.coverage import coverage
from reports.stats import noise
from reports.stats.compare import Comparison
from reports.stats.intervals import CONFIDENCE, LEVEL, seed_variance
from reports.stats.strata import Strata

ROWS = tuple(f"row {number}" for number in range(10))
GAINS = (0, 0, 0, 0, 0, 1, 2, 3, 4, 5)  # points to the baseline
NULL = ROWS[1:5]
ACCURACIES = (0.75, 0.70, 0.70, 0.65, 0.65)  # by benchmark
SHARES = (0.5, 0.2, 0.15, 0.1, 0.05)  # of the images; the printed mean weighs benchmarks equally
IMAGE, ROW = 0.7, 0.1  # of the variance of reading an image: its difficulty for all, and for one row; the rest is training
SEEDS = (1, 2, 3, 5)
REPLICATES = 5
NOISES = (0.0, 0.5, 1.7, 6.0)  # points, standard deviation of one training
SHAPES = {  # noise of each row, in units of the above
    "equal": np.ones(len(ROWS)),
    "unequal": np.array([1.0, *[0.5, 1.5] * 4, 0.5]),
    "quiet baseline": np.array([1 / 3, *[1.0] * 9]),
}
EXTREMES = SHAPES | {"loud baseline": np.array([2.0, *[1.0] * 9]), "one loud row": np.array([*[1.0] * 9, 4.0])}
TABLES = {600: 200, 14_315: 100}  # how many are simulated, by images
QUICK = {600: 15}
CHOICES = 200  # tables of trainings alone


class Case(NamedTuple):
    """One kind of study: how the rows' noise is spread, its size in points, and the number of images."""

    shape: str
    points: float
    images: int


def strata_of(n: int) -> Strata:
    """Five benchmarks of unlike sizes, as of a table with five columns."""
    sizes = np.round(np.array(SHARES) * n).astype(int)
    sizes[0] += n - sizes.sum()
    names = np.repeat([f"set {number}" for number in range(len(sizes))], sizes)
    return Strata.of(list(names), {name: 1 / len(sizes) for name in dict.fromkeys(names)})


def simulated(case: Case, strata: Strata, rng: np.random.Generator) -> np.ndarray:
    """Simulated correctness, n x R x K: an image is read if its difficulty is below the ability of a training.

    A training's accuracy on each benchmark is the configuration's plus the training's own deviation, exactly.
    """
    n, rows, seeds = case.images, len(ROWS), max(SEEDS)
    deviation = case.points * SHAPES[case.shape][:, None] * rng.standard_normal((rows, seeds))
    accuracy = np.array(ACCURACIES)[:, None, None] + (np.array(GAINS)[:, None] + deviation) / 100  # B R K
    reach = norm.ppf(np.clip(accuracy, 0.005, 0.995)).astype(np.float32)[strata.codes]  # n R K
    difficulty = np.sqrt(IMAGE) * rng.standard_normal((n, 1, 1)) + np.sqrt(ROW) * rng.standard_normal((n, rows, 1))
    chance = np.sqrt(np.float32(1 - IMAGE - ROW)) * rng.standard_normal((n, rows, seeds), dtype=np.float32)
    return difficulty.astype(np.float32) + chance < reach


def studies(correct: np.ndarray, strata: Strata) -> Iterator[tuple[str, Comparison]]:
    """The same trainings as studies with fewer seeds, and with one seed and replicates of the baseline."""
    runs = {row: row for row in ROWS}
    for seeds in SEEDS:
        rows = {row: pd.DataFrame(correct[:, place, :seeds]) for place, row in enumerate(ROWS)}
        yield f"{seeds} seed{'s' * (seeds > 1)}", Comparison(rows, strata, runs)
        if seeds == 1:
            outside = noise.noise_of_replicates(pd.DataFrame(correct[:, 0, :REPLICATES]), strata)
            yield f"1 seed, {REPLICATES} of the baseline", Comparison(rows, strata, runs, outside)


def outcomes(case: Case, tables: int, seed: int) -> pd.DataFrame:
    """Every row of many tables: `seeds`, `row`, `covered`, `rejected` (nan where there is no p), `width` in points, `df`."""
    rng, strata, lines = np.random.default_rng([seed, case.images, int(10 * case.points)]), strata_of(case.images), []
    for _ in range(tables):
        for seeds, study in studies(simulated(case, strata, rng), strata):
            for row, gain in zip(ROWS[1:], GAINS[1:], strict=True):
                pair = study.paired(row, ROWS[0])
                rejected = np.nan if np.isnan(pair.p) else float(pair.p < LEVEL)
                lines.append((seeds, row, pair.low <= gain <= pair.high, rejected, pair.high - pair.low, pair.df))
    return pd.DataFrame(lines, columns=["seeds", "row", "covered", "rejected", "width", "df"])


def cases(images: Iterable[int]) -> list[Case]:
    """Every kind of study; without training noise its spread makes no difference."""
    return [Case(shape, points, n) for n in images for shape in SHAPES for points in NOISES if points or shape == "equal"]


def summary(case: Case, outcome: pd.DataFrame) -> pd.DataFrame:
    """One line per number of seeds: `coverage`, `worst` row's coverage, `false_positives` in per cent; median `width`, `df`."""
    groups = outcome.groupby("seeds", sort=False)
    by_row = outcome.groupby(["seeds", "row"], sort=False).covered.mean()
    null = outcome[outcome.row.isin(NULL)].groupby("seeds", sort=False).rejected.mean()
    frame = pd.DataFrame({"coverage": 100 * groups.covered.mean(), "worst": 100 * by_row.groupby("seeds", sort=False).min()})
    frame = frame.assign(false_positives=100 * null, width=groups.width.median(), df=groups.df.median()).reset_index()
    return pd.DataFrame([case] * len(frame), columns=Case._fields).join(frame).round(2)


def choices(tables: int, seed: int) -> pd.DataFrame:
    """Costs and gains of pooling training noise, with infinitely many images: three ways to estimate a difference's noise.

    Returns:
        `shape`, `seeds`, and for each way `coverage`, `worst` row's coverage (per cent) and the median `width`, in units of
        the interval that would know the noise.
    """
    rng, lines = np.random.default_rng(seed), []
    for shape, sizes in EXTREMES.items():
        for seeds in SEEDS[1:]:
            drawn = sizes[:, None] * rng.standard_normal((tables, len(ROWS), seeds))
            for values in drawn:
                means = dict(zip(ROWS, values, strict=True))
                lines += [(shape, seeds, row, *line) for row in ROWS[1:] for line in ways(means, row)]
    frame = pd.DataFrame(lines, columns=["shape", "seeds", "row", "way", "covered", "width"])
    by_row = 100 * frame.groupby(["shape", "seeds", "way", "row"], sort=False).covered.mean()
    groups = by_row.groupby(["shape", "seeds", "way"], sort=False)
    width = frame.groupby(["shape", "seeds", "way"], sort=False).width.median()
    return pd.DataFrame({"coverage": groups.mean(), "worst": groups.min(), "width": width}).round(2).reset_index()


def ways(means: dict[str, np.ndarray], row: str) -> Iterator[tuple[str, bool, float]]:
    """Whether the interval of a row without any gain covers zero, and how wide it is, by each way."""
    by_seed = means[row] - means[ROWS[0]]
    pooled = noise.noise_of_rows(means, {row: 1, ROWS[0]: -1})
    known = norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(2 / len(by_seed))
    for way, elsewhere in (("own", None), ("all rows", pooled), ("shipped", noise.beside(by_seed, pooled))):
        variance, df = seed_variance(by_seed, elsewhere, 2)
        reach = t.ppf((1 + CONFIDENCE) / 2, df) * np.sqrt(variance / len(by_seed))
        yield way, bool(abs(by_seed.mean()) <= reach), float(reach / known)


def in_words(outcome: pd.DataFrame) -> str:
    """Markdown: one line per kind of study, coverage and false positives in per cent for each number of seeds."""
    cells = [
        f"{line.coverage:.1f}" + ("" if np.isnan(line.false_positives) else f" ({line.false_positives:.1f})")
        for line in outcome.itertuples()
    ]
    return pivoted(outcome.assign(cell=cells), ["images", "shape", "points"], "seeds")


def choices_in_words(outcome: pd.DataFrame) -> str:
    """Markdown: coverage, that of the worst row, and width, by each way."""
    cells = [f"{line.coverage:.1f}, {line.worst:.1f}; {line.width:.2f}" for line in outcome.itertuples()]
    return pivoted(outcome.assign(cell=cells), ["shape", "seeds"], "way")


def pivoted(frame: pd.DataFrame, index: list[str], columns: str) -> str:
    words = frame.pivot_table(index=index, columns=columns, values="cell", aggfunc="first", sort=False)
    return words.reset_index().to_markdown(index=False, disable_numparse=True)


def simulate(quick: bool, seed: int, out: Path | None) -> None:
    """Simulate all cases and choices, print what was counted, and write it into a folder where one is given."""
    tables, of_choices = (QUICK, CHOICES // 20) if quick else (TABLES, CHOICES)
    parts = [
        summary(case, outcomes(case, tables[case.images], seed)) for case in track(cases(tables), "simulating", transient=True)
    ]
    outcome, chosen = pd.concat(parts, ignore_index=True), choices(of_choices, seed)
    print(f"Coverage of the 95 % interval, and in brackets false positives, per cent:\n\n{in_words(outcome)}\n")
    print(f"Trainings alone: coverage, that of the worst row; width:\n\n{choices_in_words(chosen)}")
    if out:
        outcome.to_csv(out / "statistics.csv", index=False)
        chosen.to_csv(out / "choices.csv", index=False)
        style.save(coverage(outcome), out / "figures" / "statistics")
