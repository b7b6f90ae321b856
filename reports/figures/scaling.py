"""How cost grows with each factor: medians, ranges and straight lines, drawn from what core.bench scaling measured."""

import argparse
import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from core.errors import ReportError
from reports.collect.stored import damaged, read_json
from reports.figures import style

ACROSS, WIDE, HIGH = 2, 2.55, 1.35  # panels in a line; inches of a panel
LEFT, BETWEEN, FOOT, TOP = 0.5, 0.62, 0.42, 0.3  # inches


def draw(options: argparse.Namespace) -> Figure:
    """From a file of core.bench scaling."""
    fix = "write it with python -m core.bench scaling --out"
    with damaged(options.source, fix):
        return scaling(read_json(options.source, fix))


@matplotlib.rc_context(style.RC)
def scaling(found: dict) -> Figure:
    """A panel a factor: medians with their range, and the straight line through them."""
    growths = found["growths"]
    if not growths:
        raise ReportError("nothing was measured: the file has no growths")
    width = ACROSS * (LEFT + WIDE) + 0.1
    text = f"{found['title']}. Medians and ranges of {found['repeats']} repeats in turns; least-squares lines."
    lines = style.wrapped(text, width - 0.1, style.TINY)
    down = math.ceil(len(growths) / ACROSS)
    foot, step = style.note_height(lines) + FOOT, HIGH + BETWEEN
    figure = style.canvas(width, foot + down * step - BETWEEN + TOP)
    for place, growth in enumerate(growths):
        row, column = divmod(place, ACROSS)
        bottom = foot + (down - 1 - row) * step
        draw_panel(style.axes_at(figure, LEFT + column * (LEFT + WIDE), bottom, WIDE, HIGH), growth)
    style.note(figure, lines)
    return figure


def draw_panel(axes: Axes, growth: dict) -> None:
    """One factor: milliseconds over its values."""
    x = np.asarray(growth["x"])
    median, low, high = (1000 * np.asarray(growth[name]) for name in ("seconds", "low", "high"))
    ends = np.array([0, x.max()])
    axes.plot(ends, 1000 * (growth["fixed"] + growth["each"] * ends), color=style.GREY, dashes=(3, 2), linewidth=0.8)
    axes.errorbar(x, median, [median - low, high - median], fmt="o", color=style.BLUE, markersize=3, elinewidth=0.8)
    axes.set_xlim(0, 1.05 * x.max())
    axes.set_ylim(0, 1.1 * high.max())
    axes.set_ylabel("ms")
    axes.set_xlabel(growth["factor"])
    each = 1000 * growth["each"]
    axes.set_title(
        f"{growth['what']}: {1000 * growth['fixed']:.1f} ms + {each:.3g} ms each, R² {growth['r2']:.3f}", color=style.GREY
    )
