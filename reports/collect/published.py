"""The paper's numbers: published rows, and its averages by the same formula where it does not print them.

Raises ReportError for a published file that lacks a column, repeats a row, or has a row that is neither ours nor a method's.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from core.data.benchmarks import AVERAGES, PUBLISHED_SIZES
from core.errors import ReportError
from core.files import ROOT
from reports.collect.stored import damaged
from reports.layout import Layout

PUBLISHED_FOLDER = ROOT / "reports" / "published"


def read_published(layout: Layout, rows: list[str]) -> pd.DataFrame:
    """Published values, indexed by row; `method` names another method's. No rows where the paper has no such table.

    Args:
        rows: the table's own; published rows are one of them, or another method's.
    """
    names = [entry["name"] for entry in layout.columns]
    path = PUBLISHED_FOLDER / f"{layout.table}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["method", *names])
    frame = read_csv(path)
    frame["method"] = frame.get("method", "")
    for name in names:
        if name not in frame:
            if any("paper" in entry for entry in layout.columns if entry["name"] == name):
                raise ReportError(f"{path}: no column {name!r}, which {layout.path} asks for")
            frame[name] = ""
        numbers = pd.to_numeric(frame[name], errors="coerce")
        for row, text in frame[numbers.isna() & (frame[name] != "")].set_index("row")[name].items():
            raise ReportError(f"{path}: row {row!r}, column {name!r} holds {text!r}; write a number like 90.8, or nothing")
        frame[name] = numbers
    for row in frame.row[frame.row.duplicated()]:
        raise ReportError(f"{path}: row {row!r} stands there twice; keep one")
    for row in frame.row[(frame.method == "") & ~frame.row.isin(rows)]:
        raise ReportError(
            f"{path}: row {row!r} is not a gin file of {layout.path.parent}, and its 'method' is empty; correct the name, add "
            "the file, or name the method"
        )
    return frame.set_index("row")


def read_csv(path: Path) -> pd.DataFrame:
    """A published file, its empty cells empty."""
    with damaged(path, "its first line names the columns: row,method,..."):
        frame = pd.read_csv(path, keep_default_na=False)
    if "row" not in frame:
        raise ReportError(f"{path}: no column 'row'; the columns are {', '.join(frame.columns)}")
    return frame


def images_of(average: str) -> int:
    """Images that a named average counts in the paper: 14,315 and 7,672."""
    return sum(PUBLISHED_SIZES[name] for name in AVERAGES[average])


def published_average(layout: Layout, row: pd.Series, average: str) -> float:
    """Sample-weighted accuracy of a published row over the benchmarks of an average; nan where one is not published.

    Args:
        row: published cells by column name.
    """
    column_of = {entry["paper"]: entry["name"] for entry in layout.columns if isinstance(entry.get("paper"), str)}
    cells = [(PUBLISHED_SIZES[name], row.get(column_of.get(name), np.nan)) for name in AVERAGES[average]]
    return float(sum(size * value for size, value in cells) / images_of(average))


def fill_averages(layout: Layout, published: pd.DataFrame) -> pd.DataFrame:
    """Published rows with the averages that the paper does not print but its cells give."""
    filled = published.copy()
    for entry in layout.columns:
        if "average" in entry and len(filled) and filled[entry["name"]].isna().all():
            filled[entry["name"]] = [published_average(layout, row, entry["average"]) for _, row in published.iterrows()]
    return filled
