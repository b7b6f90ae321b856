"""How often simulated 95 % intervals hold the truth, see `reports.simulation`."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from reports.figures import style

WANTED = 93, 99  # per cent


@matplotlib.rc_context(style.RC)
def coverage(outcome: pd.DataFrame) -> Figure:
    """One panel per spread of the noise and number of images: coverage over the size of the noise, one line per study.

    Args:
        outcome: `shape`, `points`, `images`, `seeds`, `coverage`, `worst`, `false_positives` (nan where there is no p).
    """
    shown = outcome[outcome.false_positives.notna()]
    shapes, images, studies = (list(dict.fromkeys(shown[name])) for name in ("shape", "images", "seeds"))
    noises = sorted(set(shown.points))
    text = "Lines: all rows. Dots: the row that is covered least. Shaded: wanted. Studies that print a p-value."
    figure = style.panels(1.65 + 2.4 * len(images), 1.55 * len(shapes) + 0.2, text)
    grid = figure.subplots(len(shapes), len(images), sharex=True, sharey=True, squeeze=False)
    for shape, line_of_axes in zip(shapes, grid, strict=True):
        for n, axes in zip(images, line_of_axes, strict=True):
            axes.axhspan(*WANTED, color=style.PALE, linewidth=0)
            axes.set_title(f"{shape}, {n:,} images")
            panel = shown[(shown["shape"] == shape) & (shown.images == n)]
            for colour, seeds in zip(style.CYCLE, studies, strict=False):
                line = panel[panel.seeds == seeds]
                places = [noises.index(points) for points in line.points]
                axes.plot(places, line.coverage, color=colour, label=seeds)
                axes.plot(places, line.worst, ".", color=colour, markersize=3)
    axes.set(xlim=(-0.2, len(noises) - 0.8), ylim=(min(85.0, shown.worst.min() - 1), 100))
    axes.set_xticks(range(len(noises)), [f"{points:g}" for points in noises])
    for axes in grid[:, 0]:
        axes.set_ylabel("covered, %")
    for axes in grid[-1]:
        axes.set_xlabel("training noise, points")
    grid[0, -1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    return figure
