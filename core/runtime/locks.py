"""Locks that end with the processes that hold them, however those end: flock on the files of one folder.

A slot is the place of one command on a device. Its lock is shared (LOCK_SH), so that all processes of a team can hold it; it
changes hands only while nobody holds it, which is checked under the folder's own lock. (filelock does not do this: its
locks are exclusive and end at exec, these are shared and inherited.)

Lock order: the folder's lock first, then slots and places in the queue; waiting for a device happens outside the folder's lock.
"""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import DeviceError
from core.files import is_alive


def open_lock(path: Path) -> int:
    """A descriptor of a lock file, which gets the folder's permissions, so that whoever shares the folder can lock it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.suppress(PermissionError):  # another person's file, made open by its owner
        os.fchmod(descriptor, path.parent.stat().st_mode & 0o666)
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock if nobody holds the file; whether it was taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """While it is held, no other process reads or changes the folder's slots and queue.

    Raises:
        DeviceError: the file system has no locks, so that nothing would keep two commands from one device.
    """
    descriptor = open_lock(folder / "turn")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise DeviceError(
                f"{folder} cannot be locked ({error.strerror}): set CLIP4STR_LEASES to a folder on a local disk"
            ) from error
        yield
    finally:
        os.close(descriptor)


def hold_shared(path: Path) -> int:
    """Hold a lock together with others; the descriptor survives exec and is inherited by children."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.set_inheritable(descriptor, True)
    return descriptor


def wait_until_free(path: Path) -> None:
    """Sleep until the process with the exclusive lock has released it, or ended."""
    with contextlib.suppress(FileNotFoundError):
        os.close(hold_shared(path))


@dataclass(frozen=True)
class Note:
    """A note that a process which holds or waits for devices wrote about itself."""

    path: Path
    pid: int
    command: str
    since: str
    share: int  # most commands that may use its device at once, itself counted
    devices: tuple[str, ...]  # devices that it holds, or could use

    def __str__(self) -> str:
        if not is_alive(self.pid):
            return f"a process that pid {self.pid} left behind when it ended, since {self.since}: {self.command}"
        return f"pid {self.pid} since {self.since}: {self.command}"


def write_note(descriptor: int, note: Note) -> None:
    fields = {"pid": note.pid, "command": note.command, "since": note.since, "share": note.share, "devices": note.devices}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(fields).encode(), 0)


def read_note(path: Path) -> Note:
    """The note in a lock file; a truncated one counts as a command that shares with nobody."""
    try:
        fields = json.loads(path.read_text())
        return Note(path, fields["pid"], fields["command"], fields["since"], fields["share"], tuple(fields["devices"]))
    except (ValueError, KeyError, TypeError):
        return Note(path, 0, "unknown", "unknown", 1, ())


def slot(folder: Path, device: str, number: int) -> Path:
    return folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', device)}.{number}"


def slots(folder: Path, device: str) -> list[Path]:
    """All slots of a device that were ever taken."""
    return sorted(folder.glob(f"{slot(folder, device, 0).stem}.[0-9]*"))


def holders(folder: Path, device: str) -> list[Note]:
    """Notes of the commands that hold a device now."""
    return [read_note(path) for path in slots(folder, device) if is_held(path)]


def take_slot(folder: Path, device: str, note: Note) -> Path:
    """Take a device's first free slot until this process, and all it starts, have ended; call it under `folder_lock`."""
    number = 0
    while is_held(slot(folder, device, number)):
        number += 1
    path = slot(folder, device, number)
    descriptor = open_lock(path)
    write_note(descriptor, note)  # before the lock: whoever sees the slot held can read by whom
    os.close(descriptor)
    hold_shared(path)
    return path


def prune_queue(folder: Path) -> list[Note]:
    """Notes of the processes that wait, first come first; drops those that ended. Call it under `folder_lock`."""
    waiting = []
    for path in sorted(folder.glob("waits-*")):
        if is_held(path):
            waiting.append(read_note(path))
        else:
            path.unlink(missing_ok=True)
    return waiting


def enqueue(folder: Path, note: Note) -> tuple[Path, int]:
    """A place at the end of the queue, held by its descriptor; call it under `folder_lock`."""
    last = max((int(one.path.name.removeprefix("waits-")) for one in prune_queue(folder)), default=0)
    path = folder / f"waits-{last + 1:012d}"
    descriptor = open_lock(path)
    try_lock(descriptor)
    write_note(descriptor, note)
    return path, descriptor
