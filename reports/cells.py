"""From predictions to a table: every cell with its interval, every row with its paired difference, ranks and reasons."""

from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import ReportError
from reports import stats
from reports.averages import counted_twice, fill_averages
from reports.collect import (
    absent,
    check_protocols,
    facts,
    measured_benchmarks,
    precisions,
    problems_of,
    read_predictions,
    read_published,
    read_runs,
    reading_time,
)
from reports.compare import Comparison, compare, comparison
from reports.layout import Column, columns_of, read_layout
from reports.notes import RENDERED, Noted, notes_of
from reports.orderings import Agreement, agreement, with_interval
from reports.outside import outside
from reports.table import Table

CELL = ("row", "column", "value", "low", "high", "n", "seeds", "seed_sd", "published", "reason")


def build(table: str, results: Path, folder: Path) -> Table:
    """The table of ablations/<table>, counted from what its runs left behind.

    Args:
        folder: where <table>.runs.csv is.

    Raises:
        ReportError: an input is missing or does not fit; names file, row, key and the fix.
    """
    layout = read_layout(table)
    runs = read_runs(folder, table)
    if layout.baseline and layout.baseline not in runs.index:
        raise ReportError(f"{layout.path}: baseline {layout.baseline!r} is no row; there are {', '.join(runs.index)}")
    check_protocols(runs, layout)
    everything = fill_averages(layout, read_published(layout, list(layout.rows)))
    published, others = everything[everything.method == ""], everything[everything.method != ""]
    has_scores = any("fact" not in entry for entry in layout.columns)
    scored = {row: read_predictions(results, run) for row, run in runs.iterrows() if not run.reason} if has_scores else {}
    rendered = runs.data.iloc[0] == RENDERED
    columns = columns_of(layout, rendered, measured_benchmarks(scored))
    problems = {row: problems_of(results, runs.loc[row]) for row in scored}
    known = {row: facts(results, run) for row, run in runs.iterrows()}
    cells = pd.DataFrame(
        one_cell(run, column, scored.get(row), known[row], published, problems.get(row, {}))
        for row, run in runs.iterrows()
        for column in columns
    ).reindex(columns=CELL)
    cells["rank"] = ranks(cells, columns, "value")
    cells["published_rank"] = ranks(cells, columns, "published", others)
    averaged = averaged_columns(columns, cells)
    rows = runs[["gin", "run", "output", "layers", "params", "params_paper", "reason"]].copy()
    rows["ours"] = [len(everything) > 0 and row not in published.index for row in rows.index]
    compared = comparison(layout, runs, scored, averaged, results)
    rows = rows.join(means(cells, averaged)).join(compare(layout, runs, compared))
    ordering = ordered(rows, compared)
    first = runs.iloc[0]
    times = {row: reading_time(results, run) for row, run in runs.iterrows()}
    trained_in = {row: precisions(results, run) for row, run in runs.iterrows()}
    return Table(
        layout=layout,
        scale=first.scale,
        data=first.data,
        seeds=first.seeds,
        columns=tuple(columns),
        rows=rows,
        cells=cells,
        others=others.reset_index(drop=True),
        external=outside(runs.iloc[0], columns),
        averaged=tuple(column.name for column in averaged),
        notes=notes_of(Noted(layout, runs, columns, averaged, cells, rows, ordering, times, trained_in)),
        agreement=ordering,
    )


def one_cell(
    run: pd.Series, column: Column, scored: pd.DataFrame | None, known: dict, published: pd.DataFrame, problems: dict[str, str]
) -> dict:
    """What stands in one cell, or why nothing does."""
    cell = {"row": run.row, "column": column.name, "reason": ""}
    if column.published and run.row in published.index:
        cell["published"] = published.loc[run.row, column.name]
    if column.fact:
        value = known.get(column.fact, np.nan)
        return cell | {"value": value, "reason": (run.reason or "not measured") if np.isnan(value) else ""}
    here = None if scored is None else scored[scored.benchmark.isin(column.benchmarks)]
    if here is None or not column.benchmarks or set(here.benchmark) != set(column.benchmarks):
        found = set() if scored is None else set(scored.benchmark)
        return cell | {"value": np.nan, "reason": run.reason or absent(column, found, problems)}
    seeds = here.groupby("seed").correct.agg(["sum", "size"])
    images = int(seeds["size"].iloc[0])
    twice = counted_twice(column, here) // len(seeds)
    value = stats.accuracy(seeds["sum"].mean(), images, stats.effective_images(images, twice))
    spread = stats.seed_sd(100 * (seeds["sum"] / seeds["size"]).to_numpy())
    measured = {"value": value.value, "low": value.low, "high": value.high, "n": images, "seeds": len(seeds), "seed_sd": spread}
    return cell | measured


def ranks(cells: pd.DataFrame, columns: list[Column], what: str, beside: pd.DataFrame | None = None) -> pd.Series:
    """1 for the best of a column as printed, 2 for the second best (ties share), 0 for all others.

    Args:
        beside: rows that take part and get no rank of their own: the paper marks the best of all methods.
    """
    place = pd.Series(0, index=cells.index)
    for column in columns:
        values = cells.loc[cells.column == column.name, what].astype(float).round(2 if what == "published" else column.decimals)
        if beside is not None and column.name in beside:
            values = pd.concat([values, beside[column.name].astype(float)])
        values = values.dropna()
        if column.higher_is_better is None or values.nunique() < 2:
            continue
        rank = values.rank(ascending=not column.higher_is_better, method="dense")
        marked = [index for index in rank.index[rank <= 2] if index in place.index]
        place[marked] = rank[marked].astype(int)
    return place


def averaged_columns(columns: list[Column], cells: pd.DataFrame) -> list[Column]:
    """What a row's mean and its difference are over: the paper's benchmarks that were measured.

    Where there are none, the paper's own averages; where there are none of these either, every measured benchmark.
    """
    measured = {name for name, value in zip(cells.column, cells.value, strict=True) if not np.isnan(value)}
    scored = [column for column in columns if not column.fact and column.name in measured]
    single = [column for column in scored if column.published and not column.average]
    return single or [column for column in scored if column.published] or scored


def means(cells: pd.DataFrame, averaged: list[Column]) -> pd.DataFrame:
    """Plain means of each row over the given columns, measured and published; nan where one is missing."""
    chosen = cells[cells.column.isin([column.name for column in averaged])]
    grouped = chosen.groupby("row", sort=False)
    return pd.DataFrame(
        {
            "mean": grouped.value.agg(lambda values: values.mean(skipna=False)),
            "mean_published": grouped.published.agg(lambda values: values.astype(float).mean(skipna=False)),
        }
    )


def ordered(rows: pd.DataFrame, compared: Comparison | None) -> Agreement | None:
    """The agreement of the row means with the published ones; None for fewer than three, or where all are equal."""
    both = rows[["mean", "mean_published"]].dropna()
    if len(both) < 3 or both.round(6).nunique().min() < 2:
        return None
    found = agreement(both["mean"].tolist(), both.mean_published.tolist())
    if compared is None:
        return found
    correct = np.stack([compared.correct[row].to_numpy(bool) for row in both.index], axis=1)
    return with_interval(found, correct, both.mean_published.tolist(), compared.strata)
