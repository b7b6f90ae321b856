"""A table for other programs: CSV with one line per cell, CSV with one line per row, JSON for the table as a whole."""

import pandas as pd

from core.files import json_text
from reports.stats.compare import COMPARED
from reports.table import CENTRES, Table


def tidy_csv(table: Table) -> str:
    return tidy(table).to_csv(index=False)


def tidy(table: Table) -> pd.DataFrame:
    """One line per (row, column): value, interval, published value, where both come from, the row's paired difference."""
    origin = ["run", "output", "protocol", "evaluation", "labels", "params", "params_paper"]
    frame = table.cells.merge(table.runs[origin], left_on="row", right_index=True)
    compared = [name for name in (*COMPARED, "noise") if name not in ("n", "seed_sd")]  # a cell has its own of these
    frame = frame.merge(
        table.rows[[*(f"{name}{of}" for name in CENTRES for of in ("", "_published")), *compared]],
        left_on="row",
        right_index=True,
    )
    frame["benchmark"] = frame.column.map({column.name: " ".join(column.benchmarks) for column in table.columns})
    frame["published_protocol"] = frame.published.notna().map({True: "as_published", False: ""})
    return frame


def wide_csv(table: Table) -> str:
    """One line per row, one column per column."""
    values = table.cells.pivot(index="row", columns="column", values="value")
    return values.loc[table.rows.index, [column.name for column in table.columns]].to_csv()


def summary_json(table: Table) -> str:
    """Facts about the table as a whole, as JSON."""
    summary = {
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
    return json_text(summary, indent=2) + "\n"
