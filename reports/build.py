"""Makes a finished table from the results of its runs: cells, differences, ranks, reasons for empty cells, notes.

Raises ReportError for an input that is missing or does not fit; the message names file, row, key and the fix.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import ReportError
from reports.collect.images import check_images
from reports.collect.peers import read_peers
from reports.collect.predictions import IMAGE, problems_of, read_predictions
from reports.collect.published import fill_averages, read_published
from reports.collect.runs import check_protocols, facts, read_runs
from reports.columns import Column, absent, columns_of, mean_columns
from reports.layout import is_rendered, read_layout
from reports.render.notes import notes_of
from reports.stats import intervals
from reports.stats.compare import Comparison, compare, comparison
from reports.stats.orderings import Agreement, agreement, with_interval
from reports.table import CENTRES, Table

CELL = ("row", "column", "value", "low", "high", "n", "seeds", "seed_sd", "published", "reason")


def build(table: str, results: Path, folder: Path) -> Table:
    """The table of ablations/<table>, computed from the results of its runs.

    Args:
        folder: where <table>.runs.csv is.
    """
    layout, runs = read_layout(table), read_runs(folder, table)
    if layout.baseline and layout.baseline not in runs.index:
        raise ReportError(f"{layout.path}: baseline {layout.baseline!r} is not a row; there are {', '.join(runs.index)}")
    check_protocols(runs, layout)
    everything = fill_averages(layout, read_published(layout, layout.rows))
    published, others = everything[everything.method == ""], everything[everything.method != ""]
    has_scores = any("fact" not in entry for entry in layout.columns)
    scored = {row: read_predictions(results, line) for row, line in runs.iterrows() if has_scores and not line.reason}
    first = runs.iloc[0]
    benchmarks = sorted(set().union(*(frame.benchmark for frame in scored.values())))
    columns = columns_of(layout, is_rendered(first.data), benchmarks)
    check_images(layout, scored, {name for column in columns for name in column.benchmarks})
    cells = make_cells(results, runs, columns, scored, published, others)
    averaged = mean_columns(columns, set(benchmarks))
    compared = comparison(layout, runs, scored, averaged, results)
    rows = runs[["gin", "run", "output", "layers", "params", "params_paper", "reason"]].copy()
    rows["ours"] = [len(everything) > 0 and row not in published.index for row in rows.index]
    rows = rows.join(centres(cells, averaged)).join(compare(layout, runs, compared))
    finished = Table(
        layout=layout,
        scale=first.scale,
        data=first.data,
        seeds=first.seeds,
        columns=tuple(columns),
        rows=rows,
        cells=cells,
        others=others.reset_index(drop=True),
        peers=read_peers(first, columns, images_of(scored)),
        averaged=tuple(column.name for column in averaged),
        notes=(),
        agreement=ordered(rows, compared),
        runs=runs,
        results=results,
    )
    return replace(finished, notes=notes_of(finished))


def images_of(scored: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The images that rows read, of one row and seed: those of the others are the same where they are compared."""
    frame = next(iter(scored.values()), pd.DataFrame(columns=[*IMAGE, "seed"]))
    return frame.loc[frame.seed == frame.seed.min(), IMAGE]


def make_cells(
    results: Path,
    runs: pd.DataFrame,
    columns: list[Column],
    scored: dict[str, pd.DataFrame],
    published: pd.DataFrame,
    others: pd.DataFrame,
) -> pd.DataFrame:
    """Table.cells: every row and column, with ranks."""
    problems = {row: problems_of(results, runs.loc[row]) for row in scored}
    known = {row: facts(results, line) for row, line in runs.iterrows()}
    cells = pd.DataFrame(
        one_cell(line, column, scored.get(row), known[row], published, problems.get(row, {}))
        for row, line in runs.iterrows()
        for column in columns
    ).reindex(columns=CELL)
    cells["rank"] = ranks(cells, columns, "value")
    return cells.assign(published_rank=ranks(cells, columns, "published", others))


def one_cell(
    line: pd.Series, column: Column, scored: pd.DataFrame | None, known: dict, published: pd.DataFrame, problems: dict[str, str]
) -> dict:
    """The content of one cell, or the reason why it is empty."""
    cell = {"row": line.row, "column": column.name, "reason": ""}
    if column.published and line.row in published.index:
        cell["published"] = published.loc[line.row, column.name]
    if column.fact:
        value = known.get(column.fact, np.nan)
        return cell | {"value": value, "reason": (line.reason or "not measured") if np.isnan(value) else ""}
    here = None if scored is None else scored[scored.benchmark.isin(column.benchmarks)]
    if here is None or not column.benchmarks or set(here.benchmark) != set(column.benchmarks):
        evaluated = set() if scored is None else set(scored.benchmark)
        return cell | {"value": np.nan, "reason": line.reason or absent(column, evaluated, problems)}
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
        decimals = 2 if what == "published" else column.decimals
        values = cells.loc[cells.column == column.name, what].astype(float)
        values = values.map(lambda value, decimals=decimals: float(f"{value:.{decimals}f}"))  # `round` differs at 99.65
        if beside is not None and column.name in beside:
            values = pd.concat([values, beside[column.name].astype(float)])
        values = values.dropna()
        if column.higher_is_better is None or values.nunique() < 2:
            continue
        rank = values.rank(ascending=not column.higher_is_better, method="dense")
        marked = [index for index in rank.index[rank <= 2] if index in place.index]
        place[marked] = rank[marked].astype(int)
    return place


def centres(cells: pd.DataFrame, averaged: list[Column]) -> pd.DataFrame:
    """CENTRES of each row over the given columns, measured and published; nan where a column is missing."""
    chosen = cells[cells.column.isin([column.name for column in averaged])]
    grouped = chosen.groupby("row", sort=False)
    values = {"": grouped.value, "_published": grouped.published}
    return pd.DataFrame(
        {
            f"{name}{suffix}": group.agg(lambda column, centre=centre: centre(column.astype(float)))
            for name, centre in CENTRES.items()
            for suffix, group in values.items()
        }
    )


def ordered(rows: pd.DataFrame, compared: Comparison | None) -> Agreement | None:
    """The agreement of the row means with the published ones; None for fewer than three, or where all are equal."""
    both = rows[["mean", "mean_published"]].dropna()
    if len(both) < 3 or both.round(6).nunique().min() < 2:
        return None
    order = agreement(both["mean"].tolist(), both.mean_published.tolist())
    if compared is None:
        return order
    correct = np.stack([compared.correct[row].to_numpy(bool) for row in both.index], axis=1)
    return with_interval(order, correct, both.mean_published.tolist(), compared.strata)
