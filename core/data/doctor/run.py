"""What the doctor adds to a diagnosis of the data: runs that are stale, labels that a trained model contradicts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from core.data.doctor.diagnosis import Diagnosis
from core.data.doctor.scan import of_split
from core.errors import DataError
from core.evaluate.staleness import runs_on, stale


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
    from core.data.doctor.suspicious import doubts

    scans = [found for part in parts for found in of_split(diagnosis.scans, part) if not found.error]
    with bar("read", sum(len(found.samples) for found in scans)) as advance:
        return doubts(model, scans, confident, advance)
