"""What a claim comes to in a study's own results."""

from dataclasses import replace

import numpy as np
import pandas as pd

from core.data.benchmarks import INSIDE
from reports.claims.claim import Contrast
from reports.claims.printed import printed, published_noise, unscored
from reports.claims.results import StudyResults, TableResults
from reports.claims.verdict import Effect, of_paired
from reports.collect.runs import reading_time
from reports.layout import Column, absent, columns_of
from reports.stats.compare import Comparison, weights_of, wide
from reports.stats.intervals import Paired
from reports.stats.noise import Noise
from reports.stats.strata import Strata


def measured_effect(contrast: Contrast, study: StudyResults) -> Effect:
    """The measured difference of a contrast, or why there is none.

    Raises:
        ReportError: predictions are there and do not fit together.
    """
    if reason := not_run(contrast, study):
        return Effect(reason=reason)
    if contrast.of_time:
        return time_effect(contrast, study)
    columns = measured_columns(contrast, study)
    if reason := unfilled(contrast, study, columns):
        return Effect(reason=reason)
    return of_paired(across(contrast, study, columns) if len(contrast.tables) > 1 else within(contrast, study, columns))


def not_run(contrast: Contrast, study: StudyResults) -> str:
    """Which table or row of a contrast has no results, and why; empty where all have."""
    for table, row in contrast.weights:
        known = study.table(table)
        if known is None:
            return f"{table} is not in this study"
        if reason := known.lacking(row) or known.lacking(known.layout.baseline):
            return reason
    return ""


def measured_columns(contrast: Contrast, study: StudyResults) -> list[Column]:
    """The columns that the difference is over: those named, or those of the table's mean that were measured."""
    table = study.table(contrast.tables[0])
    return contrast.compared(table.columns, table.benchmarks(table.layout.baseline))


def unfilled(contrast: Contrast, study: StudyResults, columns: list[Column]) -> str:
    """Why a column cannot be compared; empty where all can."""
    if not columns:
        return f"no column of {contrast.tables[0]} was measured on this data"
    for name, row in contrast.weights:
        found = study.table(name).benchmarks(row)
        for column in columns:
            if not column.benchmarks or not found >= set(column.benchmarks):
                return f"{column.name}: {absent(column, found, {})}"
    return ""


def within(contrast: Contrast, study: StudyResults, columns: list[Column]) -> Paired:
    """A contrast of rows of one table, with the training noise that this table knows of."""
    table = study.table(contrast.tables[0])
    found = table.comparison(columns)
    if contrast.columns and not table.runs.loc[table.layout.baseline].replicates:
        found = replace(found, outside=noise_of_columns(table, columns))
    return found.contrast({row: weight for (_, row), weight in contrast.weights.items()})


def noise_of_columns(table: TableResults, columns: list[Column]) -> Noise | None:
    """Training noise of named columns, where that of the table's mean is stated: it says nothing of single columns, but the
    authors' second trainings do, at their scale."""
    stated = table.layout.noise_sd
    if stated is None or not stated.scale == table.scale == "paper" or unscored(columns):
        return None
    return published_noise(columns)


def across(contrast: Contrast, study: StudyResults, columns: list[Column]) -> Paired:
    """A contrast of rows of several tables, on the images that all of them scored (labels may drop some)."""
    benchmarks = {name for column in columns for name in column.benchmarks}
    correct: dict[tuple[str, str], pd.DataFrame] = {}
    for name, row in contrast.weights:
        table = study.table(name)
        scored = table.scored[row]
        correct[name, row] = wide(table.layout, row, scored[scored.benchmark.isin(benchmarks)])
    shared = next(iter(correct.values())).index
    for frame in correct.values():
        shared = shared.intersection(frame.index)
    shared = shared.sort_values()
    sizes = shared.get_level_values("benchmark").value_counts().to_dict()
    strata = Strata.of(shared.get_level_values("benchmark"), weights_of(columns, sizes), INSIDE)
    runs = {key: study.table(key[0]).runs.run[key[1]] for key in correct}
    return Comparison({key: frame.loc[shared] for key, frame in correct.items()}, strata, runs).contrast(contrast.weights)


def time_effect(contrast: Contrast, study: StudyResults) -> Effect:
    """A difference of times: medians of the repeats, and how far the fastest and slowest repeats put it apart."""
    value, ends = 0.0, np.zeros(2)
    for (name, row), weight in contrast.weights.items():
        found = time_of(study.table(name), row)
        if found is None:
            return Effect(reason=f"{row} was not timed")
        value += weight * found["ms_per_image"]
        span = weight * np.array([found["low_ms"], found["high_ms"]])
        ends += span if weight > 0 else span[::-1]
    return Effect(value, seeds=1, spread=(float(ends[0]), float(ends[1])))


def time_of(table: TableResults, row: str) -> dict | None:
    """What core.bench measured of a row; None where it did not."""
    run = table.runs.loc[row]
    reading = reading_time(table.results, run).get("readings", {}).get(run.evaluation)
    return reading["outputs"][run.output] if reading else None


def measured_margin(contrast: Contrast, study: StudyResults) -> float | None:
    """The margin in the unit of the measured effect; None where the claim has none.

    Points that count as nothing beside 9 wrong images in a hundred are fewer than beside 50. So at other scales than the
    paper's a margin is the same share of the baseline's errors: points x measured error / published error, over the same
    columns. Without published numbers it stays as it is.
    """
    if contrast.margin_percent is not None:
        subtracted = {key: weight for key, weight in contrast.weights.items() if weight < 0}
        times = [-w * time_of(study.table(table), row)["ms_per_image"] for (table, row), w in subtracted.items()]
        return contrast.margin_percent / 100 * sum(times)
    table = study.table(contrast.tables[0])
    if contrast.margin is None or table.scale == "paper":
        return contrast.margin
    columns, baseline = measured_columns(contrast, study), table.layout.baseline
    names = {column.name for column in columns}
    as_published = [column for column in columns_of(table.layout, False, []) if column.name in names]
    errors = 100 - printed(table.layout.table, baseline, as_published).mean(skipna=False)
    if not errors > 0:
        return contrast.margin
    return float(contrast.margin * (100 - mean_accuracy(table.scored[baseline], columns)) / errors)


def mean_accuracy(scored: pd.DataFrame, columns: list[Column]) -> float:
    """Plain mean over columns of their pooled word accuracies, in per cent, over all seeds."""
    return 100 * float(np.mean([scored[scored.benchmark.isin(column.benchmarks)].correct.mean() for column in columns]))
