"""Locks that end with the processes that hold them, however those end: flock on files of one folder.

A slot is a device's place for one command. Its lock is shared (LOCK_SH), so that processes of one team can hold it
together; that it changes hands only while nobody holds it is seen to under the folder's own lock.
"""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


def open_lock(path: Path) -> int:
    """A descriptor of a lock file, which is made as open to others as its folder is."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.suppress(PermissionError):  # another person's file, made open by its owner
        os.fchmod(descriptor, path.parent.stat().st_mode & 0o666)
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Lock for itself alone if nobody holds it."""
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
def alone(folder: Path) -> Iterator[None]:
    """A moment in which no other process looks at or changes the folder's slots and line."""
    descriptor = open_lock(folder / "turn")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def share(path: Path) -> int:
    """Hold a lock together with others; the descriptor outlives exec and goes on to children."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.set_inheritable(descriptor, True)
    return descriptor


def wait_until_free(path: Path) -> None:
    """Sleep until whoever holds a lock file for itself has let go, or ended."""
    with contextlib.suppress(FileNotFoundError):
        os.close(share(path))


@dataclass(frozen=True)
class Note:
    """What a holder, or one who waits, wrote about itself."""

    path: Path
    pid: int
    command: str
    since: str
    share: int  # commands it puts up with on a device, itself counted
    devices: tuple[str, ...]  # that it holds, or would take

    def __str__(self) -> str:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return f"a process that pid {self.pid} left behind when it ended, since {self.since}: {self.command}"
        except PermissionError:
            pass  # another person's
        return f"pid {self.pid} since {self.since}: {self.command}"


def write_note(descriptor: int, note: Note) -> None:
    fields = {"pid": note.pid, "command": note.command, "since": note.since, "share": note.share, "devices": note.devices}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(fields).encode(), 0)


def read_note(path: Path) -> Note:
    """What stands in a lock file; one that was cut off shares with nobody."""
    try:
        fields = json.loads(path.read_text())
        return Note(path, fields["pid"], fields["command"], fields["since"], fields["share"], tuple(fields["devices"]))
    except (ValueError, KeyError, TypeError):
        return Note(path, 0, "unknown", "unknown", 1, ())


def slot(folder: Path, device: str, number: int) -> Path:
    return folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', device)}.{number}"


def slots(folder: Path, device: str) -> list[Path]:
    """A device's slots that were ever taken."""
    return sorted(folder.glob(f"{slot(folder, device, 0).stem}.[0-9]*"))


def holders(folder: Path, device: str) -> list[Note]:
    """Who holds a device now."""
    return [read_note(path) for path in slots(folder, device) if is_held(path)]


def take_slot(folder: Path, device: str, note: Note) -> Path:
    """Take a device's first free slot until this process, and all it starts, have ended; call it when `alone`."""
    number = 0
    while is_held(slot(folder, device, number)):
        number += 1
    path = slot(folder, device, number)
    descriptor = open_lock(path)
    write_note(descriptor, note)
    os.close(descriptor)
    share(path)
    return path


def line(folder: Path) -> list[Note]:
    """Who waits, first come first; forgets those that ended. Call it when `alone`."""
    waiting = []
    for path in sorted(folder.glob("waits-*")):
        if is_held(path):
            waiting.append(read_note(path))
        else:
            path.unlink(missing_ok=True)
    return waiting


def queue_up(folder: Path, note: Note) -> tuple[Path, int]:
    """A place at the end of the line, held by its descriptor; call it when `alone`."""
    last = max((int(one.path.name.removeprefix("waits-")) for one in line(folder)), default=0)
    path = folder / f"waits-{last + 1:012d}"
    descriptor = open_lock(path)
    try_lock(descriptor)
    write_note(descriptor, note)
    return path, descriptor
