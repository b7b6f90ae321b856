"""Run a command on GPUs that no other command has, for exactly as long as it lives.

    python -m core.runtime.lease --gpus 1 -- python -m core.train ROW.gin --data DATA --out RUN
    python -m core.runtime.lease --list

The command takes this process's place (exec): its exit status and signals are its own, and it inherits the locks of its
devices. They end with the last process that has them, also when it is killed. A loader process that outlives its killed
parent keeps the device taken until it ends, since the driver keeps the parent's memory on the GPU until then. (Why not a
scheduler: the lease needs no service and no rights, and what is killed releases its GPU.)
"""

import argparse
import datetime
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from core.cli import at_least
from core.errors import DeviceError, user_errors
from core.runtime.devices import LIST, VISIBLE, usable
from core.runtime.locks import (
    Note,
    enqueue,
    folder_lock,
    hold_shared,
    holders,
    is_held,
    prune_queue,
    read_note,
    take_slot,
    wait_until_free,
)

FOLDER = "CLIP4STR_LEASES"
LEASE = "CLIP4STR_LEASE"  # set for the command: id of the process that took the lease, and its slots
POLL = 0.2  # seconds between checks for free devices
LONGEST_SHOWN = 100  # characters of a command in messages


def folder() -> Path:
    """The folder of the lock files, shared by all commands that share devices; inside a lease, a folder for its devices."""
    default = Path(tempfile.gettempdir()) / f"clip4str-leases-{os.getuid()}"
    path = Path(os.environ.get(FOLDER) or default)
    if outer := enclosing():
        path = outer[0].parent / f"inside-{outer[0].name}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def enclosing() -> list[Path]:
    """The slots of the lease that this process runs under; none if its environment is out of date."""
    pid, *paths = os.environ.get(LEASE, "0").split(os.pathsep)
    slots = [Path(path) for path in paths]
    return slots if all(is_held(path) and str(read_note(path).pid) == pid for path in slots) else []


def join() -> None:
    """Hold the enclosing lease, too, until this process ends.

    For processes that were started without inherited descriptors and that may outlive their launcher.
    """
    for path in enclosing():
        hold_shared(path)


