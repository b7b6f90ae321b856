"""Record a run directory with wandb: the whole of a finished one, or a growing one as it is trained.

    python -m core.runtime.tracking.recorder results/runs/<run>/seed0
    python -m core.runtime.tracking.recorder results/runs/<run>/seed0 --evaluations results/runs/<run>/seed0/evaluations/*

What is recorded is read from the run's files, metrics.jsonl above all; wandb can be late, fail or hang, and they lack nothing.
core.runtime.tracking.client starts this program beside a training.
"""

import argparse
import contextlib
import importlib
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
from core.runtime.tracking import run_info as tracked
from core.runtime.tracking.client import PATIENCE, resolve, warn
from core.runtime.tracking.run_info import Tracked

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


def begin(run: Path, known: Tracked, mode: str, patience: float, *, watched: bool) -> Any:
    """The wandb run, new or resumed; offline where going online fails.

    Args:
        watched: record what the process that started this one takes of processors and memory, too.
    """
    known.keep(mode)
    with within(patience, "start"):
        wandb = importlib.import_module("wandb")
        if mode == "offline":
            return initialise(wandb, run, known, mode, patience, watched)
    try:
        with within(patience, "start online"):
            return initialise(wandb, run, known, mode, patience / 2, watched)
    except Exception as error:
        warn(f"wandb could not go online ({brief(error)}); recorded offline")
    with within(patience, "start"):
        wandb.teardown()
        return initialise(wandb, run, known, "offline", patience, watched)


def initialise(wandb: ModuleType, run: Path, known: Tracked, mode: str, patience: float, watched: bool) -> Any:
    """wandb.init, and tracking.json as it came out.

    Several folders of one id would overwrite each other when they are uploaded. A new offline one holds the run from its
    first step, so those before it go.
    """
    quiet = {"console": "off", "silent": True, "disable_git": True, "symlink": False}
    machine = {"x_disable_stats": not watched, "x_stats_pid": os.getppid()}
    recording = wandb.init(
        project=known.project,
        id=known.id,
        name=known.name,
        group=known.group,
        job_type=known.job_type,
        tags=list(known.tags),
        config=known.config,
        dir=str(run),
        mode=mode,
        resume="allow",
        settings=wandb.Settings(**quiet, **machine, init_timeout=patience),
    )
    folder = Path(recording.dir).parent
    if mode == "offline":
        for older in (run / "wandb").glob(f"*run-*-{known.id}"):
            if older.name != folder.name:
                shutil.rmtree(older, ignore_errors=True)
    known.keep(mode, f"wandb/{folder.name}", recording.url if mode == "online" else None)
    return recording


def record_training(run: Path, known: Tracked, mode: str, patience: float, follow: bool) -> None:
    """Log metrics.jsonl from the first step wandb does not have, until the run ends (`follow`) or what is there."""
    recording = begin(run, known, mode, patience, watched=follow)
    first, tail = recording.step, Tail(run / "metrics.jsonl")
    ended = "" if follow else "finished" if (run / "model.safetensors").is_file() else "stopped"
    while True:
        ended = ended or waited(POLL)
        with within(patience, "log"):
            for entry in tail.entries():
                step = entry.pop("step")
                if step >= first:
                    recording.log(tracked.numbers(entry), step=step)
        if ended:
            break
    finish(recording, patience, failed=ended != "finished")


def record_evaluation(run: Path, known: Tracked, mode: str, patience: float) -> None:
    """Put an evaluation's accuracies into the summary of a run of its own, in the trained run's group."""
    scores = tracked.scores(known.folder)
    recording = begin(run, known, mode, patience, watched=False)
    with within(patience, "log"):
        recording.summary.update(scores)
    finish(recording, patience, failed=False)


def finish(recording: Any, patience: float, *, failed: bool) -> None:
    with within(patience, "finish (what it kept can be uploaded later with `wandb sync`)"):
        recording.finish(exit_code=int(failed))


def waited(seconds: float) -> str:
    """What the training said of its end, "stopped" where it died; empty while it goes on."""
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
        description="Record a run with wandb from what its folder holds; recorded before, it goes on under the same id.",
    )
    parser.add_argument("run", type=Path, help="run directory, results/runs/<run>/seed<k>")
    parser.add_argument("--evaluations", type=Path, nargs="+", metavar="FOLDER", help="record these instead of the training")
    add_tracking(parser, "--mode")
    parser.add_argument("--row", default="", metavar="TABLE/ROW", help="what a run that no workflow started was trained for")
    parser.add_argument("--follow", action="store_true", help="go on with the run until standard input ends")
    parser.add_argument(
        "--patience", type=float, default=PATIENCE, help="seconds wandb may take for a call (default: %(default)g)"
    )
    options = parser.parse_args(arguments)
    if options.follow:
        for number in (signal.SIGINT, signal.SIGTERM):  # the training tells when it ends
            signal.signal(number, signal.SIG_IGN)
    run, mode = options.run.resolve(), resolve(options.mode)
    if mode == "off":
        return
    if mode == "offline":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its own crash reports need a network
    try:
        for folder in options.evaluations or ():
            record_evaluation(run, tracked.evaluation(run, folder, options.row), mode, options.patience)
        if not options.evaluations:
            known = tracked.training(run, options.row)
            record_training(run, known, mode, options.patience, options.follow)
    except (Exception, SystemExit) as error:  # wandb may raise anything, and nothing may depend on it
        warn(brief(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
