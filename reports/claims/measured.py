"""The effects of a claim's contrasts in the study's own results."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from reports.claims.claim import Contrast
from reports.claims.printed import printed
from reports.claims.results import StudyResults
from reports.claims.verdict import Effect
from reports.collect.runs import protocol_of, reading_cost
from reports.columns import Column, absent, columns_of
from reports.stats.compare import Comparison, strata_of, wide
from reports.stats.intervals import Paired


def measured_effect(contrast: Contrast, study: StudyResults) -> Effect:
    """The measured difference of a contrast, or why there is none."""
    contrast = study.resolved(contrast)
    if reason := missing_reason(contrast, study) or incomparable_reason(contrast, study):
        return Effect(reason=reason)
    if contrast.of_time:
        return time_effect(contrast, study)
    columns = measured_columns(contrast, study)
    if not columns:
        return Effect(reason=f"no column of {contrast.tables[0]} was measured on this data")
    if reason := unread_reason(contrast, study, columns):
        return Effect(reason=reason)
    inside = len(contrast.tables) == 1
    paired, unshared = (within(contrast, study, columns), 0) if inside else across(contrast, study, columns)
    taken = ("value", "image_se", "training_se", "df", "seeds", "seed_variance", "seed_df", "floor_variance", "alone")
    reason = "" if paired.knows_training else "one training per row cannot tell"
    return Effect(**{name: getattr(paired, name) for name in taken}, reason=reason, unshared=unshared)


def missing_reason(contrast: Contrast, study: StudyResults) -> str:
    """Which table or row of a contrast has no results, and why; empty where all have."""
    for name, row in contrast.weights:
        table = study.table(name)
        if table is None:
            return f"{name} is not in this study"
        if reason := table.missing_reason(row) or table.missing_reason(table.layout.baseline):
            return reason
    return ""


def incomparable_reason(contrast: Contrast, study: StudyResults) -> str:
    """How the rows of several tables were planned unlike each other, so that they cannot be compared; empty where alike.

    Two tables that were planned at different times may differ in seeds, scale, data or protocol. Labels are another matter: a
    claim may be about them. So are the settings that one of the tables `varies`.
    """
    (first, row), *others = contrast.weights
    for name, other in others:
        here, there = study.table(first), study.table(name)
        varied = {*here.layout.varies, *there.layout.varies}
        for what, ours, theirs in differing_settings(here.runs.loc[row], there.runs.loc[other], varied):
            return (
                f"{what} is {ours} for {first}/{row} and {theirs} for {name}/{other}, which were planned apart; "
                f"`snakemake {first} {name}` with one set of settings makes both anew"
            )
    return ""


def differing_settings(here: pd.Series, there: pd.Series, varied: set[str]) -> Iterator[tuple[str, str, str]]:
    """What two lines of lists of runs must have in common and do not: its name and both values."""
    seeds = [" ".join(sorted(line.seeds.split(), key=int)) for line in (here, there)]
    settings, others = protocol_of(here), protocol_of(there)
    pairs = {"seeds": seeds} | {name: (here[name], there[name]) for name in ("scale", "data_root")}
    pairs |= {name: (settings.get(name), others.get(name)) for name in sorted({*settings, *others} - varied)}
    return ((name, str(ours), str(theirs)) for name, (ours, theirs) in pairs.items() if ours != theirs)


def unread_reason(contrast: Contrast, study: StudyResults, columns: list[Column]) -> str:
    """Which column a row of a contrast did not read, and why; empty where all read all.

    Rows of one table are compared by its baseline's images, so it has to have read them, too.
    """
    alone = len(contrast.tables) == 1
    for name, row in [*contrast.weights, *((name, study.table(name).layout.baseline) for name in contrast.tables if alone)]:
        read, problems = study.table(name).benchmarks(row), study.table(name).problems(row)
        for column in columns:
            if not column.benchmarks or not read >= set(column.benchmarks):
                whose = f"{row}, " if problems.keys() & set(column.benchmarks) else ""
                return f"{whose}{column.name}: {absent(column, read, problems)}"
    return ""


def measured_columns(contrast: Contrast, study: StudyResults) -> list[Column]:
    """The columns that the difference is over: those named, or those of the table's mean that were measured."""
    table = study.table(contrast.tables[0])
    return contrast.compared(table.columns, table.benchmarks(table.layout.baseline))


