"""Which outputs of a plan exist already (Snakemake would skip them), and which it would make.

A file counts as made where it is there and not older than the model it comes from. A missing model counts only if a missing
output needs it. Files beside them (model.json, metrics.json) are not checked. Snakemake also makes a file again when the
command of its rule has changed since; `snakemake -n` says so.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from ablations.plan import Plan
from core.evaluate.done import MODEL, is_current, undone

TIMES = "reading_time.json"


@dataclass(frozen=True)
class Wanted:
    """What the tables ask of a run: its evaluations, itself (a table of sizes), and the evaluations that are timed."""

    evaluations: tuple[str, ...]
    model: bool
    timed: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """What of that is still to be made for one seed: why the model is, and the files that are."""

    train: str  # the reason to train; empty where nothing is to be trained
    evaluations: tuple[str, ...]
    timed: bool

    @property
    def nothing(self) -> bool:
        return not (self.train or self.evaluations or self.timed)


def wanted(plan: Plan) -> dict[str, Wanted]:
    """What every run of the plan is for."""
    sized = {row.run for table, rows in plan.tables.items() if not plan.layouts[table].baseline for row in rows}
    evaluations, timed = plan.evaluations, plan.timed
    return {run: Wanted(tuple(evaluations.get(run, ())), run in sized, tuple(timed.get(run, ()))) for run in plan.asked}


def missing(folder: Path, asked: Wanted, first_seed: bool = True) -> Missing:
    """What of a run directory (`<run>/seed<k>`) is still to be made.

    Args:
        first_seed: only its reading is timed.
    """
    model = folder / MODEL
    unread = tuple(undone(folder, asked.evaluations))
    untimed = first_seed and bool(asked.timed) and not (is_current(folder / TIMES, model) and set(asked.timed) <= timed(folder))
    if model.is_file() or not (asked.model or unread or untimed):
        return Missing("", unread, untimed)
    return Missing("its model is missing", asked.evaluations, bool(asked.timed) and first_seed)


def timed(folder: Path) -> set[str]:
    """The evaluations whose times a run directory holds."""
    try:
        return set(json.loads((folder / TIMES).read_text())["readings"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()
