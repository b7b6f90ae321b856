"""Record a run directory with wandb: a finished one, or a growing one while it is trained.

    python -m core.runtime.tracking.recorder results/runs/<run>/seed0
    python -m core.runtime.tracking.recorder results/runs/<run>/seed0 --evaluations results/runs/<run>/seed0/evaluations/*

Everything recorded is read from the run's files, metrics.jsonl above all, so they lack nothing when wandb is late, fails or
hangs. core.runtime.tracking.client starts this program beside a training.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import select
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from core.cli import add_tracking
from core.run_files import MODEL, TRAINING_LOG
from core.runtime.tracking.client import PATIENCE, is_off, warn
from core.runtime.tracking.run_info import RunInfo, numbers, of_evaluation, of_training, scores

POLL = 1.0  # seconds between looks at metrics.jsonl


class Tail:
    """Whole lines of a growing file of JSON lines, each once."""

    def __init__(self, path: Path):
        self.path = path
        self.offset = 0

    def entries(self) -> list[dict[str, Any]]:
        """What was added since the last call; a line still being written waits for the next."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


@contextlib.contextmanager
def within(seconds: float, doing: str) -> Iterator[None]:
    """End this process with a warning if the block takes longer: nothing else stops a library that hangs."""

    def give_up() -> None:
        warn(f"wandb did not {doing} within {seconds:g} s")
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def begin(run: Path, info: RunInfo, mode: str, patience: float, *, watched: bool) -> Any:
    """The wandb run, new or resumed; offline where it cannot go online.

    Args:
        watched: whether to record the processor and memory use of the process that started this one, too.
    """
    info.write_record(mode)  # before wandb is called: whatever happens there, the next attempt has the same id
    with within(patience, "start"):
        wandb = importlib.import_module("wandb")
        if mode == "offline":
            return initialise(wandb, run, info, mode, patience, watched)
    try:
        with within(patience, "start online"):
            # Without a mode, wandb follows WANDB_MODE and its settings files, and looks for credentials where it does.
            return initialise(wandb, run, info, None if mode == "auto" else mode, patience / 2, watched)
    except Exception as error:
        logged_out, problem = isinstance(error, wandb.errors.UsageError), brief(error)
    with within(patience, "start"):
        wandb.teardown()
        recording = initialise(wandb, run, info, "offline", patience, watched)
    if mode == "online" or not logged_out:  # said once it is true: what stopped the first may stop the second, too
        warn(f"wandb could not go online ({problem}); recorded offline")
    return recording


def initialise(wandb: ModuleType, run: Path, info: RunInfo, mode: str | None, patience: float, watched: bool) -> Any:
    """wandb.init, and tracking.json with the result.

    Several offline folders of one id would overwrite each other when they are uploaded. A new one holds the run from its
    first step, so the older ones are deleted.
    """
    quiet = {"console": "off", "silent": True, "disable_git": True, "symlink": False}
    machine = {"x_disable_stats": not watched, "x_stats_pid": os.getppid()}
    recording = wandb.init(
        project=info.project,
        id=info.id,
        name=info.name,
        group=info.group,
        job_type=info.job_type,
        tags=list(info.tags),
        config=info.config,
        dir=str(run),
        mode=mode,
        resume="allow",
        settings=wandb.Settings(**quiet, **machine, init_timeout=patience),
    )
    if recording.disabled:  # `wandb disabled`: nothing is kept
        return recording
    folder = Path(recording.dir).parent
    if recording.offline:
        for older in (run / "wandb").glob(f"*run-*-{info.id}"):
            if older.name != folder.name:
                shutil.rmtree(older, ignore_errors=True)
    url = None if recording.offline else recording.url
    info.write_record("offline" if recording.offline else "online", f"wandb/{folder.name}", url)
    return recording


def record_training(run: Path, info: RunInfo, mode: str, patience: float, follow: bool) -> None:
    """Log metrics.jsonl from the first step that wandb does not have, to the end of the run (`follow`) or of the file."""
    recording = begin(run, info, mode, patience, watched=follow)
    first, tail = recording.step, Tail(run / TRAINING_LOG)
    outcome = "" if follow else "finished" if (run / MODEL).is_file() else "stopped"
    while True:
        # The outcome is asked for before the lines are read: those written up to the end are logged too.
        outcome = outcome or outcome_within(POLL)
        with within(patience, "log"):
            for entry in tail.entries():
                step = entry.pop("step")
                if step >= first:
                    recording.log(numbers(entry), step=step)
        if outcome:
            break
    finish(recording, patience, failed=outcome != "finished")


def record_evaluation(run: Path, info: RunInfo, mode: str, patience: float) -> None:
    """Put an evaluation's accuracies into the summary of a run of its own, in the trained run's group."""
    accuracies = scores(info.folder)
    recording = begin(run, info, mode, patience, watched=False)
    with within(patience, "log"):
        recording.summary.update(accuracies)
    finish(recording, patience, failed=False)


def finish(recording: Any, patience: float, *, failed: bool) -> None:
    with within(patience, "finish (what it kept can be uploaded later with `wandb sync`)"):
        recording.finish(exit_code=int(failed))


def outcome_within(seconds: float) -> str:
    """How the training ended, as it told through standard input ("stopped" if it died); empty while it goes on."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    if ready:
        return sys.stdin.readline().strip() or "stopped"
    return ""


def brief(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.runtime.tracking.recorder",
        description="Record a run with wandb from what its folder holds; a run recorded before keeps its id.",
    )
    parser.add_argument("run", type=Path, help="run directory, results/runs/<run>/seed<k>")
    about = "evaluation folders to record instead of the training"
    parser.add_argument("--evaluations", type=Path, nargs="+", metavar="FOLDER", help=about)
    add_tracking(parser, "--mode")
    parser.add_argument("--row", default="", metavar="TABLE/ROW", help="table and row of a run that was started by hand")
    parser.add_argument("--follow", action="store_true", help="keep following the run until standard input ends")
    about = "seconds wandb may take for a call (default: %(default)g)"
    parser.add_argument("--patience", type=float, default=PATIENCE, help=about)
    options = parser.parse_args(arguments)
    if is_off(options.mode):
        return
    if options.follow:
        for number in (signal.SIGINT, signal.SIGTERM):  # the training tells when it ends
            signal.signal(number, signal.SIG_IGN)
    else:
        sys.stdin = io.StringIO()  # no terminal, so wandb asks for nothing
    if options.mode == "offline":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its own crash reports need a network
    run = options.run.resolve()
    try:
        for folder in options.evaluations or ():
            record_evaluation(run, of_evaluation(run, folder, options.row), options.mode, options.patience)
        if not options.evaluations:
            record_training(run, of_training(run, options.row), options.mode, options.patience, options.follow)
    except (Exception, SystemExit) as error:  # wandb may raise anything, and nothing may depend on it
        told = f" (WANDB_MODE is {os.environ['WANDB_MODE']!r})" if "WANDB_MODE" in os.environ else ""
        warn(f"{brief(error)}{told}")
        sys.exit(1)


if __name__ == "__main__":
    main()
