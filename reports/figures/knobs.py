"""Accuracy against the numbers that sweeps set a knob to: one panel per knob, one line per setting of the other knobs."""

import argparse
import ast
import re
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from core.errors import ReportError
from core.experiment.sweep import is_number, swept_numbers
from core.run_files import RUNS, TRAIN_GIN
from reports.build import build
from reports.collect.runs import protocol_of
from reports.figures import style
from reports.figures.parameters import points_of, short
from reports.layout import PROTOCOL_SETTINGS
from reports.table import Table

WIDE = 8.0  # times the smallest value: a larger range is drawn on a logarithmic axis


def draw(options: argparse.Namespace) -> Figure:
    return knobs(build(options.table, options.results, options.tables))


def own_value(table: Table, row: str, knob: str) -> float | None:
    """The number that a row has for a knob; None where it is no number, or the row has no run.

    Rows that decode one run in several ways share its gin file, so knobs of decoding are those of the row's protocol.
    """
    if (setting := knob.lower()) in PROTOCOL_SETTINGS:
        value = protocol_of(table.runs.loc[row])[setting]
        return float(value) if is_number(value) else None
    path = Path(table.results) / RUNS / str(table.rows.run[row]) / TRAIN_GIN
    text = path.read_text() if path.is_file() else ""
    match = re.search(rf"^{knob} = (.+)$", text, re.MULTILINE)
    value = ast.literal_eval(match[1]) if match else None
    return float(value) if is_number(value) else None


@matplotlib.rc_context(style.RC)
def knobs(table: Table) -> Figure:
    """Means over `table.averaged` with their intervals; the baseline's own value is part of the line without other knobs."""
    found, baseline = swept_numbers(table.layout.sweeps), table.layout.baseline
    points = points_of(table, None)
    names = list(dict.fromkeys(one.knob for one in found))
    placed = [(knob, others, row) for knob, _, others, row in found] + [(knob, "", baseline) for knob in names]
    swept = pd.DataFrame(placed, columns=["knob", "others", "row"])
    swept = swept[swept.row.isin(points.index)]  # a row that is the baseline already is none of the table's
    swept["x"] = [own_value(table, row, knob) for knob, row in zip(swept.knob, swept.row, strict=True)]
    swept = swept.join(points[["value", "low", "high"]], on="row").dropna(subset=["x", "value"])
    if swept.empty:
        raise ReportError(f"{table.layout.path}: no row of a sweep over numbers has a mean; run its rows first")
    names = [knob for knob in names if (swept.knob == knob).any()]
    figure = style.panels(style.COLUMN, 2.3 * len(names), explanation(table, points))
    for axes, knob in zip(figure.subplots(len(names), 1, squeeze=False).flat, names, strict=True):
        draw_panel(axes, swept[swept.knob == knob], points.value.get(baseline))
        axes.set(xlabel=knob, ylabel="word accuracy, %")
    return figure


def draw_panel(axes: Axes, swept: pd.DataFrame, level: float | None) -> None:
    """One knob; `level` is the baseline's mean, a dashed line."""
    if level is not None and pd.notna(level):
        axes.axhline(level, color=style.GREY, dashes=(3, 2), linewidth=0.8)
    lines = list(dict.fromkeys(swept.others))
    for number, others in enumerate(lines):
        part, colour = swept[swept.others == others].sort_values("x"), style.CYCLE[number % len(style.CYCLE)]
        sides = [part.value - part.low.fillna(part.value), part.high.fillna(part.value) - part.value]
        label = others or "nothing else changed"
        axes.errorbar(part.x, part.value, sides, fmt="o-", color=colour, markersize=3, elinewidth=0.8, label=label)
    values = sorted(set(swept.x))
    if values[0] > 0 and values[-1] >= WIDE * values[0]:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    if lines != [""]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1))  # above the panel, where no point is


def explanation(table: Table, points: pd.DataFrame) -> str:
    """The figure's note: what is averaged, what the lines are, and which rows have no number."""
    headings = [column.heading for column in table.averaged_columns]
    text = f"Scale {table.scale}. " + (f"Plain mean of {', '.join(headings)}. " if len(headings) > 1 else f"{headings[0]}. ")
    text += "Bars: 95 % intervals over images. Dashed: the baseline. "
    named = [row for sweep in table.layout.sweeps for row in sweep.points if row in points.index]
    missing = [row for row in named if pd.isna(points.value[row])]
    return text + (f"No measured number: {', '.join(missing)}." if missing else "")
