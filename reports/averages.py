"""Averages by name: which images they pool, and the same formula over published cells (traps of "Avg." in the field)."""

import numpy as np
import pandas as pd

from core.data.benchmarks import AVERAGES, PUBLISHED, distinct
from reports.layout import Column, Layout


def images_of(average: str) -> int:
    """Images that a named average counts in the paper: 14,315 and 7,672."""
    return sum(PUBLISHED[name] for name in AVERAGES[average])


def published_average(layout: Layout, row: pd.Series, average: str) -> float:
    """Sample-weighted accuracy of a published row over the benchmarks of an average; nan where one is not published.

    Args:
        row: published cells by column name.
    """
    column_of = {entry["paper"]: entry["name"] for entry in layout.columns if isinstance(entry.get("paper"), str)}
    cells = [(PUBLISHED[name], row.get(column_of.get(name), np.nan)) for name in AVERAGES[average]]
    return float(sum(size * value for size, value in cells) / sum(size for size, _ in cells))


def fill_averages(layout: Layout, published: pd.DataFrame) -> pd.DataFrame:
    """Published rows with the averages that the paper does not print but its cells give."""
    filled = published.copy()
    for entry in layout.columns:
        if "average" in entry and len(filled) and filled[entry["name"]].isna().all():
            filled[entry["name"]] = [published_average(layout, row, entry["average"]) for _, row in published.iterrows()]
    return filled


def counted_twice(column: Column, here: pd.DataFrame) -> int:
    """How many lines of a column's predictions are of images that another of its benchmarks holds too."""
    return int((~here.benchmark.isin(distinct(column.benchmarks))).sum())


def mean_columns(columns: list[Column], measured: set[str] | None = None) -> list[Column]:
    """The columns that a table's mean is over: its benchmarks, or its own averages where it has no others.

    Args:
        measured: benchmarks that there are numbers of; every one where left out.
    """
    scored = [column for column in columns if column.published and not column.fact]
    filled = [column for column in scored if measured is None or (column.benchmarks and measured >= set(column.benchmarks))]
    return [column for column in filled if not column.average] or filled
