"""One table: measured beside published, with intervals, paired differences and the agreement of the orderings.

python -m reports.tables table_VI --results results
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core.files import ROOT, atomic_file
from reports import stats
from reports.collect import Column, Layout, ReportError, check_protocols, columns_of, read_layout, read_predictions, read_runs

PUBLISHED = ROOT / "reports" / "published"
ABSENT = "absent"


def read_published(layout: Layout) -> pd.DataFrame:
    """Published values, indexed by row; no rows where the paper has no such table.

    Raises:
        ReportError: the file lacks a column that the layout names.
    """
    path = PUBLISHED / f"{layout.table}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=[entry["name"] for entry in layout.columns], dtype=float)
    frame = pd.read_csv(path, index_col="row")
    for entry in layout.columns:
        if entry["name"] not in frame:
            raise ReportError(f"{path}: no column {entry['name']!r}, which table.yaml asks for")
    return frame


def tidy(layout: Layout, runs: pd.DataFrame, results: Path, columns: list[Column], published: pd.DataFrame) -> pd.DataFrame:
    """One line a (row, column): n, seeds, accuracy, interval, published value, difference to the baseline, p-value."""
    scored = {run.row: read_predictions(results, run) for _, run in runs.iterrows()}
    if layout.baseline not in scored:
        raise ReportError(f"{layout.table}: baseline {layout.baseline!r} is no row of the table")
    lines = []
    for row, frame in scored.items():
        for column in columns:
            here = frame[frame.benchmark.isin(column.benchmarks)]
            benchmark = " ".join(column.benchmarks)
            line = {"row": row, "column": column.name, "benchmark": benchmark, "from_paper": column.published}
            if column.published and row in published.index:
                line["published"] = published.loc[row, column.name]
            if set(here.benchmark) == set(column.benchmarks):
                seeds = here.groupby("seed").correct.agg(["sum", "size"])
                images = int(seeds["size"].iloc[0])
                value = stats.accuracy(seeds["sum"].mean(), images)
                line |= {"n": images, "seeds": len(seeds), "accuracy": value.value, "low": value.low, "high": value.high}
                if len(seeds) > 1:
                    line["seed_sd"] = float((100 * seeds["sum"] / seeds["size"]).std(ddof=1))
            lines.append(line)
    frame = pd.DataFrame(lines)
    for name in ("n", "seeds", "accuracy", "low", "high", "published"):
        if name not in frame:
            frame[name] = np.nan
    return frame


def compare(layout: Layout, runs: pd.DataFrame, results: Path, columns: list[Column]) -> pd.DataFrame:
    """Each row against the baseline on the pooled images of `columns`: difference, exact McNemar p, Holm's correction.

    With several seeds the first one is compared, image by image.
    """
    benchmarks = {benchmark for column in columns for benchmark in column.benchmarks}
    first = {}
    for _, run in runs.iterrows():
        frame = read_predictions(results, run)
        frame = frame[(frame.seed == frame.seed.min()) & frame.benchmark.isin(benchmarks)]
        first[run.row] = frame.set_index(["benchmark", "index"]).correct
    baseline = first[layout.baseline]
    lines = []
    for row, correct in first.items():
        if not correct.index.equals(baseline.index):
            raise ReportError(f"row {row} and baseline {layout.baseline} were not evaluated on the same images")
        p = np.nan if row == layout.baseline else stats.paired_p(correct.to_numpy(), baseline.to_numpy())
        lines.append({"row": row, "n": len(correct), "difference": 100 * (correct.mean() - baseline.mean()), "p": p})
    frame = pd.DataFrame(lines).set_index("row")
    others = frame.index[frame.p.notna()]
    frame.loc[others, "p_holm"] = stats.holm(frame.loc[others, "p"].tolist())
    return frame


def averages(cells: pd.DataFrame, columns: list[Column]) -> pd.DataFrame:
    """Plain means of each row over the given columns, measured and, where the paper has them, published."""
    grouped = cells[cells.column.isin([column.name for column in columns])].groupby("row", sort=False)
    published = grouped.published.mean().astype(float)
    return pd.DataFrame({"measured": grouped.accuracy.mean(), "published": published})


def shortened(count: int) -> str:
    """A number of parameters, as the paper prints them."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} K" if count else "0"


def probability(p: float) -> str:
    """A p-value in two digits; what is below the smallest number a computer keeps is said to be so."""
    return f"{p:.2g}" if p > 0 else "< 1e-300"


def marked(value: str, rank: float) -> str:
    """Best bold, second best in italics, as the paper highlights them."""
    return f"**{value}**" if rank == 1 else f"*{value}*" if rank == 2 else value


