"""The doctor's work: diagnose, find stale runs and labels that a trained model contradicts, report."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from core.charset import read_charset
from core.data.doctor.diagnosis import Diagnosis, examine
from core.data.doctor.report import Section, as_page, as_text, sections_of
from core.data.doctor.scan import of_split
from core.data.doctor.verdict import read_needs
from core.data.labels import PUBLISHED_RULES
from core.errors import DataError
from core.evaluate.staleness import runs_on, stale_reason
from core.files import ABLATIONS, atomic_file, json_text, no_folder


def report(options: argparse.Namespace) -> None:
    """Do what the doctor's options ask for: check the data, write the page, print the findings as text or JSON.

    Raises:
        DataError: there is no such data root, no LMDB below it, or no run below the folder of runs; or a charset file cannot be
            used.
    """
    if not options.root.is_dir():
        raise DataError(f"data root {options.root} {no_folder(options.root)}; it should hold train/, val/ and test/")
    rules = PUBLISHED_RULES._replace(charset=read_charset(options.charset)) if options.charset else PUBLISHED_RULES
    with bar("check") as advance:
        diagnosis = examine(options.root, read_needs(ABLATIONS), options.workers, advance, rules)
    content, sections = diagnosis.as_dict(), sections_of(diagnosis)
    if options.runs:
        reasons, elsewhere = stale_runs(options.runs, options.root)
        content |= {"stale_runs": reasons, "runs_on_other_data": elsewhere}
        lines = [f"{run} is stale: {reason}" for run, reason in reasons.items()] or ["none is stale"]
        lines += [f"{elsewhere} runs were on other data"] if elsewhere else []
        sections.append(Section(f"Runs below {options.runs}", lines))
    if options.model:
        doubts = contradicted_labels(diagnosis, options)
        content |= {"doubts": [doubt._asdict() for doubt in doubts]}
        title = f"Labels that {options.model} contradicts with confidence {options.confident} or more: {len(doubts)}"
        lines = [f"{place.lmdb} {place.index}: label {label}, read {text} ({sure:.3f})" for place, label, text, sure in doubts]
        samples = [(f"reads {text} with confidence {sure}", [place]) for place, _, text, sure in doubts]
        sections.append(Section(title, lines[:20] or ["none"], samples=samples))
    if options.html:
        with atomic_file(options.html) as partial:
            page = as_page(f"Data: {options.root}", sections, diagnosis.scans)
            partial.write_text(page, encoding="utf-8", errors="backslashreplace")  # names of folders need not be UTF-8
    sys.stdout.reconfigure(errors="backslashreplace")
    if options.json:
        print(json_text(content))
    else:
        print(as_text(sections) + (f"\n\nwritten to {options.html}" if options.html else ""))


@contextmanager
def bar(what: str, total: int | None = None) -> Iterator:
    """A progress bar on stderr; yields a function that advances it and may set the total."""
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda images, total=None: progress.update(task, advance=images, total=total)


def stale_runs(runs: Path, data: Path) -> tuple[dict[str, str], int]:
    """Why each run on `data` below a folder is stale, by its path, and how many runs were on other data.

    Raises:
        DataError: there is no run below the folder.
    """
    ours, others = runs_on(runs, data)
    if not ours and not others:
        raise DataError(f"{runs}: no provenance.json below this folder; expected run directories as core.train leaves them")
    reasons = {str(run): stale_reason(run, data) for run in ours}
    return {run: reason for run, reason in reasons.items() if reason}, len(others)


def contradicted_labels(diagnosis: Diagnosis, options: argparse.Namespace) -> list:
    """Samples of the splits to read whose label the trained model contradicts."""
    from core.data.doctor.suspicious import doubts  # imports torch, which a diagnosis without a model does not need

    scans = [scan for part in options.read for scan in of_split(diagnosis.scans, part) if not scan.error]
    with bar("read", sum(len(scan.samples) for scan in scans)) as advance:
        return doubts(options.model, scans, options.confident, advance)
