"""A whole look at a data root: the diagnosis, stale runs, labels that a trained model contradicts, page and summary."""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from core.data.doctor.diagnosis import Diagnosis, examine
from core.data.doctor.page import page
from core.data.doctor.scan import of_split
from core.data.doctor.summary import summary
from core.data.doctor.verdict import read_needs
from core.errors import DataError
from core.evaluate.staleness import runs_on, stale
from core.files import ROOT, atomic_file


def look(options: argparse.Namespace) -> None:
    """Do what the doctor's options ask for: look at the data, write the page, print the summary or everything as JSON.

    Raises:
        FileNotFoundError: there is no such data root.
        DataError: the folder of runs holds no run.
    """
    if not options.root.is_dir():
        raise FileNotFoundError(f"data root {options.root} does not exist; it should hold train/, val/ and test/")
    with bar("look") as advance:
        diagnosis = examine(options.root, read_needs(ROOT / "ablations"), options.workers, advance)
    old, elsewhere = stale_runs(options.runs, options.root) if options.runs else ({}, 0)
    doubted = read_doubts(diagnosis, options.model, options.read, options.confident) if options.model else []
    if options.html:
        with atomic_file(options.html) as partial:
            partial.write_text(page(diagnosis, old, doubted), encoding="utf-8")
    if options.json:
        runs = {"stale_runs": old, "runs_on_other_data": elsewhere} if options.runs else {}
        found = {"doubts": [doubt._asdict() for doubt in doubted]} if options.model else {}
        print(json.dumps({**diagnosis.as_dict(), **runs, **found}, ensure_ascii=False))
        return
    print(summary(diagnosis))
    if options.runs:
        show_runs(options.runs, old, elsewhere)
    if options.model:
        print(f"\nLabels that {options.model} contradicts with confidence {options.confident} or more: {len(doubted)}")
        for place, label, reading, sure in doubted[:20]:
            print(f"  {place.lmdb} {place.index}: label {label}, read {reading} ({sure:.3f})")
    if options.html:
        print(f"\nwritten to {options.html}")


def show_runs(folder: Path, old: dict[str, str], elsewhere: int) -> None:
    """Print which runs are stale, and how many were on other data."""
    print(f"\nRuns below {folder}")
    lines = [f"{run} is stale: {reason}" for run, reason in old.items()] or ["none is stale"]
    lines += [f"{elsewhere} runs were on other data"] if elsewhere else []
    print("\n".join(f"  {line}" for line in lines))


@contextmanager
def bar(what: str, total: int | None = None) -> Iterator:
    """A progress bar on stderr; yields what advances it, and may tell it the total."""
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda images, total=None: progress.update(task, advance=images, total=total)


def stale_runs(runs: Path, data: Path) -> tuple[dict[str, str], int]:
    """Why each run on `data` below a folder is stale, by its path, and how many runs were on other data.

    Raises:
        DataError: the folder holds no run.
    """
    ours, others = runs_on(runs, data)
    if not ours and not others:
        raise DataError(f"{runs}: no provenance.json below this folder; expected run directories as core.train leaves them")
    reasons = {str(run): stale(run, data) for run in ours}
    return {run: reason for run, reason in reasons.items() if reason}, len(others)


def read_doubts(diagnosis: Diagnosis, model: Path, parts: Sequence[str], confident: float) -> list[tuple]:
    """Samples of some splits whose label a trained model contradicts."""
    from core.data.doctor.suspicious import doubts  # torch, which a look without a model does not need

    scans = [found for part in parts for found in of_split(diagnosis.scans, part) if not found.error]
    with bar("read", sum(len(found.samples) for found in scans)) as advance:
        return doubts(model, scans, confident, advance)
