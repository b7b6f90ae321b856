"""Forest plot: every row's difference to the baseline on the same images, and whether the study could have shown it at all."""

import argparse
from typing import NamedTuple

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from core.errors import ReportError
from reports.build import build
from reports.figures import style
from reports.render.grid import TWO_MODELS, image_interval
from reports.render.text import signed
from reports.stats.intervals import LEVEL
from reports.table import Table

LINE = 0.17  # inches a row
MARGIN, GAP = 0.06, 0.1
PLOT = 1.45  # inches, at least
FOOT = 0.36  # inches for the axis
THICK, THIN = 2.4, 0.9  # points: images alone, and with training noise


class Place(NamedTuple):
    """Where a row stands, in inches from the top of the axes; `reason` in lines, for a row without numbers."""

    row: str
    middle: float
    height: float
    reason: list[str]


def draw(options: argparse.Namespace) -> Figure:
    return forest(build(options.table, options.results, options.tables))


@matplotlib.rc_context(style.RC)
def forest(table: Table) -> Figure:
    """Differences in points with their 95 % intervals, Holm's p at the right, in the order of the table.

    Thick: the part of an interval that images make; thin: with training noise. An interval over images alone is thick as a
    whole and hollow in its middle. Shaded: differences too small for this study to show. Rows without numbers stand in their
    place with the reason.
    """
    if table.layout.baseline is None:
        raise ReportError(f"{table.layout.path}: no 'baseline', so there are no differences to draw; name one or remove forest")
    rows = table.rows
    if rows.difference.isna().all():
        raise ReportError(f"{table.layout.path}: no row has a difference to {table.layout.baseline} yet; run its rows first")
    names = max(style.text_width(row) for row in rows.index)
    columns = [("points", [difference_text(rows.loc[row], table.layout.baseline) for row in rows.index])]
    columns += [("p (Holm)", [p_text(rows.loc[row]) for row in rows.index])]
    widths = [max(style.text_width(text) for text in [title, *texts]) for title, texts in columns]
    beside = MARGIN + names + GAP, GAP + sum(widths) + GAP + MARGIN
    width = max(style.COLUMN, sum(beside) + PLOT)
    plot = width - sum(beside)
    places = placed(rows, width - beside[0] - MARGIN)
    tall = places[-1].middle + places[-1].height / 2
    lines = style.wrapped(explanation(table), width - 2 * MARGIN, style.TINY)
    foot = FOOT + style.note_height(lines)

    figure = style.canvas(width, tall + foot + LINE + MARGIN)
    axes = style.axes_at(figure, beside[0], foot, plot, tall)
    axes.set_ylim(tall, 0)
    draw_rows(axes, table, places)
    axes.set_xlabel(f"difference to {table.layout.baseline}, points")
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])

    inch = axes.get_yaxis_transform()  # x in widths of the axes, y in inches
    for place in places:
        missing = bool(place.reason)
        colour = style.GREY if missing else style.INK
        axes.text(-(names + GAP) / plot, place.middle, place.row, transform=inch, va="center", color=colour)
        if missing:
            text = "\n".join(place.reason)
            axes.text(0, place.middle, text, transform=inch, va="center", size=style.TINY, color=style.GREY, style="italic")
    right = plot
    for (title, texts), column in zip(columns, widths, strict=True):
        right += GAP + column
        axes.text(right / plot, -0.05, title, transform=inch, ha="right", va="bottom", size=style.TINY, color=style.GREY)
        for place, text in zip(places, texts, strict=True):
            axes.text(right / plot, place.middle, text, transform=inch, ha="right", va="center")
    style.note(figure, lines, MARGIN)
    return figure


def placed(rows: pd.DataFrame, width: float) -> list[Place]:
    """Rows from the top down; a reason takes as many lines as it needs."""
    places, top = [], 0.0
    for row, line in rows.iterrows():
        reason = style.wrapped(missing_reason(line), width, style.TINY)
        height = max(LINE, len(reason) * 0.12 + 0.05)
        places.append(Place(row, top + height / 2, height, reason))
        top += height
    return places


