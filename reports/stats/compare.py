"""Differences of a table's rows from its baseline: value, interval, p-value, Holm's correction, seeds needed.

The difference is that of the printed mean. Training noise comes from the rows' own seeds, for one seed from replicates of the
baseline, or from table.yaml, whichever the study has. A new statistic is a line of STATISTICS; a column for it is added in
reports/render/grid.py. Raises ReportError for rows that were not evaluated on the baseline's images and seeds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from core.data.benchmarks import SUPERSETS, distinct
from core.errors import ReportError
from reports.collect.predictions import IMAGE, read_predictions
from reports.collect.runs import twins
from reports.columns import Column
from reports.layout import Layout, is_rendered
from reports.stats import intervals as stats
from reports.stats.noise import Noise, beside, combined, noise_of_replicates, noise_of_rows
from reports.stats.second_training import stated_noise
from reports.stats.strata import Strata


@dataclass(frozen=True)
class Comparison:
    """The inputs from which all differences between rows of a table are computed.

    Args:
        correct: by row, one line per image (`benchmark`, `index`) and one column per seed, True where read correctly; all rows
            on the same images with the same seeds.
        strata: weights of the printed mean.
        runs: the run of each row; two rows may read one run in two ways.
        noise_elsewhere: training noise that is not from these rows: replicates of the baseline, or what table.yaml states.
    """

    correct: dict[str, pd.DataFrame]
    strata: Strata
    runs: dict[str, str]
    noise_elsewhere: Noise | None = None

    @cached_property
    def means(self) -> dict[str, np.ndarray]:
        """The printed mean of every row, one number per seed, in per cent."""
        return {row: self.strata.mean(100 * frame.to_numpy(float)) for row, frame in self.correct.items()}

    def noise(self, weights: Mapping[str, float]) -> Noise | None:
        """Training noise measured elsewhere than in the compared rows' own spread over seeds; None for rows of one run.

        Rows of one run differ only in decoding, and other rows' trainings do not show how that varies. For rows whose own
        spread is much larger than that of all others it has 0 degrees of freedom (`reports.stats.noise.beside`).

        Args:
            weights: weights of the rows, summing to zero.
        """
        if len({self.runs[row] for row in weights}) < len(weights):
            return None
        first = {self.runs[name]: name for name in reversed([*weights, *self.correct])}  # of every run one row
        pooled = noise_of_rows({row: self.means[row] for row in first.values()}, weights)
        elsewhere = combined([noise for noise in (pooled, self.noise_elsewhere) if noise])
        by_seed = sum(weight * self.means[row] for row, weight in weights.items())
        return beside(by_seed, elsewhere, sum(weight**2 for weight in weights.values()))

    def contrast(self, weights: Mapping[str, float]) -> stats.Paired:
        """A weighted sum of rows.

        Args:
            weights: summing to zero; `{row: 1, baseline: -1}` is a difference.
        """
        gain = sum(100 * weight * self.correct[row].to_numpy(float) for row, weight in weights.items())
        trainings = sum(weight**2 for weight in weights.values())
        return stats.compared(gain, self.strata, self.noise(weights), trainings)

    def paired(self, row: str, baseline: str) -> stats.Paired:
        """A row against any other."""
        return self.contrast({row: 1, baseline: -1})

    @cached_property
    def once(self) -> np.ndarray:
        """Marks every image once: False where a larger benchmark holds it too."""
        benchmarks = next(iter(self.correct.values())).index.get_level_values("benchmark")
        return benchmarks.isin(distinct(benchmarks))

    def pooled(self, row: str, baseline: str) -> float:
        """The difference on all images together, each once, in points: weighted by images, unlike the printed mean."""
        ours, theirs = (self.correct[name].to_numpy(float)[self.once].mean() for name in (row, baseline))
        return float(100 * (ours - theirs))


STATISTICS: dict[str, Callable[[stats.Paired, Comparison, str, str], float]] = {
    # of a row against the baseline, in points: (paired, comparison, row, baseline) to a column of Table.rows and of the CSV
    "n": lambda paired, compared, *_: compared.once.sum(),
    "difference": lambda paired, *_: paired.value,
    "diff_low": lambda paired, *_: paired.low,
    "diff_high": lambda paired, *_: paired.high,
    "p": lambda paired, *_: paired.p,
    "df": lambda paired, *_: paired.df,
    "image_se": lambda paired, *_: paired.image_se,
    "training_se": lambda paired, *_: paired.training_se,
    "detectable": lambda paired, *_: paired.detectable,
    "seed_sd": lambda paired, *_: paired.seed_sd,
    "noise_sd": lambda paired, *_: np.sqrt(paired.seed_variance / 2),  # of one training
    "pooled": lambda paired, compared, *rows: compared.pooled(*rows),
}
COMPARED = (*STATISTICS, "p_holm", "seeds_needed")  # the last two depend on how many rows are tested


def compare(layout: Layout, runs: pd.DataFrame, compared: Comparison | None) -> pd.DataFrame:
    """Each row against the baseline, with Holm's correction in the table; `noise` is the source of training noise.

    Rows that are the baseline itself under another name are no tests, and the correction is not for them.

    Returns:
        The columns COMPARED and `noise`, indexed by row; nan for rows that were not compared.
    """
    frame = pd.DataFrame(index=runs.index, columns=list(COMPARED), dtype=float).assign(noise="")
    if compared is None:
        return frame
    baseline = layout.baseline
    frame.loc[baseline, ["n", "difference", "pooled"]] = int(compared.once.sum()), 0.0, 0.0
    pairs = {row: compared.paired(row, baseline) for row in compared.correct if row != baseline}
    for row, paired in pairs.items():
        frame.loc[row, list(STATISTICS)] = [value(paired, compared, row, baseline) for value in STATISTICS.values()]
        noise = compared.noise({row: 1, baseline: -1})
        frame.loc[row, "noise"] = noise.source if noise and noise.df else ""
    same = twins(runs, baseline)  # of the same models and readings: p is 1 whatever is true, which tests nothing
    frame.loc[same, "p_holm"] = frame.loc[same, "p"]
    tested = frame.index[frame.p.notna() & ~frame.index.isin(same)]
    frame.loc[tested, "p_holm"] = stats.holm(frame.loc[tested, "p"].tolist())
    for row in tested[frame.loc[tested, "p_holm"] >= stats.LEVEL]:
        frame.loc[row, "seeds_needed"] = pairs[row].seeds_needed(stats.LEVEL / len(tested)) or np.inf
    return frame


def comparison(
    layout: Layout, runs: pd.DataFrame, scored: dict[str, pd.DataFrame], averaged: list[Column], results: Path
) -> Comparison | None:
    """The rows that read all benchmarks of the mean, ready to be compared; None where the baseline did not.

    Args:
        scored: predictions by row, see `reports.collect.predictions.read_predictions`.
        averaged: the columns that the table's mean is over.
    """
    benchmarks = {benchmark for column in averaged for benchmark in column.benchmarks}
    whole = {row: rows for row, rows in scored.items() if benchmarks <= set(rows.benchmark.unique())}
    if not benchmarks or layout.baseline not in whole:
        return None
    correct = {row: wide(layout, row, rows[rows.benchmark.isin(benchmarks)]) for row, rows in whole.items()}
    baseline = correct[layout.baseline]
    for row, frame in correct.items():
        check_same_images(layout, row, frame, baseline)
    noise = noise_elsewhere(layout, runs, results, baseline, averaged)
    return Comparison(correct, strata_of(baseline.index, averaged), runs.run.to_dict(), noise)


def strata_of(images: pd.MultiIndex, averaged: list[Column]) -> Strata:
    """The benchmark of every image, and the weight of each benchmark in the mean over columns."""
    names = images.get_level_values("benchmark")
    return Strata.of(names, weights_of(averaged, names.value_counts().to_dict()), SUPERSETS)


def weights_of(averaged: list[Column], sizes: Mapping[str, int]) -> dict[str, float]:
    """The weight of each benchmark in the mean over columns, each of which pools its benchmarks' images."""
    weights = dict.fromkeys(sizes, 0.0)
    for column in averaged:
        images = sum(sizes[name] for name in column.benchmarks)
        for name in column.benchmarks:
            weights[name] += sizes[name] / images / len(averaged)
    return weights


