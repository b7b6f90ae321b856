"""A finished table: rows, cells, columns, the published numbers, and notes.

Built by reports.build. Every table format and figure is made from this object alone.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reports.columns import Column
from reports.layout import Layout
from reports.stats.orderings import Agreement

CENTRES = {  # what a table shows of a row's averaged columns: a line here is a column in every format
    "mean": lambda values: values.mean(skipna=False),
}


@dataclass(frozen=True)
class Table:
    """All content of a table, before formatting.

    Args:
        rows: indexed by row name, in order: `gin`, `run` (empty where there is none), `output`, `layers`, `params`,
            `params_paper`, `ours` (not in the paper), `reason` (why the row has no numbers; empty where it has),
            each of CENTRES, measured and published (`mean`, `mean_published`), over `averaged`; against the baseline, in
            points (`stats.intervals.Paired`):
            `n`, `difference` (of the means), `diff_low`, `diff_high`, `p` (nan where training noise is unknown), `p_holm`,
            `df`, `image_se`, `training_se`, `detectable`, `seed_sd` (of the difference), `noise_sd` (of one training, as used),
            `noise` (where it is from beside the row's own seeds), `pooled` (difference on all images together),
            `seeds_needed` (for undecided rows; inf where no number of seeds decides).
        cells: one per (row, column): `row`, `column`, `value`, `low`, `high`, `n`, `seeds`, `seed_sd`, `published`,
            `rank` (1 best, 2 second best, 0 else), `published_rank`, `reason` (why `value` is nan; empty where it is not).
        others: published rows of other methods, set apart: `method`, further text columns, one per published column.
        peers: peer readers measured on the same images: `method` and columns by name, an Interval or None each. They
            check the harness and enter no statistic.
        averaged: names of the columns that `mean` is over.
        notes: sentences that say what the numbers are, in order; plain text.
        agreement: agreement of the row means with the published ones; None if fewer than three rows have both.
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
    peers: pd.DataFrame
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
    def averaged_columns(self) -> list[Column]:
        return [column for column in self.columns if column.name in self.averaged]

    @property
    def scored(self) -> tuple[Column, ...]:
        """Columns that are word accuracies."""
        return tuple(column for column in self.columns if not column.fact)