def take(gpus: int, shared_by: int, command: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Wait for `gpus` devices and take them at once; returns their names and slots, or nothing if the machine has none.

    FIFO: a waiting job reserves every device it could use, so large requests are not starved, and no two wait for each
    other.

    Args:
        shared_by: commands that may use each of the devices at once, this one counted.
    """
    devices = usable()
    if not devices:
        return [], []
    refuse_impossible(gpus, devices)
    where, printed = folder(), ""
    words = shlex.join(command)[:LONGEST_SHOWN]
    note = Note(where, os.getpid(), words, f"{datetime.datetime.now():%d %b %H:%M:%S}", shared_by, tuple(devices))
    with folder_lock(where):
        place, descriptor = enqueue(where, note)
    try:
        while True:
            # Looking and taking happen under one lock, or two jobs could see the same device free.
            with folder_lock(where):
                before = [one for one in prune_queue(where) if one.path.name < place.name]
                reserved = {device for one in before for device in one.devices}
                users = {device: holders(where, device) for device in devices}
                free = [device for device in devices if device not in reserved and has_room(users[device], shared_by)]
                if len(free) >= gpus:
                    chosen = sorted(free, key=lambda device: len(users[device]))[:gpus]
                    place.unlink()
                    return chosen, [take_slot(where, device, note) for device in chosen]
            if (waiting := waiting_message(gpus, users, before)) != printed:
                print(waiting, file=sys.stderr, flush=True)
                printed = waiting
            if before and set(devices) <= set(before[-1].devices):
                wait_until_free(before[-1].path)  # it reserves all that we could use, so nothing changes before it is gone
            else:
                time.sleep(POLL)
    finally:
        os.close(descriptor)


def refuse_impossible(gpus: int, devices: Sequence[str]) -> None:
    """Raise DeviceError if this machine can never provide `gpus` devices."""
    if gpus > len(devices):
        raise DeviceError(
            f"--gpus {gpus}: this machine lets us use {len(devices)} ({', '.join(devices)}; {VISIBLE}: "
            f"{os.environ.get(VISIBLE, 'not set')}); ask for fewer (workflow: gpus_per_run)"
        )
    if gpus > 1 and any(device.startswith("MIG-") for device in devices):
        raise DeviceError(f"--gpus {gpus}: CUDA shows a process one MIG instance only; ask for 1 (workflow: gpus_per_run)")


def has_room(users: Sequence[Note], shared_by: int) -> bool:
    """True if one more job fits under every holder's sharing limit."""
    return len(users) < min([shared_by, *(user.share for user in users)])


def waiting_message(gpus: int, users: dict[str, list[Note]], before: Sequence[Note]) -> str:
    """Who holds which device, and who is first in the queue."""
    held = [f"  {device}: {user}" for device, notes in users.items() for user in notes]
    ahead = [f"  first in the queue: {note}" for note in before[:1]]
    return "\n".join([f"waiting for {gpus} of {len(users)} GPUs", *held, *ahead])


def lend(gpus: int, shared_by: int, command: Sequence[str]) -> None:
    """Replace this process by `command` (exec), which inherits the locks of its devices; OSError if it cannot be run."""
    join()  # before taking devices: what an enclosing lease lent must stay taken while the command lives
    devices, slots = take(gpus, shared_by, command)
    environment = dict(os.environ)
    if devices:
        hold_shared(slots[0].parent)  # cleaners of temporary files leave a locked folder alone
        environment |= {VISIBLE: ",".join(devices), LEASE: os.pathsep.join([str(os.getpid()), *map(str, slots)])}
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
    os.execvpe(command[0], list(command), environment)


def show() -> None:
    """Print every usable device with its holders, and the queue."""
    devices = usable()
    with folder_lock(where := folder()):
        for device in devices:
            print(f"{device}: {'; '.join(map(str, holders(where, device))) or 'free'}")
        for number, note in enumerate(prune_queue(where), 1):
            print(f"waits as number {number}: {note}")
    if not devices:
        print(f"no GPU here ({VISIBLE}: {os.environ.get(VISIBLE, 'not set')}): commands run at once, on the CPU")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        usage="python -m core.runtime.lease [--gpus N] [--share S] -- COMMAND... | --list",
        description="Run COMMAND on N GPUs of this machine that no other leased command uses; wait until they are free. "
        "Without GPUs it just runs. Only devices in an outer CUDA_VISIBLE_DEVICES (numbers, UUIDs, MIG ids) are handed out.",
        epilog=f"environment: {FOLDER}, the folder of the lock files (default: clip4str-leases-<user> in the folder for "
        "temporary files); people or containers that share GPUs set it to one folder on a local disk. "
        f"{LIST}, the machine's GPUs, where nvidia-smi cannot be asked: {LIST}=0,1 (empty: none). "
        "The exit status is COMMAND's, or 127 if the program does not exist.",
    )
    parser.add_argument("--gpus", metavar="N", type=at_least(1), default=1, help="devices to take, all at once (default: 1)")
    about = "most commands on a device at once, this one included (default: 1)"
    parser.add_argument("--share", metavar="S", type=at_least(1), default=1, help=about)
    parser.add_argument("--list", action="store_true", help="print which commands hold or wait for which devices, and exit")
    words = list(sys.argv[1:] if arguments is None else arguments)
    ours = words.index("--") if "--" in words else len(words)
    options, command = parser.parse_args(words[:ours]), words[ours + 1 :]
    if not command and not options.list:
        parser.error("which command? python -m core.runtime.lease --gpus 1 -- COMMAND...")
    with user_errors():
        if options.list:
            show()
        elif shutil.which(command[0]) is None:
            print(f"error: {command[0]}: there is no such program", file=sys.stderr)
            sys.exit(127)
        else:
            lend(options.gpus, options.share, command)


if __name__ == "__main__":
    main()