def within(contrast: Contrast, study: StudyResults, columns: list[Column]) -> Paired:
    """A contrast of rows of one table, with the training noise that this table knows of for the mean of these columns."""
    compared = study.table(contrast.tables[0]).comparison(columns)
    return compared.contrast({row: weight for (_, row), weight in contrast.weights.items()})


def across(contrast: Contrast, study: StudyResults, columns: list[Column]) -> tuple[Paired, int]:
    """A contrast of rows of several tables, on the images that all of them scored, and how many not all did (by their labels).

    The rows have the same seeds, see `incomparable_reason`.
    """
    benchmarks = {name for column in columns for name in column.benchmarks}
    correct: dict[tuple[str, str], pd.DataFrame] = {}
    for name, row in contrast.weights:
        table = study.table(name)
        scored = table.scored[row]
        correct[name, row] = wide(table.layout, row, scored[scored.benchmark.isin(benchmarks)])
    shared = every = next(iter(correct.values())).index
    for frame in correct.values():
        shared, every = shared.intersection(frame.index), every.union(frame.index)
    shared = shared.sort_values()
    runs = {key: study.table(key[0]).runs.run[key[1]] for key in correct}
    compared = Comparison({key: frame.loc[shared] for key, frame in correct.items()}, strata_of(shared, columns), runs)
    return compared.contrast(contrast.weights), len(every) - len(shared)


def time_effect(contrast: Contrast, study: StudyResults) -> Effect:
    """A difference of times: medians of the repeats, and how far the fastest and slowest repeats put it apart."""
    value, ends = 0.0, np.zeros(2)
    for (name, row), weight in contrast.weights.items():
        cost = reading_cost(study.results, study.table(name).runs.loc[row])
        if cost is None:
            return Effect(reason=f"{row} was not timed")
        value += weight * cost["ms_per_image"]
        span = weight * np.array([cost["low_ms"], cost["high_ms"]])
        ends += span if weight > 0 else span[::-1]
    return Effect(value, seeds=1, spread=(float(ends[0]), float(ends[1])))


def measured_margin(contrast: Contrast, study: StudyResults) -> float | None:
    """The margin in the unit of the measured effect; None where the claim has none.

    Points that count as nothing beside 9 wrong images in a hundred are fewer than beside 50. So at other scales than the
    paper's a margin is the same share of the baseline's errors: points x measured error / published error, over the same
    columns. Without published numbers it stays as it is.
    """
    if contrast.margin_percent is not None:
        subtracted = {key: weight for key, weight in contrast.weights.items() if weight < 0}
        costs = {key: reading_cost(study.results, study.table(key[0]).runs.loc[key[1]]) for key in subtracted}
        return contrast.margin_percent / 100 * sum(-weight * costs[key]["ms_per_image"] for key, weight in subtracted.items())
    table = study.table(contrast.tables[0])
    if contrast.margin is None or table.scale == "paper":
        return contrast.margin
    columns, baseline = measured_columns(contrast, study), table.layout.baseline
    names = {column.name for column in columns}
    as_published = [column for column in columns_of(table.layout, False, []) if column.name in names]
    errors = 100 - printed(table.layout.table, baseline, as_published).mean(skipna=False)
    if not errors > 0:
        return contrast.margin
    scored = table.scored[baseline]
    accuracy = float(np.mean([scored[scored.benchmark.isin(column.benchmarks)].correct.mean() for column in columns]))
    return float(contrast.margin * (100 - 100 * accuracy) / errors)
