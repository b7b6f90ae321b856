"""One look for all figures, and files that are the same bytes whenever the same figure is saved."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from core.files import atomic_file

COLUMN, PAGE = 3.5, 7.16  # inches: one column and both columns of an IEEE page
SMALL, TINY = 7.0, 6.0  # points

# Okabe and Ito's colours, told apart with every kind of colour vision; yellow is left out, too pale for a line.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
RED = "#C8102E"  # of errors, which are bold as well
INK, GREY, PALE = "#222222", "#767676", "#E7E9EC"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK)
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that figures look alike everywhere
    "font.size": SMALL,
    "axes.titlesize": SMALL,
    "axes.labelsize": SMALL,
    "xtick.labelsize": TINY,
    "ytick.labelsize": TINY,
    "legend.fontsize": TINY,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "text.parse_math": False,  # names and readings may hold a dollar sign
    "lines.linewidth": 1.1,
    "legend.frameon": False,
    "savefig.dpi": 300,
    "svg.fonttype": "path",  # letters as shapes: no font is needed to show the file
    "svg.hashsalt": "figure",
}


def text_width(text: str, size: float = SMALL) -> float:
    """Width of a line of text in inches, without drawing it."""
    font = FontProperties(family=RC["font.family"], size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def wrapped(text: str, width: float, size: float = SMALL) -> list[str]:
    """`text` in lines of at most `width` inches; a word longer than that has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def panels(width: float, height: float, text: str) -> Figure:
    """A figure that lays its axes out by itself, `height` inches above a note of what it shows."""
    lines = wrapped(text, width - 0.1, TINY)
    foot = note_height(lines) / (height + note_height(lines))
    figure = Figure(figsize=(width, height + note_height(lines)), facecolor="white", layout="constrained")
    figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
    note(figure, lines)
    return figure


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches, that belongs to no window."""
    return Figure(figsize=(width, height), facecolor="white")


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place counted in inches from the lower left corner."""
    total_width, total_height = figure.get_size_inches()
    return figure.add_axes((left / total_width, bottom / total_height, width / total_width, height / total_height))


def note(figure: Figure, lines: list[str], left: float = 0.05) -> None:
    """Grey lines at the foot of a figure, `note_height` high."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 0.04 / height, "\n".join(lines), size=TINY, color=GREY, va="bottom", linespacing=1.25)


def note_height(lines: list[str]) -> float:
    return 0.04 + len(lines) * TINY * 1.25 * 1.2 / 72


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write <stem>.svg and <stem>.png, whole or not at all; the same figure makes the same bytes, undated."""
    written = []
    with matplotlib.rc_context(RC):
        for kind, metadata in (("svg", {"Date": None}), ("png", {})):
            path = stem.with_name(f"{stem.name}.{kind}")
            with atomic_file(path) as partial:
                figure.savefig(partial, format=kind, metadata=metadata)
            written.append(path)
    return written
