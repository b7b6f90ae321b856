"""A finished table: rows, cells, columns, what the paper prints, and what the numbers are.

Built from what runs left behind (reports.collect, reports.stats). Every rendering and figure is made of this object and of
nothing else.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import ReportError
from reports.collect.peers import read_peers
from reports.collect.predictions import problems_of, read_predictions
from reports.collect.published import fill_averages, read_published
from reports.collect.runs import check_protocols, facts, precisions, read_runs, reading_time
from reports.layout import Column, Layout, absent, columns_of, read_layout
from reports.render.notes import RENDERED, Noted, notes_of
from reports.stats import intervals
from reports.stats.compare import Comparison, compare, comparison
from reports.stats.orderings import Agreement, agreement, with_interval

CELL = ("row", "column", "value", "low", "high", "n", "seeds", "seed_sd", "published", "reason")


@dataclass(frozen=True)
class Table:
    """What is to be shown.

    Args:
        rows: indexed by row name, in order: `gin`, `run` (empty where there is none), `output`, `layers`, `params`,
            `params_paper`, `ours` (not in the paper), `reason` (why the row has no numbers; empty where it has),
            `mean` and `mean_published` (over `averaged`); against the baseline, in points (`stats.intervals.Paired`):
            `n`, `difference` (of the means), `diff_low`, `diff_high`, `p` (nan where training noise is unknown), `p_holm`,
            `df`, `image_se`, `training_se`, `detectable`, `seed_sd` (of the difference), `noise_sd` (of one training, as used),
            `noise` (where it is from beside the row's own seeds), `pooled` (difference on all images together),
            `seeds_needed` (for undecided rows; inf where no number of seeds decides).
        cells: one per (row, column): `row`, `column`, `value`, `low`, `high`, `n`, `seeds`, `seed_sd`, `published`,
            `rank` (1 best, 2 second best, 0 else), `published_rank`, `reason` (why `value` is nan; empty where it is not).
        others: published rows of other methods, set apart: `method`, further text columns, one per published column.
        external: outside readers measured on the same images: `method` and columns by name, an Interval or None each. They
            check the harness and enter no statistic.
        averaged: names of the columns that `mean` is over.
        notes: sentences that say what the numbers are, in order; plain text.
        agreement: of the row means with the published ones; None where fewer than three rows have both.
        runs: the list of runs that the rows were read from, see `reports.collect.runs.read_runs`.
        results: folder of all results.
    """

    layout: Layout
    scale: str
    data: str
    seeds: str
    columns: tuple[Column, ...]
    rows: pd.DataFrame
    cells: pd.DataFrame
    others: pd.DataFrame
    external: pd.DataFrame
    averaged: tuple[str, ...]
    notes: tuple[str, ...]
    agreement: Agreement | None
    runs: pd.DataFrame
    results: Path

    def cell(self, row: str, column: str) -> pd.Series:
        """The cell of a row and a column, by name."""
        chosen = self.cells[(self.cells.row == row) & (self.cells.column == column)]
        return chosen.iloc[0]

    @property
    def scored(self) -> tuple[Column, ...]:
        """Columns that are word accuracies."""
        return tuple(column for column in self.columns if not column.fact)


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
    columns = columns_of(layout, rendered, sorted(set().union(*(set(frame.benchmark) for frame in scored.values()))))
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
        external=read_peers(runs.iloc[0], columns),
        averaged=tuple(column.name for column in averaged),
        notes=notes_of(Noted(layout, runs, columns, averaged, cells, rows, ordering, times, trained_in)),
        agreement=ordering,
        runs=runs,
        results=results,
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
    spread = intervals.seed_sd(100 * (seeds["sum"] / seeds["size"]).to_numpy())
    measured = {"n": int(seeds["size"].iloc[0]), "seeds": len(seeds), "seed_sd": spread}
    return cell | intervals.pooled_accuracy(here, len(seeds))._asdict() | measured


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
