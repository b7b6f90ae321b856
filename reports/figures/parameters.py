"""Accuracy against learnable parameters: what was measured, and what the paper prints (Tables VI to VIII)."""

import argparse

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from core.errors import ReportError
from reports.build import build
from reports.figures import style
from reports.figures.placing import label_marks
from reports.table import Table

BREAK = Path([(-0.9, -1), (-0.1, 1), (0.1, -1), (0.9, 1)], [Path.MOVETO, Path.LINETO, Path.MOVETO, Path.LINETO])


def draw(options: argparse.Namespace) -> Figure:
    return parameters(build(options.table, options.results, options.tables), options.column)


@matplotlib.rc_context(style.RC)
def parameters(table: Table, column: str | None = None) -> Figure:
    """Measured accuracy with its interval above, published accuracy as hollow marks below, over a log axis.

    Args:
        column: name of one; the mean over `table.averaged` where it is not given.
    """
    points = points_of(table, column)
    panels = [
        ("params", "value", f"measured, scale {table.scale}"),
        ("params_paper", "published", "published, parameters at paper scale"),
    ]
    panels = [panel for panel in panels if points[panel[1]].notna().any()]
    if not panels:
        raise ReportError(f"{table.layout.path}: no row has a measured or published {column or 'mean'}; run its rows first")
    figure = style.panels(style.COLUMN, 2.5 * len(panels), explanation(table, points, column))
    drawn = []
    for axes, (count, value, title) in zip(figure.subplots(len(panels), 1, squeeze=False).flat, panels, strict=True):
        drawn.append((axes, *draw_panel(axes, points.rename(columns={count: "x", value: "y"}), hollow=value == "published")))
        axes.set_title(title, color=style.GREY)
        axes.set_ylabel("word accuracy, %")
    axes.set_xlabel("learnable parameters of the encoders")
    figure.draw_without_rendering()  # labels are placed in points, so the axes must be where they stay
    figure.set_layout_engine("none")
    for axes, x, shown, bars in drawn:
        label_marks(axes, x, shown.y.to_numpy(), list(shown.index), bars)
        if shown.x.min() == 0 < shown.x.max():  # the axis is broken between 0 and the smallest count
            middle = axes.transData.transform((np.sqrt(x.min() * x[x > x.min()].min()), 0))[0]
            place = axes.transAxes.inverted().transform((middle, 0))[0]
            axes.plot(place, 0, marker=BREAK, color=style.GREY, markersize=5, transform=axes.transAxes, clip_on=False)
    return figure


def points_of(table: Table, column: str | None) -> pd.DataFrame:
    """One line per row: params, params_paper, value, low, high, published, kind (baseline, paper, ours).

    The interval of a mean comes from those of its columns by squaring and adding their sides (Zou and Donner 2008).
    """
    chosen = table.averaged if column is None else (column,)
    scored = [one.name for one in table.scored]
    for name in set(chosen) - set(scored):
        raise ReportError(f"{table.layout.path}: no column of accuracies is called {name!r}; there are {', '.join(scored)}")
    points = table.rows[["params", "params_paper"]].copy()
    cells = table.cells[table.cells.column.isin(chosen)]
    below = (cells.value - cells.low).pow(2).groupby(cells.row).sum(min_count=len(chosen)).pow(0.5) / len(chosen)
    above = (cells.high - cells.value).pow(2).groupby(cells.row).sum(min_count=len(chosen)).pow(0.5) / len(chosen)
    one = cells.set_index("row")
    points["value"] = table.rows["mean"] if column is None else one.value
    points["published"] = table.rows["mean_published"] if column is None else one.published
    points["low"], points["high"] = points.value - below, points.value + above
    points["kind"] = np.where(table.rows.ours, "ours", "paper")
    points.loc[points.index == table.layout.baseline, "kind"] = "baseline"
    return points


def draw_panel(axes: Axes, points: pd.DataFrame, *, hollow: bool) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Marks, without their labels; rows without parameters stand left of the log axis, at 0.

    Returns:
        Places on the axis, the rows drawn, and the ends of their intervals.
    """
    points = points[points.y.notna() & points.x.notna()]
    x, ticks, names, limits = log_places(points.x.to_numpy(float))
    bars = np.column_stack([points.y, points.y] if hollow else [points.low.fillna(points.y), points.high.fillna(points.y)])
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    room = 0.15 * max(1.0, bars.max() - bars.min())
    low, high = bars.min() - room, bars.max() + 2 * room
    axes.set_ylim(low, high)
    axes.set_yticks([tick for tick in axes.get_yticks() if max(0, low) <= tick <= min(100, high)])
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda _, place: names[place]))
    colours = {"baseline": style.VERMILLION, "ours": style.GREEN, "paper": style.BLUE}
    shapes = {"baseline": "s", "ours": "D", "paper": "o"}
    for place, ends, y, kind in zip(x, bars, points.y, points.kind, strict=True):
        axes.plot([place, place], ends, color=colours[kind], linewidth=0.8, alpha=0.6, zorder=2)
        face = "white" if hollow else colours[kind]
        axes.plot(place, y, shapes[kind], color=colours[kind], markerfacecolor=face, markersize=3.4, markeredgewidth=0.8)
    return x, points, bars


def log_places(counts: np.ndarray) -> tuple[np.ndarray, list[float], list[str], tuple[float, float]]:
    """Places on a log axis, its ticks and their names, its limits; a count of 0 stands a quarter of the span to the left."""
    some = counts[counts > 0]
    if not len(some):
        return np.ones(len(counts)), [1.0], ["0"], (0.5, 2.0)
    low, high = some.min(), some.max()
    span = max(np.log10(high / low), 0.3)
    steps = (1, 2, 5) if span < 2 else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    edge = 10 ** (0.12 * span)
    ticks = [tick for tick in ticks if low / edge <= tick <= high * edge]
    names = [short(tick) for tick in ticks]
    if len(some) == len(counts):
        return counts, ticks, names, (low / edge, high * edge)
    zero = low / 10 ** (0.25 * span)
    return np.where(counts > 0, counts, zero), [zero, *ticks], ["0", *names], (zero / edge, high * edge)


def short(count: float) -> str:
    """A count as a tick reads it: 200 K, 1 M, 1 B."""
    for unit, name in ((1e9, " B"), (1e6, " M"), (1e3, " K")):
        if count >= unit:
            return f"{count / unit:g}{name}"
    return f"{count:g}"


def explanation(table: Table, points: pd.DataFrame, column: str | None) -> str:
    """The figure's note: what is averaged, what the marks are, and which rows have no number."""
    names = [one.heading for one in table.columns if one.name in ((column,) if column else table.averaged)]
    text = f"Plain mean of {', '.join(names)}. " if len(names) > 1 else f"{names[0]}. "
    if points.low.notna().any():
        text += "Bars: 95 % intervals over images. "
    drawn = set(points.kind[points[["value", "published"]].notna().any(axis=1)])
    text += "Square: baseline. " if "baseline" in drawn else ""
    text += "Diamonds: not in the paper. " if "ours" in drawn else ""
    if column is None and table.agreement:
        text += f"Kendall's tau of the two orderings: {table.agreement.tau:.2f} ({table.agreement.n} rows). "
    missing = list(points.index[points.value.isna()])
    return text + (f"No measured number: {', '.join(missing)}." if missing else "")
