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
from reports.collect.runs import read_runs
from reports.figures import style

WINDOW = 0.05  # of a run: the span of the running mean
COLUMNS = ("loss", "loss_visual", "loss_cross", "lr", "images_per_s", "seconds", "val_visual", "val_cross", "val_n")
LEFT, RIGHT, HIGH, FOOT, BETWEEN, LINE = 0.42, 0.08, 1.45, 0.36, 0.18, 0.135  # inches


@dataclass(frozen=True)
class Curve:
    """One run of a table, whatever number of rows it serves.

    Args:
        label: the names of its rows.
        branch: whose loss and accuracy are drawn, `visual` or `cross`.
        seeds: what `read_curves` gives, by seed.
    """

    label: str
    branch: str
    seeds: dict[str, pd.DataFrame]


def read_curves(run_folder: Path) -> pd.DataFrame:
    """What a run logged, one line a step, indexed by step; nan where nothing was logged or validated there."""
    path = Path(run_folder) / "metrics.jsonl"
    if not path.is_file():
        raise ReportError(f"{path} is missing; train the run first")
    entries = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            entry = json.loads(line)
            logged = {name: float(entry[name]) for name in COLUMNS if entry.get(name) is not None}
            entries.append({"step": int(entry["step"]), **logged})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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
        folders = {seed: results / "runs" / run / f"seed{seed}" for seed in seeds} if run else {}
        found = {seed: read_curves(folder) for seed, folder in folders.items() if (folder / "metrics.jsonl").is_file()}
        if not found:
            without += list(rows.row)
            continue
        branch = Counter(output.split("_")[0] for output in rows.output).most_common(1)[0][0]
        curves.append(Curve(", ".join(rows.row), branch, found))
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
    """Smoothed training loss above, validation accuracy below; a colour a run, a thin line a seed."""
    if not drawn:
        raise ReportError(f"no run of {', '.join(without)} has left a metrics.jsonl; train them first")
    wide = style.COLUMN - 2 * 0.05
    handles, labels = legend_entries(drawn, wide)
    columns = 2 if max(style.text_width(label, style.TINY) for label in labels) < wide / 2 - 0.4 else 1
    rows = sum(label.count("\n") + 1 for label in labels) if columns == 1 else -(-len(labels) // columns)
    lines = style.wrapped(explanation(drawn, without), wide, style.TINY)
    foot, legend = style.note_height(lines), rows * LINE + 0.08
    bottom = foot + legend + FOOT
    figure = style.canvas(style.COLUMN, bottom + 2 * HIGH + BETWEEN + 0.08)
    across = style.COLUMN - LEFT - RIGHT
    below = style.axes_at(figure, LEFT, bottom, across, HIGH)
    above = style.axes_at(figure, LEFT, bottom + HIGH + BETWEEN, across, HIGH)
    for curve, handle in zip(drawn, handles, strict=True):
        for frame in curve.seeds.values():
            draw_seed(above, below, frame, curve.branch, handle)
    above.sharex(below)
    above.tick_params(labelbottom=False)
    above.set_ylabel("training loss, smoothed")
    above.set_ylim(bottom=0)
    below.set_ylabel("validation accuracy, %")
    below.set_ylim(bottom=0)
    below.set_xlabel("step")
    below.set_xlim(left=0)
    below.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    place = (0.02, (foot + legend - 0.02) / figure.get_size_inches()[1])
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=place, ncols=columns, borderpad=0, labelspacing=0.3)
    style.note(figure, lines)
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
    """How the loss was smoothed, whose loss and accuracy it is, and which rows have no curve."""
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
