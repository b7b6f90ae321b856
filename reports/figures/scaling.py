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

ACROSS = 2  # panels in a line


def draw(options: argparse.Namespace) -> Figure:
    """From a file of core.bench scaling."""
    fix = "write it with python -m core.bench scaling --out"
    with damaged(options.source, fix):
        return scaling(read_json(options.source, fix))


@matplotlib.rc_context(style.RC)
def scaling(measured: dict) -> Figure:
    """One panel per factor: medians with their range, and the straight line through them."""
    growths = measured["growths"]
    if not growths:
        raise ReportError("nothing was measured: the file has no growths")
    text = f"{measured['title']}. Medians and ranges of {measured['repeats']} repeats in turns; least-squares lines."
    down = math.ceil(len(growths) / ACROSS)
    figure = style.panels(ACROSS * 3.05, down * 1.97, text)
    places = figure.subplots(down, ACROSS, squeeze=False).flat
    for axes, growth in zip(places, growths, strict=False):
        draw_panel(axes, growth)
    for axes in list(places)[len(growths) :]:
        axes.remove()
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
