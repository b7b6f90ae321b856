"""The results that claims refer to: the evaluated rows of each table, scored once."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from core.run_files import PREDICTIONS
from reports.claims.claim import Contrast
from reports.collect.predictions import problems_of, read_predictions
from reports.collect.runs import evaluation_folder, read_runs
from reports.columns import Column, columns_of
from reports.layout import Layout, is_rendered, read_layout
from reports.stats.compare import Comparison, comparison


class StudyResults:
    """One results folder; a table or row that is not there yet has a reason, not an error.

    Args:
        results: folder of all results.
        tables: folder with <table>.runs.csv.
    """

    def __init__(self, results: Path, tables: Path):
        self.results = results
        self.tables = tables
        self.known: dict[str, TableResults] = {}

    @property
    def scale(self) -> str:
        """The scale of the planned tables; empty if there are none."""
        planned = sorted(self.tables.glob("*.runs.csv"))
        return read_runs(self.tables, planned[0].name.removesuffix(".runs.csv")).scale.iloc[0] if planned else ""

    def resolved(self, contrast: Contrast) -> Contrast:
        """The contrast with rows of a sweep that are another row here in the place of that row's name."""
        weights: dict[tuple[str, str], int] = {}
        for (name, row), weight in contrast.weights.items():
            table = self.table(name)
            key = (name, row if table is None else table.name_of(row))
            weights[key] = weights.get(key, 0) + weight
        return replace(contrast, weights=weights)

    def table(self, name: str) -> "TableResults | None":
        """A table of this study; None where the plan never listed it."""
        if name not in self.known and (self.tables / f"{name}.runs.csv").is_file():
            self.known[name] = TableResults(read_layout(name), read_runs(self.tables, name), self.results)
        return self.known.get(name)


class TableResults:
    """A table's rows, and the predictions of those that were evaluated with every seed."""

    def __init__(self, layout: Layout, runs: pd.DataFrame, results: Path):
        self.layout = layout
        self.runs = runs
        self.results = results
        self.comparisons: dict[tuple[str, ...], Comparison | None] = {}

    @cached_property
    def scored(self) -> dict[str, pd.DataFrame]:
        """Predictions by row, see `read_predictions`; rows that are not (wholly) there are left out."""
        there = [row for row in self.runs.index if not self.missing_reason(row)]
        return {row: read_predictions(self.results, self.runs.loc[row]) for row in there}

    @property
    def scale(self) -> str:
        return self.runs.scale.iloc[0]

    @cached_property
    def columns(self) -> list[Column]:
        return columns_of(self.layout, is_rendered(self.runs.data.iloc[0]), [])

    def name_of(self, row: str) -> str:
        """The name under which a row is listed: a sweep's row that is another one (column `also`) has that one's."""
        listed = (name for name, also in self.runs.also.items() if row in also.split())
        return row if row in self.runs.index else next(listed, row)

    def missing_reason(self, row: str) -> str:
        """Why a row has no predictions; empty where it has."""
        if row not in self.runs.index:
            table = self.layout.table
            return f"{row} is not in {table}.runs.csv; delete that, and `snakemake -n {table}` writes it anew"
        line = self.runs.loc[row]
        if line.reason:
            return f"{row}: {line.reason}"
        seeds = dict.fromkeys([*line.seeds.split(), *line.replicates.split()])
        folders = {seed: evaluation_folder(self.results, line, seed) for seed in seeds}
        missing = [seed for seed, folder in folders.items() if not (folder / PREDICTIONS).is_file()]
        return f"{row} has no predictions of seed {', '.join(missing)}" if missing else ""

    def comparison(self, columns: list[Column]) -> Comparison | None:
        """The scored rows, ready to be compared on the mean of `columns`; None where the baseline was not read."""
        names = tuple(column.name for column in columns)
        if names not in self.comparisons:
            self.comparisons[names] = comparison(self.layout, self.runs, self.scored, columns, self.results)
        return self.comparisons[names]

    def problems(self, row: str) -> dict[str, str]:
        """Benchmarks that a scored row could not read, and why, see `problems_of`."""
        return problems_of(self.results, self.runs.loc[row])

    def benchmarks(self, row: str) -> set[str]:
        """Benchmarks that a scored row was evaluated on."""
        return set(self.scored[row].benchmark)
