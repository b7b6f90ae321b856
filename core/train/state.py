"""Resumable states of a run, and the signals that stop it."""

import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch

from core.errors import UserError
from core.files import atomic_file, atomic_folder, sync, sync_folder, write_json
from core.run_files import STATES, saved_states
from core.runtime.distributed import launched
from core.weights.pickles import read_pickle

GRACE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATE = "state.pt"
OPTIONAL_PARTS = {"tally"}  # parts that older states lack


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"stopped after step {step} with its state saved; the same command resumes from there")
        self.exit_status = 128 + signal_number


@dataclass
class Stopper:
    """Remembers SIGINT, SIGTERM and SIGHUP until a step is over; a second SIGINT stops at once.

    SIGHUP, by which a closed terminal ends what it has started, stays ignored where it was (nohup). More SIGTERMs are the same
    request: a scheduler signals a job, its shell and its launcher, and each passes it on. A process of a team whose launcher
    was killed is asked to stop too.
    """

    received: int | None = None
    parent: int = field(default_factory=os.getppid)

    def __enter__(self) -> "Stopper":
        heard = [number for number in GRACE if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP]
        self.before = {number: signal.signal(number, self.handle) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def handle(self, number: int, _frame: object) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number

    def asked(self) -> int:
        """The signal that asks this process to stop, 0 for none."""
        if self.received is None and launched() and os.getppid() != self.parent:
            self.received = signal.SIGTERM
        return self.received or 0


class Stateful(Protocol):
    """The interface of a state's parts: model, optimiser, loss monitor."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def save_state(parts: Mapping[str, Stateful], out: Path, step: int, run_identity: dict) -> None:
    """Write a resumable state as state/step-<n>, whole or not at all, and drop older ones.

    Raises:
        OSError: it could not be written; earlier states are untouched.
    """
    path = out / STATES / f"step-{step:09d}"
    try:
        with atomic_folder(path) as folder:
            write_json(folder / "run_identity.json", run_identity)
            with (folder / STATE).open("wb") as file:
                torch.save({name: part.state_dict() for name, part in parts.items()}, file)
            # All of it before it has its name, and the name before older states go: the power may fail at any moment.
            for written in (folder / "run_identity.json", folder / STATE):
                sync(written)
            sync_folder(folder)
    except RuntimeError as error:  # how torch reports a full disk
        raise OSError(f"{path} could not be written: {error}") from error
    sync_folder(path.parent)
    unfinished = (out / STATES).glob("step-*.partial")  # of a killed training, perhaps on another machine: no other runs now
    for old in (*saved_states(out)[:-1], *unfinished):
        shutil.rmtree(old, ignore_errors=True)


def resume(parts: Mapping[str, Stateful], out: Path, expected: dict) -> int:
    """Load the newest state of this run, if there is one; returns the step it was saved after.

    Raises:
        UserError: the state belongs to another configuration, seed, training set or precision, or is damaged.
    """
    states = saved_states(out)
    if not states:
        return 0
    newest = states[-1]
    saved = read_or_refuse(newest / "run_identity.json", lambda path: json.loads(path.read_text()))
    for key, value in expected.items():
        if saved.get(key, value) != value:  # states from before a key was recorded lack it
            raise UserError(
                f"{newest} was saved with {key} {saved.get(key)}, this run has {value}: "
                f"delete {out / STATES} to start over, or choose another --out"
            )

    def load(path: Path) -> None:
        content = read_pickle(path)
        for name, part in parts.items():
            if name in content or name not in OPTIONAL_PARTS:
                part.load_state_dict(content[name])

    read_or_refuse(newest / STATE, load)
    return int(newest.name.removeprefix("step-"))


def read_or_refuse(path: Path, read: Callable[[Path], Any]) -> Any:
    """What `read` makes of a file of a state; one that it cannot make sense of is damaged.

    Raises:
        UserError: it is damaged.
        OSError, MemoryError, torch.OutOfMemoryError: the disk or the memory fails, and the state may be whole.
    """
    try:
        return read(path)
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything
        raise UserError(f"{path} cannot be read ({error}): delete {path.parents[1]} to start over") from error


def drop_after(log: Path, step: int) -> None:
    """Remove lines of steps that will be run again."""
    if log.is_file():
        kept = [line for line in log.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= step]
        with atomic_file(log) as partial:
            partial.write_text("".join(line + "\n" for line in kept))


@contextlib.contextmanager
def run_lock(out: Path, patience: float = 5) -> Iterator[None]:
    """Hold a run directory by a lock on out/lock, so that a second process cannot write there; it ends with the process.

    On a file system without locks the run goes on without one, after a line that says so.

    Args:
        patience: seconds that are waited: a process that is ending may need a few.

    Raises:
        OSError: another process trains there.
    """
    path = out / "lock"
    with lock_file(path, patience) as file:
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def lock_file(path: Path, patience: float) -> TextIO:
    """The open lock file of a run directory, locked where its file system can do that; as `run_lock`."""
    deadline = time.monotonic() + patience
    while True:
        file = path.open("a+")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process alone, not of loaders forked from it
        except (BlockingIOError, PermissionError) as error:
            with file:
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise OSError(
                        f"{path.parent} is being trained by process {file.read()}: stop it, or choose another --out"
                    ) from error
            time.sleep(0.2)
            continue
        except OSError as error:  # a file system without locks
            problem = f"{path.parent} cannot be locked ({error.strerror})"
            print(f"warning: {problem}: nothing stops a second process from training there", file=sys.stderr)
            return file
        # Its holder may have removed it since it was opened; then it locks nothing, as others open a new file of that name.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()