def missing_reason(line: pd.Series) -> str:
    """Why a row has no difference; empty where it has one."""
    return "" if pd.notna(line.difference) else line.reason or "no difference: its images were not read by both rows"


def draw_rows(axes: Axes, table: Table, places: list[Place]) -> None:
    """Marks, intervals and the zone of what cannot be detected, one row after another."""
    for place in places:
        line = table.rows.loc[place.row]
        if place.reason:
            continue
        edges = place.middle - place.height / 2, place.middle + place.height / 2
        axes.plot([0, 0], edges, color=style.GREY, linewidth=0.6, zorder=1)
        if place.row == table.layout.baseline:
            axes.plot(0, place.middle, "s", color=style.INK, markersize=3.5, zorder=4)
            continue
        if pd.notna(line.detectable):
            axes.add_patch(
                Rectangle(
                    (-line.detectable, edges[0]), 2 * line.detectable, place.height, color=style.PALE, linewidth=0, zorder=0
                )
            )
        colour = style.VERMILLION if line.p_holm < LEVEL else style.BLUE
        known = pd.notna(line.p)
        ends = [line.diff_low, line.diff_high]
        axes.plot(image_interval(line) if known else ends, [place.middle] * 2, color=colour, linewidth=THICK, zorder=3)
        if known:
            axes.plot(ends, [place.middle] * 2, color=colour, linewidth=THIN, zorder=3)
        if pd.notna(line.seed_sd):
            ends = [line.difference - line.seed_sd, line.difference + line.seed_sd]
            axes.plot(ends, [place.middle + 0.04] * 2, color=style.GREY, linewidth=0.6, zorder=2)
        fill = colour if known else "white"
        axes.plot(line.difference, place.middle, "o", color=colour, markerfacecolor=fill, markersize=3.6, zorder=4)
    axes.set_xlim(*limits(table.rows))


def limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Room for every interval and zone; a point on either side of zero at least."""
    low = min(-1.0, rows[["diff_low", "difference"]].min().min(), -rows.detectable.max())
    high = max(1.0, rows[["diff_high", "difference"]].max().max(), rows.detectable.max())
    room = 0.03 * (high - low)
    return low - room, high + room


def difference_text(line: pd.Series, baseline: str) -> str:
    """A signed difference in points; nothing for a row without one."""
    if pd.isna(line.difference):
        return ""
    return "baseline" if line.name == baseline else signed(line.difference)


def p_text(line: pd.Series) -> str:
    """Holm's p to two digits; below a thousandth only that."""
    if pd.isna(line.p_holm):
        return ""
    return "< 0.001" if line.p_holm < 0.001 else f"{line.p_holm:.2g}" if line.p_holm < 0.1 else f"{line.p_holm:.2f}"


def explanation(table: Table) -> str:
    """The figure's note: what marks, lines and shading mean, with the number of trainings and images."""
    rows, seeds = table.rows, len(table.seeds.split())
    images = rows.n.dropna()
    count = f" on {int(images.max()):,} images" if len(images) else ""
    trained = f"the mean over {seeds} trainings" if seeds > 1 else "one training"
    text = f"Dots: {trained} of each row. Lines: 95 % intervals{count}."
    if rows.p.notna().any():
        text += f" Thick: the part that images make; thin: with training noise. Orange: p < {LEVEL:g} (t, Holm)."
    if (rows.p.isna() & rows.image_se.notna()).any():
        text += f" Hollow: images alone, so of {TWO_MODELS} and not of other trainings."
    if rows.seed_sd.notna().any():
        text += " Grey, below a line: the difference's standard deviation over seeds, to either side."
    return (
        f"{text} Shaded: differences too small for this study to show reliably. Neither lines nor shading are corrected for "
        "the number of rows."
    )
