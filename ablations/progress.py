"""What of a plan is there already: what Snakemake would skip, and what it would make.

A file counts as made where it is there and no older than the model it comes from; a model that nothing missing needs is
not missed. What stands beside those files (model.json, metrics.json) is not asked for by itself. Snakemake also makes a
file again when the command of its rule has changed since; `snakemake -n` says so.
"""

from dataclasses import dataclass
from pathlib import Path

from ablations.plan import Plan

MODEL = "model.safetensors"
PREDICTIONS = "predictions.parquet"
TIMES = "reading_time.json"


@dataclass(frozen=True)
class Wanted:
    """What the tables ask of a run: its evaluations, itself (a table of sizes), and how fast it reads.

    Args:
        together: one job decodes it in all its ways, so all are made again where one is missing.
    """

    evaluations: tuple[str, ...]
    model: bool
    timed: bool
    together: bool


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
    evaluations: dict[str, list[str]] = {}
    models: set[str] = set()
    for table, rows in plan.tables.items():
        for row in rows:
            if row.reason:
                continue
            found = evaluations.setdefault(row.run, [])
            if not plan.layouts[table].baseline:
                models.add(row.run)
            elif row.evaluation not in found:
                found.append(row.evaluation)
    timed, together = plan.timed, plan.decoded_together
    return {run: Wanted(tuple(found), run in models, run in timed, run in together) for run, found in evaluations.items()}


def missing(folder: Path, asked: Wanted, first_seed: bool = True) -> Missing:
    """What of a run directory (`<run>/seed<k>`) is still to be made.

    Args:
        first_seed: only its reading is timed.
    """
    model = folder / MODEL
    born = model.stat().st_mtime if model.is_file() else 0.0
    unread = tuple(name for name in asked.evaluations if not current(folder / "evaluations" / name / PREDICTIONS, born))
    untimed = asked.timed and first_seed and not current(folder / TIMES, born)
    if unread and asked.together:
        unread = asked.evaluations
    if born or not (asked.model or unread or untimed):
        return Missing("", unread, untimed)
    return Missing("its model is missing", asked.evaluations, asked.timed and first_seed)


def current(path: Path, born: float) -> bool:
    """Whether a file is there and not older than `born`."""
    return path.is_file() and path.stat().st_mtime >= born
