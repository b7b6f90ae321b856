"""Figures of the report, drawn by matplotlib from finished tables, run folders and predictions.

A new figure of tables is a module of this folder with a function `draw(options)`, and its entry in FIGURES. Its name then works
as a value of `figures` in table.yaml, as a command and as a target of the workflow, and the report includes it. Imports nothing
heavy, because the plan imports it.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple


class TableFigure(NamedTuple):
    """One kind of figure that a table can ask for.

    Args:
        about: a description of its content, for the command's help.
        caption: in the report, with {title} for the table's.
        possible: whether it can be drawn, from the baseline's name and the rows that have numbers.
    """

    about: str
    caption: str
    possible: Callable[[str | None, Collection[str]], bool]


def has_baseline(baseline: str | None, measured: Collection[str]) -> bool:
    return baseline in measured


def can_compare(baseline: str | None, measured: Collection[str]) -> bool:
    return baseline in measured and len(measured) > 1


FIGURES = {
    "forest": TableFigure(
        "differences to the baseline, with intervals, p-values and what could not have been seen",
        "Differences to the baseline of {title}",
        can_compare,
    ),
    "parameters": TableFigure(
        "accuracy against learnable parameters, measured and published",
        "Accuracy against learnable parameters, {title}",
        can_compare,
    ),
    "knobs": TableFigure(
        "accuracy against the numbers that the table's sweeps set a knob to",
        "Accuracy against the values of knobs, {title}",
        can_compare,
    ),
    "curves": TableFigure(
        "training loss and validation accuracy of the table's runs",
        "Learning curves of the runs of {title}",
        lambda _, measured: bool(measured),
    ),
    "qualitative": TableFigure(
        "readings of single images, errors marked",
        "Readings of single images (the paper's Figure 6), {title}",
        has_baseline,
    ),
}
