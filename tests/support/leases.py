"""Many short leased jobs, some killed: python -m tests.support.leases FOLDER --jobs 200 --gpus 4

Each job binds one name per device among the kernel's sockets, which only one process can have at a time and which ends with
it: a name that is taken is a device that was handed out twice. The lease's own locks are not trusted.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from core.runtime import lease

JOB = """
import itertools, os, socket, sys, time
log, tag, share, seconds, orphan = sys.argv[1:]
def log_line(*words):
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (" ".join(map(str, words)) + chr(10)).encode())
    os.close(file)
mine = []
for device in os.environ["CUDA_VISIBLE_DEVICES"].split(","):
    for place in range(int(share)):
        mine.append(socket.socket(socket.AF_UNIX))
        try:
            mine[-1].bind(f"\\0{tag}-{device}-{place}")
            break
        except OSError:
            pass
    else:
        log_line("double", os.getpid(), device)
log_line("enter", os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"])
if float(orphan) and not os.fork():
    time.sleep(float(orphan))  # a loader process: it inherits everything and may outlive its parent
    os._exit(0)
time.sleep(float(seconds))
log_line("exit", os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"])
"""


def start(arguments: list[str], job: list[str]) -> int:
    """A process that takes a lease and becomes the job; returns its id."""
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        lease.main([*arguments, "--", sys.executable, "-I", "-S", "-c", JOB, *job])
    return pid


class Storm:
    """Jobs that run, which of them will be killed and when, and what happened, counted."""

    def __init__(self, folder: Path, share: int, places: int, seed: int):
        self.log, self.tag, self.share, self.places = folder / "log", f"lease-{os.getpid()}", share, places
        self.log.touch()
        self.rng, self.counts = random.Random(seed), collections.Counter()
        self.running: set[int] = set()
        self.kill_at: dict[int, float] = {}
        self.victims: set[int] = set()  # to be killed while they have their devices
        self.read = 0

    def begin(self) -> None:
        """Start a job of one device or two; one in five is killed soon, one in five at work, one in four leaves a child."""
        fate, orphan = self.rng.random(), self.rng.choice((0, 0, 0, 0.15))
        seconds = 60 if fate < 0.2 else self.rng.uniform(0, 0.1)
        arguments = ["--gpus", self.rng.choice("1112"), "--share", str(self.share)]
        pid = start(arguments, [str(self.log), self.tag, str(self.places), f"{seconds}", str(orphan)])
        self.running.add(pid)
        if fate < 0.2:
            self.victims.add(pid)
        elif fate < 0.4:
            self.kill_at[pid] = time.monotonic() + self.rng.uniform(0, 0.3)

    def look(self) -> None:
        """Choose when victims that have entered die, kill whose time has come, count who ended."""
        lines = self.log.read_text().splitlines()
        for line in lines[self.read :]:
            word, pid = line.split()[0], int(line.split()[1])
            self.counts[word] += 1
            self.counts["pairs"] += word == "enter" and "," in line
            if word == "enter" and pid in self.victims:
                self.kill_at[pid] = time.monotonic() + self.rng.uniform(0, 0.05)
        self.read = len(lines)
        for pid in [pid for pid, moment in self.kill_at.items() if moment <= time.monotonic()]:
            del self.kill_at[pid]
            os.kill(pid, signal.SIGKILL)
        for pid in list(self.running):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self.running.discard(pid)
                self.kill_at.pop(pid, None)
                how = (
                    "killed at work"
                    if pid in self.victims
                    else "killed early"
                    if os.WIFSIGNALED(status)
                    else f"status {status}"
                )
                self.counts[how] += 1


def storm(folder: Path, jobs: int, gpus: int, at_once: int, share: int, places: int, seed: int) -> dict:
    """Start all jobs, `at_once` of them at a time; what happened, counted.

    Args:
        places: jobs on one device at once that count as right.
    """
    os.environ |= {"CLIP4STR_GPUS": ",".join(f"GPU-{number}" for number in range(gpus)), lease.FOLDER: str(folder / "locks")}
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    lease.POLL = 0.02
    begun, weather = time.monotonic(), Storm(folder, share, places, seed)
    while jobs or weather.running:
        while jobs and len(weather.running) < at_once:
            jobs -= 1
            weather.begin()
        weather.look()
        time.sleep(0.01)
    return {**weather.counts, "seconds": round(time.monotonic() - begun, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Storm of leased jobs, two in five killed; prints what happened as JSON, counted."
    )
    parser.add_argument("folder", type=Path, help="for locks and log")
    for name, default in (("jobs", 200), ("gpus", 4), ("at-once", 8), ("share", 1), ("places", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    options = parser.parse_args()
    print(json.dumps(storm(**vars(options))))


def run(folder: Path, **sizes: int) -> dict:
    """The storm in a process of its own (this one may have threads, which do not go through a fork)."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in sizes.items()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.leases", str(folder), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
