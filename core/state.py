"""Resumable states of a run, and how a run is asked to stop."""

import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from core.files import atomic_file, atomic_folder, write_json

GRACE = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"stopped after step {step} with its state saved; the same command goes on from there")
        self.exit_status = 128 + signal_number


@dataclass
class Stopper:
    """Remembers SIGINT and SIGTERM until a step is over; a second SIGINT stops at once."""

    received: int | None = None

    def __enter__(self) -> "Stopper":
        self.before = {number: signal.signal(number, self.note) for number in GRACE}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, _frame: object) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number


def save_state(accelerator: Accelerator, out: Path, step: int, belongs_to: dict) -> None:
    """Write a resumable state as state/step-<n>, whole or not at all, and drop older ones.

    Raises:
        OSError: it could not be written; earlier states are untouched.
    """
    path = out / "state" / f"step-{step:09d}"
    try:
        with atomic_folder(path) as folder:
            accelerator.save_state(str(folder))
            write_json(folder / "belongs_to.json", belongs_to)
    except RuntimeError as error:  # how torch reports a full disk
        raise OSError(f"{path} could not be written: {error}") from error
    for old in saved_states(out)[:-1]:
        shutil.rmtree(old, ignore_errors=True)


def saved_states(out: Path) -> list[Path]:
    """Whole states, oldest first."""
    return sorted(path for path in (out / "state").glob("step-*") if path.suffix != ".partial")


def resume(accelerator: Accelerator, out: Path, expected: dict) -> int:
    """Load the newest state of this run, if there is one; returns the step it was saved after.

    Raises:
        ValueError: the state belongs to another configuration, seed or training set.
    """
    states = saved_states(out)
    if not states:
        return 0
    found = json.loads((states[-1] / "belongs_to.json").read_text())
    for key, value in expected.items():
        if found.get(key) != value:
            raise ValueError(
                f"{states[-1]} was saved with {key} {found.get(key)}, this run has {value}: "
                f"delete {out / 'state'} to start over, or choose another --out"
            )
    accelerator.load_state(str(states[-1]))
    step = int(states[-1].name.removeprefix("step-"))
    print(f"going on from step {step} ({states[-1]})")
    return step


def drop_after(log: Path, step: int) -> None:
    """Remove lines of steps that will be run again."""
    if log.is_file():
        kept = [line for line in log.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= step]
        with atomic_file(log) as partial:
            partial.write_text("".join(line + "\n" for line in kept))
