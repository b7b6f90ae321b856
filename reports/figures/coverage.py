"""How often simulated 95 % intervals hold the truth, see `reports.simulation`."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from reports.figures import style

WANTED = 93, 99  # per cent
WIDE, HIGH = 2.1, 1.1  # inches of a panel
LEFT, RIGHT, BETWEEN, BELOW, FOOT, TOP = 0.45, 1.2, 0.3, 0.45, 0.4, 0.25  # inches


@matplotlib.rc_context(style.RC)
def coverage(found: pd.DataFrame) -> Figure:
    """A panel per spread of the noise and number of images: coverage over the size of the noise, one line per study.

    Args:
        found: `shape`, `points`, `images`, `seeds`, `coverage`, `worst`, `false_positives` (nan where there is no p).
    """
    shown = found[found.false_positives.notna()]
    shapes, images = list(dict.fromkeys(shown["shape"])), list(dict.fromkeys(shown.images))
    studies = list(dict.fromkeys(shown.seeds))
    width = LEFT + len(images) * (WIDE + BETWEEN) + RIGHT
    text = "Lines: all rows. Dots: the row that is covered least. Shaded: wanted. Studies that print a p-value."
    foot = FOOT + style.note_height([text])
    figure = style.canvas(width, foot + len(shapes) * (HIGH + BELOW) - BELOW + TOP)
    for down, shape in enumerate(shapes):
        for across, n in enumerate(images):
            bottom = foot + (len(shapes) - 1 - down) * (HIGH + BELOW)
            axes = style.axes_at(figure, LEFT + across * (WIDE + BETWEEN), bottom, WIDE, HIGH)
            axes.axhspan(*WANTED, color=style.PALE, linewidth=0)
            axes.set_title(f"{shape}, {n:,} images")
            panel = shown[(shown["shape"] == shape) & (shown.images == n)]
            for colour, seeds in zip(style.CYCLE, studies, strict=False):
                line = panel[panel.seeds == seeds]
                places = [sorted(set(shown.points)).index(points) for points in line.points]
                axes.plot(places, line.coverage, color=colour, label=seeds)
                axes.plot(places, line.worst, ".", color=colour, markersize=3)
            axes.set_xticks(range(shown.points.nunique()), [f"{points:g}" for points in sorted(set(shown.points))])
            axes.set_xlim(-0.2, shown.points.nunique() - 0.8)
            axes.set_ylim(min(85.0, shown.worst.min() - 1), 100)
            if across == 0:
                axes.set_ylabel("covered, %")
            if down == len(shapes) - 1:
                axes.set_xlabel("training noise, points")
    figure.axes[len(images) - 1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    style.note(figure, [text])
    return figure
