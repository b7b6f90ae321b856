"""The ledger of claims as a figure: every contrast's effect as printed and as measured, side by side, with its interval."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter

from core.errors import ReportError
from reports.claims.judged import Judged, JudgedClaim, JudgedContrast
from reports.claims.verdict import CONTRADICTED, SAME, SUPPORTED
from reports.figures import style
from reports.stats.intervals import CONFIDENCE

LINE = 0.145  # inches per contrast
TICKS = (1, 3, 10, 30, 100)
LINEAR = 1.0  # points up to which the axis is linear
COLOURS = {SUPPORTED: style.GREEN, CONTRADICTED: style.VERMILLION, SAME: style.SKY}
MARKERS = {"more": ">", "less": "<", "same": "s"}
LEGEND = (
    "Marks point where the claim says (square: the same, with its margin shaded). Green: supported; orange: contradicted; "
    "light blue: the same; black: undecided. Lines: 95 % interval over trainings and images; dotted: over images alone. The "
    "axis is linear up to 1 point and logarithmic beyond. Times are in the table."
)


@matplotlib.rc_context(style.RC)
def claims_figure(claims: list[JudgedClaim]) -> Figure:
    """Two panels with one line per contrast of accuracies."""
    lines = [(claim.claim.id, each) for claim in claims for each in claim.contrasts if not each.contrast.of_time]
    if not lines:
        raise ReportError("no claim is about accuracies, so there is nothing to draw")
    names = [f"{number}  {each.contrast}" for number, each in lines]
    width = max(style.PAGE, 3.5 + max(style.text_width(name, style.TINY) for name in names))
    figure = style.panels(width, len(lines) * LINE + 0.6, LEGEND)
    sides = {"printed": "as published", "measured": "as measured"}
    for axes, (side, title) in zip(figure.subplots(1, 2, sharey=True), sides.items(), strict=True):
        axes.set_title(title, pad=3)
        draw_panel(axes, [each for _, each in lines], side)
        axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks(range(len(lines)), labels=names, size=style.TINY)
    return figure


def draw_panel(axes: Axes, contrasts: list[JudgedContrast], side: str) -> None:
    """One line per contrast: margin, interval, mark."""
    axes.axvline(0, color=style.GREY, linewidth=0.6, zorder=1)
    for height, each in enumerate(contrasts):
        judged: Judged = getattr(each, side)
        if np.isnan(judged.effect.value):
            word = judged.verdict.word
            axes.text(0, height, f" {word}", size=style.TINY - 1, color=style.GREY, style="italic", va="center")
            continue
        if judged.margin is not None:
            box = Rectangle((-judged.margin, height - 0.45), 2 * judged.margin, 0.9, color=style.PALE, linewidth=0, zorder=0)
            axes.add_patch(box)
        colour = COLOURS.get(judged.verdict.word, style.INK)
        if interval := judged.effect.interval(CONFIDENCE):
            dash = "-" if judged.effect.decidable else ":"
            axes.plot([interval.low, interval.high], [height] * 2, linestyle=dash, color=colour, linewidth=1, zorder=3)
        axes.plot(judged.effect.value, height, MARKERS[each.contrast.kind], color=colour, markersize=2.8, zorder=4)
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=0.6)
    axes.set_xlim(*limits([getattr(each, side) for each in contrasts]))
    axes.xaxis.set_major_locator(FixedLocator([-tick for tick in reversed(TICKS)] + [0, *TICKS]))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    axes.set_xlabel("points")
    axes.spines["left"].set_visible(False)


def limits(judged: list[Judged]) -> tuple[float, float]:
    """Room for every value, interval and margin; two points on either side of zero at least."""
    ends = [-2.0, 2.0]
    for each in judged:
        interval = each.effect.interval(CONFIDENCE)
        ends += [each.effect.value, *(interval or ())] if not np.isnan(each.effect.value) else []
        ends += [-each.margin, each.margin] if each.margin is not None else []
    return 1.3 * min(ends), 1.3 * max(ends)