def wide(layout: Layout, row: str, scored: pd.DataFrame) -> pd.DataFrame:
    """One line per image and one column per seed, True where read correctly."""
    frame = scored.pivot(index=IMAGE, columns="seed", values="correct")
    partial = frame.index[frame.isna().any(axis=1)]
    if len(partial):
        benchmark, _, index = partial[0]
        seeds = ", ".join(map(str, frame.columns[frame.loc[partial[0]].isna()]))
        raise ReportError(
            f"{layout.path}: row {row}: image {index} of {benchmark} was not read with seed {seeds}; delete that seed's "
            "evaluation and run the command again"
        )
    return frame


def check_same_images(layout: Layout, row: str, frame: pd.DataFrame, baseline: pd.DataFrame) -> None:
    """Raise ReportError unless a row has the seeds and images of the baseline."""
    ours, theirs = (" ".join(map(str, correct.columns)) for correct in (frame, baseline))
    where = f"{layout.path}: row {row} and baseline {layout.baseline}"
    if ours != theirs:
        raise ReportError(f"{where}: seeds {ours} and {theirs}; train and evaluate both with the same seeds")
    if not frame.index.equals(baseline.index):
        raise ReportError(f"{where}: they were not evaluated on the same images; evaluate both again on the same data")


def noise_elsewhere(
    layout: Layout, runs: pd.DataFrame, results: Path, baseline: pd.DataFrame, averaged: list[Column]
) -> Noise | None:
    """Training noise from replicates of the baseline or, without them, `stated_noise`; None without either.

    Where rows have several seeds of their own, replicates are left out: the baseline's seeds are among them and would count
    twice, and a baseline that is quieter than the rows would make these seem surer than their own seeds show.
    """
    line = runs.loc[layout.baseline]
    if line.replicates and baseline.shape[1] == 1:
        scored = read_predictions(results, line.replace({line.seeds: line.replicates}))
        name = f"{layout.baseline} (replicates)"
        frame = wide(layout, name, scored[scored.benchmark.isin(baseline.index.unique("benchmark"))])
        check_same_images(layout, name, frame[baseline.columns], baseline)
        return noise_of_replicates(frame, strata_of(baseline.index, averaged))
    return stated_noise(layout, line.scale, is_rendered(line.data), averaged)
