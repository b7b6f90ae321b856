"""A table's figures by name: what the options ask for, read and drawn."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from core.charset import CHARSETS
from core.errors import ReportError
from reports.cells import build
from reports.collect import read_runs
from reports.figures.curves import curves, table_curves
from reports.figures.forest import forest
from reports.figures.parameters import parameters
from reports.figures.qualitative import qualitative, readings_of
from reports.flips import stored_images
from reports.layout import read_layout


def draw_forest(options: argparse.Namespace) -> Figure:
    return forest(build(options.table, options.results, options.tables))


def draw_parameters(options: argparse.Namespace) -> Figure:
    return parameters(build(options.table, options.results, options.tables), options.column)


def draw_curves(options: argparse.Namespace) -> Figure:
    return curves(*table_curves(read_runs(options.tables, options.table), options.results))


def draw_qualitative(options: argparse.Namespace) -> Figure:
    """Readings of one row, the baseline where none is named.

    Raises:
        ReportError: there is no such row.
    """
    runs, row = read_runs(options.tables, options.table), options.row or read_layout(options.table).baseline
    if row not in runs.index:
        raise ReportError(f"{options.table} has no row {row!r}; --row takes one of {', '.join(runs.index)}")
    run = runs.loc[row]
    charset = CHARSETS[json.loads(run.protocol)["scoring_charset_size"]]
    images = stored_images(options.data or Path(run.data_root))
    return qualitative(readings_of(options.results, run), images, charset, options.images, options.seed)


FIGURES: dict[str, Callable[[argparse.Namespace], Figure]] = {
    "forest": draw_forest,
    "parameters": draw_parameters,
    "curves": draw_curves,
    "qualitative": draw_qualitative,
}
