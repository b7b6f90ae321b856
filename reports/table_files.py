"""The files of one table: CSV, JSON, Markdown, LaTeX and HTML."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from core.files import atomic_file
from reports.collect import read_runs
from reports.compare import COMPARED
from reports.flipped import flips_of_table
from reports.html import html
from reports.latex import latex
from reports.markdown import markdown
from reports.table import Table


def tidy(table: Table, runs: pd.DataFrame) -> pd.DataFrame:
    """One line a (row, column): value, interval, published value, where both come from, the row's paired difference."""
    known = ["run", "output", "protocol", "evaluation", "labels", "params", "params_paper"]
    frame = table.cells.merge(runs[known], left_on="row", right_index=True)
    compared = [name for name in (*COMPARED, "noise") if name not in ("n", "seed_sd")]  # a cell has its own of these
    frame = frame.merge(table.rows[["mean", "mean_published", *compared]], left_on="row", right_index=True)
    frame["benchmark"] = frame.column.map({column.name: " ".join(column.benchmarks) for column in table.columns})
    frame["published_protocol"] = frame.published.notna().map({True: "as_published", False: ""})
    return frame


def summary(table: Table) -> dict:
    """What is said of the table as a whole."""
    return {
        "table": table.layout.table,
        "title": table.layout.title,
        "scale": table.scale,
        "data": table.data,
        "seeds": table.seeds,
        "baseline": table.layout.baseline,
        "averaged": list(table.averaged),
        "kendall": table.agreement._asdict() if table.agreement else None,
        "notes": list(table.notes),
    }


def write_table(table: Table, results: Path, folder: Path) -> Path:
    """Write <table>.csv, .wide.csv, .json, .tex, .html and .md into `folder`; returns the Markdown file."""
    runs = read_runs(folder, table.layout.table)
    wide = table.cells.pivot(index="row", columns="column", values="value").loc[
        table.rows.index, [c.name for c in table.columns]
    ]
    renderings: dict[str, Callable[[Path], object]] = {
        "csv": lambda path: tidy(table, runs).to_csv(path, index=False),
        "wide.csv": lambda path: wide.to_csv(path),
        "json": lambda path: path.write_text(json.dumps(summary(table), indent=2, ensure_ascii=False) + "\n"),
        "tex": lambda path: path.write_text(latex(table)),
        "html": lambda path: path.write_text(html(table, flips_of_table(table, runs, results))),
        "md": lambda path: path.write_text(markdown(table)),
    }
    for suffix, write in renderings.items():
        with atomic_file(folder / f"{table.layout.table}.{suffix}") as partial:
            write(partial)
    return folder / f"{table.layout.table}.md"