def markdown(
    layout: Layout,
    runs: pd.DataFrame,
    cells: pd.DataFrame,
    columns: list[Column],
    means: pd.DataFrame,
    paired: pd.DataFrame,
    ours: list[str],
) -> str:
    """The table as Markdown, its caption saying what every number is; rows of `ours` are marked."""
    averaged = averaged_columns(columns, cells)
    scale, data = runs.scale.iloc[0], runs.data.iloc[0]
    text = [f"# {layout.title}", "", layout.about, ""]
    text += [f"Scale **{scale}**, data: {data}, seeds: {runs.seeds.iloc[0]}.", ""]
    grid = pd.DataFrame(index=pd.Index(runs.row, name="row"))
    for name in ("output", "layers"):
        if runs[name].nunique() > 1:
            grid[name] = list(runs[name])
    grid["#Params"] = [shortened(value) for value in runs.params]
    grid["#Params (paper scale)"] = [shortened(value) for value in runs.params_paper]
    for column in columns:
        here = cells[cells.column == column.name].set_index("row")
        rank = here.accuracy.round(1).rank(ascending=False, method="min")
        grid[column.heading] = [
            ABSENT if np.isnan(cell.accuracy) else marked(f"{cell.accuracy:.1f}", rank[row]) + f" ±{half_width(cell):.1f}"
            for row, cell in here.loc[grid.index].iterrows()
        ]
    if len(averaged) > 1:
        grid["mean"] = [f"{value:.1f}" for value in means.measured.loc[grid.index]]
    grid["difference"] = [
        "baseline" if row == layout.baseline else f"{line.difference:+.1f} (p {probability(line.p_holm)})"
        for row, line in paired.loc[grid.index].iterrows()
    ]
    grid.index = pd.Index([f"{row} (ours)" if row in ours else row for row in grid.index], name="row")
    text += [grid.to_markdown(), ""]
    counts = ", ".join(
        f"{column.heading} {int(n)}" for column in columns if (n := cells[cells.column == column.name].n.max()) > 0
    )
    averaged_names = ", ".join(column.heading for column in averaged)
    text += [
        f"Word accuracy in per cent, ± half of Wilson's 95 % interval over images ({counts}). "
        + (f"Mean: plain mean of {averaged_names}. " if len(averaged) > 1 else "")
        + f"Difference: in points to {layout.baseline} on the pooled images of "
        "those columns, with the exact McNemar p-value after Holm's correction within the table. #Params: learnable "
        f"parameters of the encoders; layers of image/text tower: {'as listed' if 'layers' in grid else runs.layers.iloc[0]}. "
        f"Scored: the {'output listed' if 'output' in grid else runs.output.iloc[0] + ' branch'}, after refinement."
        + (" Rows marked (ours) are not in the paper." if len(ours) else ""),
        "",
    ]
    paper = cells[cells.from_paper].pivot_table(index="row", columns="column", values="published", sort=False)
    if len(paper):
        if len(paper.columns) > 1:
            paper["mean"] = paper.mean(axis=1)
        text += ["## Published", "", paper.to_markdown(floatfmt=".1f"), ""]
    known = means.dropna()
    if len(known) > 2:
        tau = stats.agreement(known.measured.tolist(), known.published.tolist())
        text += [
            f"Ordering of the {tau.n} row means over {averaged_names} against the published ones: "
            f"Kendall's tau {tau.tau:.2f} (p {tau.p:.2g}).",
            "Micro results are compared with the paper in ordering only, never cell by cell." if scale != "paper" else "",
            "",
        ]
    else:
        text += ["No column of the paper was measured on this data, so the orderings are not compared.", ""]
    return "\n".join(text)


def half_width(cell: pd.Series) -> float:
    return (cell.high - cell.low) / 2


def averaged_columns(columns: list[Column], cells: pd.DataFrame) -> list[Column]:
    """The published columns that were measured; where none was, every measured column."""
    measured = set(cells[cells.accuracy.notna()].column)
    published = [column for column in columns if column.published and column.name in measured]
    return published or [column for column in columns if column.name in measured]


def make_table(table: str, results: Path, folder: Path) -> Path:
    """Write <table>.md, .csv and .json into `folder`, where <table>.runs.csv is; returns the Markdown file.

    Raises:
        ReportError: an input is missing or does not fit.
    """
    layout = read_layout(table)
    runs = read_runs(folder, table)
    check_protocols(runs, layout.varies)
    published = read_published(layout)
    found = sorted(set(read_predictions(results, runs.iloc[0]).benchmark))
    columns = columns_of(layout, runs.data.iloc[0] == "rendered micro world", found)
    cells = tidy(layout, runs, results, columns, published)
    averaged = averaged_columns(columns, cells)
    means = averages(cells, averaged)
    paired = compare(layout, runs, results, averaged)
    ours = [row for row in runs.row if len(published) and row not in published.index]
    known = means.dropna()
    tau = stats.agreement(known.measured.tolist(), known.published.tolist())._asdict() if len(known) > 2 else None
    wide = cells.merge(runs[["row", "run", "output", "protocol", "evaluation", "params", "params_paper"]], on="row")
    wide = wide.merge(paired[["difference", "p", "p_holm"]].reset_index(), on="row")
    with atomic_file(folder / f"{table}.csv") as partial:
        wide.to_csv(partial, index=False)
    with atomic_file(folder / f"{table}.json") as partial:
        partial.write_text(json.dumps({"kendall": tau, "averaged": [c.name for c in averaged]}, indent=2) + "\n")
    with atomic_file(folder / f"{table}.md") as partial:
        partial.write_text(markdown(layout, runs, cells, columns, means, paired, ours))
    return folder / f"{table}.md"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Make a table from the predictions of its runs.")
    parser.add_argument("table", help="e.g. table_VI")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (default: results)")
    parser.add_argument("--tables", type=Path, help="folder with <table>.runs.csv, written to (default: RESULTS/tables)")
    options = parser.parse_args(arguments)
    try:
        path = make_table(options.table, options.results, options.tables or options.results / "tables")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(path.read_text())
    print(f"written to {path}")


if __name__ == "__main__":
    main()
