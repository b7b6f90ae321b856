"""Learning curves of a table's runs: training loss and validation accuracy against steps."""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.progress import track

from core.errors import ReportError
from core.run_files import TRAINING_LOG
from reports.collect.runs import read_runs, seed_folder
from reports.collect.stored import DAMAGE
from reports.figures import style

WINDOW = 0.05  # of a run: the span of the running mean
COLUMNS = ("loss", "loss_visual", "loss_cross", "lr", "images_per_s", "seconds", "val_visual", "val_cross", "val_n")
LINE = 0.135  # inches of a line of the legend


@dataclass(frozen=True)
class Curve:
    """One run of a table, whatever number of rows it serves.

    Args:
        label: the names of its rows.
        branch: the branch whose loss and accuracy are drawn, `visual` or `cross`.
        seeds: results of `read_curves`, by seed.
    """

    label: str
    branch: str
    seeds: dict[str, pd.DataFrame]


def read_curves(run_folder: Path) -> pd.DataFrame:
    """The log of a run, indexed by step; nan at steps without a log entry or validation."""
    path = Path(run_folder) / TRAINING_LOG
    if not path.is_file():
        raise ReportError(f"{path} is missing; train the run first")
    entries = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            entry = json.loads(line)
            logged = {name: float(entry[name]) for name in COLUMNS if entry.get(name) is not None}
            entries.append({"step": int(entry["step"]), **logged})
        except DAMAGE as error:
            raise ReportError(
                f"{path}, line {number}: expected a JSON object with 'step' and numbers, got {line[:60]!r}; train the run again"
            ) from error
    frame = pd.DataFrame(entries, columns=["step", *COLUMNS], dtype=float).astype({"step": int})
    if frame.loss.isna().all():
        raise ReportError(f"{path}: no line holds a 'loss'; train the run again")
    # a validation is logged apart from the losses of its step, and `last` joins the two
    return frame.groupby("step").last()


def table_curves(runs: pd.DataFrame, results: Path) -> tuple[list[Curve], list[str]]:
    """The curves of a table's runs in the order of its rows, and the rows that have none.

    Args:
        runs: `row`, `run`, `output`, `seeds` (see `reports.collect.read_runs`).
        results: folder of all results.
    """
    curves, without = [], []
    for run, rows in track(list(runs.groupby("run", sort=False)), "reading curves", transient=True):
        seeds = rows.seeds.iloc[0].split()
        folders = {seed: seed_folder(results, run, seed) for seed in seeds} if run else {}
        seeds_read = {seed: read_curves(folder) for seed, folder in folders.items() if (folder / TRAINING_LOG).is_file()}
        if not seeds_read:
            without += list(rows.row)
            continue
        branch = Counter(output.split("_")[0] for output in rows.output).most_common(1)[0][0]
        curves.append(Curve(", ".join(rows.row), branch, seeds_read))
    return curves, without


def draw(options: argparse.Namespace) -> Figure:
    return curves(*table_curves(read_runs(options.tables, options.table), options.results))


def smoothed(losses: pd.Series, window: int) -> pd.Series:
    """Mean of the last `window` logged values at every step; fewer at the start."""
    return losses.rolling(window, min_periods=1).mean()


def window_of(frame: pd.DataFrame) -> int:
    """How many logged values the running mean spans."""
    return max(1, round(WINDOW * frame.loss.notna().sum()))


@matplotlib.rc_context(style.RC)
def curves(drawn: list[Curve], without: list[str]) -> Figure:
    """Smoothed training loss above, validation accuracy below; one colour per run, one thin line per seed."""
    if not drawn:
        raise ReportError(f"no run of {', '.join(without)} has left a metrics.jsonl; train them first")
    handles, labels = legend_entries(drawn, style.COLUMN - 0.1)
    short = max(style.text_width(label, style.TINY) for label in labels) < style.COLUMN / 2 - 0.45
    lines = -(-len(labels) // 2) if short else sum(label.count("\n") + 1 for label in labels)
    figure = style.panels(style.COLUMN, 3.6 + LINE * lines, explanation(drawn, without))
    above, below = figure.subplots(2, 1, sharex=True)
    for curve, handle in zip(drawn, handles, strict=True):
        for frame in curve.seeds.values():
            draw_seed(above, below, frame, curve.branch, handle)
    above.set_ylabel("training loss, smoothed")
    above.set_ylim(bottom=0)
    below.set(ylabel="validation accuracy, %", xlabel="step")
    below.set_xlim(left=0)
    below.set_ylim(bottom=0)
    below.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    figure.legend(handles, labels, loc="outside upper left", ncols=2 if short else 1, borderpad=0, labelspacing=0.3)
    return figure


def draw_seed(above: Axes, below: Axes, frame: pd.DataFrame, branch: str, look: Line2D) -> None:
    """Both curves of one seed; validation was measured where the marks are."""
    line = {"color": look.get_color(), "linestyle": look.get_linestyle(), "linewidth": look.get_linewidth()}
    losses = frame[f"loss_{branch}"].dropna()
    above.plot(losses.index, smoothed(losses, window_of(frame)), **line)
    accuracy = frame[f"val_{branch}"].dropna()
    below.plot(accuracy.index, accuracy, marker="o", markersize=2, **line)


def legend_entries(drawn: list[Curve], wide: float) -> tuple[list[Line2D], list[str]]:
    """A line and a name for every run; what shares a colour differs in dashes, and several seeds make thin lines."""
    handles, labels = [], []
    for place, curve in enumerate(drawn):
        round_, colour = divmod(place, len(style.CYCLE))
        width = 0.6 if len(curve.seeds) > 1 else 1.1
        dashes = style.DASHES[round_ % len(style.DASHES)]
        handles.append(Line2D([], [], color=style.CYCLE[colour], linestyle=dashes, linewidth=width))
        labels.append("\n".join(style.wrapped(curve.label, wide - 0.4, style.TINY)))
    return handles, labels


def explanation(drawn: list[Curve], without: list[str]) -> str:
    """The figure's note: how the loss was smoothed, whose loss and accuracy it is, and which rows have no curve."""
    frames = [frame for curve in drawn for frame in curve.seeds.values()]
    spans = sorted({window_of(frame) * int(np.median(np.diff(frame.index[frame.loss.notna()], prepend=0))) for frame in frames})
    over = f"{spans[0]:,}" if len(spans) == 1 else f"{spans[0]:,} to {spans[-1]:,}"
    images = sorted({int(n) for frame in frames for n in frame.val_n.dropna()})
    text = (
        f"Loss: running mean over the last {over} steps ({100 * WINDOW:.0f} % of a run), of the branch that the table scores. "
    )
    counts = " or ".join(f"{n:,}" for n in images)
    text += f"Validation on {counts} images, same branch. " if images else "No validation was logged. "
    if any(len(curve.seeds) > 1 for curve in drawn):
        text += "Thin lines: seeds. "
    if any(", " in curve.label for curve in drawn):
        text += "Rows that share a run share its curve, validated with the decoding in its train.gin. "
    return text + (f"Without a training run: {', '.join(without)}." if without else "")
