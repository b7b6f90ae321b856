"""Which outputs of a plan exist already (Snakemake would skip them), and which it would make.

A file counts as made where it is there and not older than the model it comes from. A missing model counts only if a missing
output needs it. Files beside them (model.json, metrics.json) are not checked. Snakemake also makes a file again when the
command of its rule has changed since; `snakemake -n` says so.
"""

import csv
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ablations.plan.plan import Plan
from ablations.plan.targets import tables_made
from core.evaluate.evaluations_list import is_current, missing_evaluations
from core.run_files import MODEL, READING_TIME


@dataclass(frozen=True)
class RunNeeds:
    """The outputs of a run that tables need: its evaluations, its model (for a table of sizes), its timings."""

    evaluations: tuple[str, ...]
    model: bool
    timed: tuple[str, ...]


@dataclass(frozen=True)
class Missing:
    """The missing outputs of one seed: why the model has to be trained (if so), and the missing files."""

    train: str  # the reason to train; empty where nothing is to be trained
    evaluations: tuple[str, ...]
    timed: bool

    @property
    def nothing(self) -> bool:
        return not (self.train or self.evaluations or self.timed)


def run_needs(plan: Plan) -> dict[str, RunNeeds]:
    """The outputs that tables need of every run of the plan."""
    sized = {row.run for table, rows in plan.tables.items() if not plan.layouts[table].baseline for row in rows}
    evaluations, timed = plan.evaluations, plan.timed
    return {run: RunNeeds(tuple(evaluations.get(run, ())), run in sized, tuple(timed.get(run, ()))) for run in plan.rows_by_run}


def missing(folder: Path, asked: RunNeeds, first_seed: bool = True) -> Missing:
    """The missing outputs of a run directory (`<run>/seed<k>`).

    Args:
        first_seed: only its reading is timed.
    """
    model = folder / MODEL
    unread = tuple(missing_evaluations(folder, asked.evaluations))
    untimed = (
        first_seed
        and bool(asked.timed)
        and not (is_current(folder / READING_TIME, model) and set(asked.timed) <= timed(folder))
    )
    if model.is_file() or not (asked.model or unread or untimed):
        return Missing("", unread, untimed)
    return Missing("its model is missing", asked.evaluations, bool(asked.timed) and first_seed)


def timed(folder: Path) -> set[str]:
    """The evaluations whose times a run directory holds."""
    try:
        return set(json.loads((folder / READING_TIME).read_text())["readings"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def fewer_seeds(plan: Plan, targets: Collection[str]) -> Iterator[str]:
    """A line for each table of Snakemake's targets that was last made with more seeds than it is planned with now."""
    for table in tables_made(targets, plan.tables):
        try:
            with plan.runs_csv(table).open(newline="") as rows:
                before = next(csv.DictReader(rows))["seeds"].split()
        except (OSError, KeyError, StopIteration, AttributeError, csv.Error, UnicodeDecodeError):  # none yet, or damaged
            continue
        if {*before} > {str(seed) for seed in plan.seeds}:
            yield (
                f"note: {table} was planned with seeds {', '.join(before)}, and is planned now with "
                f"{', '.join(map(str, plan.seeds))}: for all of them add --config seeds='[{','.join(before)}]'"
            )
