"""A whole Slurm cluster in one temporary folder: munge, controller and nodes on loopback, gone when the block ends.

    python -m tests.slurm.cluster                 # a shell whose sbatch, squeue, ... speak to a cluster of its own
    python -m tests.slurm.cluster -- sinfo        # one command

Runs as any user. Nodes, processors and GPUs are pretended (GPUs are links to /dev/null that Slurm counts and hands out); the
daemons, the queue and the jobs are real. Nothing in /etc is read or written.
"""

import argparse
import contextlib
import getpass
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.slurm.settings import gres_conf, slurm_conf

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
HOW_TO_INSTALL = "apt-get install -y slurm-wlm munge (as root, Debian or Ubuntu), or your system's packages of these names"
SYSTEM_FOLDERS = "/usr/sbin:/sbin"  # daemons lie where only root's PATH looks
START_SECONDS, STOP_SECONDS = 60, 10
SLURM_VARIABLES = ("SLURM_", "SBATCH_", "SRUN_")


class ClusterError(RuntimeError):
    """The cluster or a command of it failed; the message has what it said, or the ends of the logs."""


def search_path() -> str:
    return f"{os.environ['PATH']}:{SYSTEM_FOLDERS}"


def missing() -> str:
    """Which programs are not installed and how to get them; empty when all are there."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    return f"not installed: {', '.join(absent)}; {HOW_TO_INSTALL}" if absent else ""


@dataclass
class Cluster:
    """Slurm's daemons and what is needed to speak to them."""

    folder: Path
    nodes: int = 1
    cpus: int = 4  # a node
    gpus: int = 2  # a node
    memory_mb: int = 512_000  # a node
    partition: str = "gpu"
    grace: int = 30  # seconds from SIGTERM to SIGKILL
    daemons: list[subprocess.Popen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which Slurm's commands find this cluster."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(SLURM_VARIABLES)}
        return kept | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": f"{self.folder}/bin:{search_path()}"}

    @property
    def names(self) -> list[str]:
        """Addresses of loopback: names that every program can find without asking anybody."""
        return [f"127.0.0.{number + 1}" for number in range(self.nodes)]

    def run(self, *command: str) -> str:
        """What one of Slurm's commands printed.

        Raises:
            ClusterError: it failed.
        """
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=START_SECONDS)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def configure(self) -> None:
        """Put down key, folders, pretended GPUs and configuration files."""
        for name in ("munge", "state", "log", "bin", *(f"spool-{name}" for name in self.names)):
            (self.folder / name).mkdir()
        (self.folder / "munge").chmod(0o711)  # commands of jobs must reach the socket
        key = self.folder / "munge" / "key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        for number in range(self.gpus):
            (self.folder / f"gpu{number}").symlink_to("/dev/null")  # Slurm insists on a device
        for name, text in {
            "slurm.conf": slurm_conf(
                self.folder,
                user=getpass.getuser(),
                nodes=self.names,
                cpus=self.cpus,
                gpus=self.gpus,
                memory_mb=self.memory_mb,
                partition=self.partition,
                grace=self.grace,
            ),
            "gres.conf": gres_conf(self.folder, self.gpus),
            "plugstack.conf": "",
            # The plugin starts srun inside jobs without SLURM_CONF, so srun itself knows where its cluster is.
            "bin/srun": f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n',
        }.items():
            (self.folder / name).write_text(text)
        (self.folder / "bin" / "srun").chmod(0o755)

    def start(self) -> None:
        """Start the daemons as children and wait until every node takes jobs.

        Raises:
            ClusterError: one of them ended, or it took too long.
        """
        munge = self.folder / "munge"
        files = [
            f"--{name}={munge / name.split('-')[0]}" for name in ("key-file", "socket", "pid-file", "log-file", "seed-file")
        ]
        self.spawn("munged", "--foreground", "--force", *files)
        self.wait_for((munge / "socket").exists)
        config = str(self.folder / "slurm.conf")
        self.spawn("slurmctld", "-D", "-f", config)
        for name in self.names:
            self.spawn("slurmd", "-D", "-N", name, "-f", config)
        self.wait_for(self.idle)

    def spawn(self, *command: str) -> None:
        with (self.folder / "log" / f"{len(self.daemons)}-{command[0]}.out").open("w") as output:
            daemon = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for us: jobs are cancelled first
            )
        self.daemons.append(daemon)

    def idle(self) -> bool:
        """Whether every node is up and without jobs."""
        try:
            states = self.run("sinfo", "--noheader", "--Node", "--format=%T").split()
        except ClusterError:
            return False
        return states == ["idle"] * self.nodes

    def wait_for(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Wait until `ready()`.

        Raises:
            ClusterError: a daemon ended, or it took more than `seconds`.
        """
        end = time.monotonic() + seconds
        while not ready():
            dead = [f"{daemon.args[0]} ended with {daemon.returncode}" for daemon in self.daemons if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                raise ClusterError("\n".join([*(dead or [f"not ready after {seconds:g} s"]), self.last_words()]))
            time.sleep(0.2)

    def last_words(self) -> str:
        """The ends of all logs."""
        logs = [self.folder / "munge" / "log", *sorted((self.folder / "log").iterdir())]
        return "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in logs if log.is_file())

    def stop(self) -> None:
        """Cancel every job, stop the daemons, the last started first, and kill what is left; safe at any time."""
        with contextlib.suppress(ClusterError, subprocess.TimeoutExpired, FileNotFoundError):
            self.run("scancel", "--user", getpass.getuser())
            self.wait_for(self.idle, STOP_SECONDS)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(STOP_SECONDS)
        while leftovers := self.processes():  # jobs that ignore SIGTERM would wait for the end of `grace`
            for pid in leftovers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        for daemon in self.daemons:
            daemon.wait()
        self.daemons.clear()

    def processes(self) -> list[int]:
        """Whatever runs with this cluster's configuration in its environment: daemons, job steps, jobs, commands."""
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"SLURM_CONF={self.folder}/slurm.conf".encode() in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
        return found


def interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def running(**sizes: int | str) -> Iterator[Cluster]:
    """A cluster for the block, in a folder of its own; SIGTERM ends it as Ctrl-C does.

    Raises:
        ClusterError: something is not installed, or does not start.
    """
    if reason := missing():
        raise ClusterError(reason)
    before = signal.signal(signal.SIGTERM, interrupt)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = Cluster(folder, **sizes)
    try:
        cluster.configure()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        signal.signal(signal.SIGTERM, before)
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Start a Slurm cluster on this machine for one command (a shell when left out), then stop it."
    )
    parser.add_argument("--nodes", type=int, default=1, help="nodes to pretend (default: 1)")
    parser.add_argument("--cpus", type=int, default=4, help="processors a node pretends to have (default: 4)")
    parser.add_argument("--gpus", type=int, default=2, help="GPUs a node pretends to have (default: 2)")
    parser.add_argument("command", nargs="*", help="after --, e.g. -- sinfo")
    options = parser.parse_args(arguments)
    try:
        with running(nodes=options.nodes, cpus=options.cpus, gpus=options.gpus) as cluster:
            command = options.command or [os.environ.get("SHELL", "/bin/sh")]
            return subprocess.run(command, env=cluster.environment).returncode
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
