"""Start one training or evaluation on several devices, of one machine or of all nodes of a Slurm job.

    python -m core.runtime.launch --processes 8 -- -m core.train ablations/table_VI/image0-text6.gin --data DATA --out RUN

Batch, learning rate, data order and number of steps are those of one process; a run may be resumed with another number of
processes. torch.distributed.run starts and connects them; without GPUs they share the machine's CPU. On several nodes of a
Slurm job, start it once per node: srun --ntasks-per-node=1 python -m core.runtime.launch ...
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from core.cli import at_least
from core.errors import UserError, user_errors

PORTS = range(20_000, 40_000)  # below the ports that systems assign themselves


def main(arguments: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    ours = next((place for place, word in enumerate(words) if word in ("--", "-m")), len(words))
    parser = argparse.ArgumentParser(
        usage="python -m core.runtime.launch [-h] --processes N [--] -m MODULE ARGUMENTS",
        description="Start a training or evaluation on several devices. Ctrl-C or SIGTERM stops all processes once they have "
        "saved their state; started again, the run resumes, with any number of processes.",
        epilog="example: python -m core.runtime.launch --processes 2 -- -m core.train ROW.gin --data DATA --out RUN",
    )
    parser.add_argument(
        "--processes",
        type=at_least(1),
        required=True,
        help="processes on this machine, one per GPU (without GPUs: they share its CPU threads); BATCH is divided among them",
    )
    options = parser.parse_args(words[:ours])
    with user_errors():
        command = words[ours + (words[ours:][:1] == ["--"]) :]
        if command[:1] != ["-m"] or len(command) < 2:
            raise UserError(f"command {' '.join(command)!r}: expected -m core.train ... or -m core.evaluate ...")
        machines = rendezvous(options.processes)
        if machines == ["--standalone", "--nproc-per-node=1"]:
            os.execv(sys.executable, [sys.executable, *command])  # a single process needs no launcher
        refuse_missing_devices(options.processes)
        sys.exit(launch([*machines, *command]))


def refuse_missing_devices(processes: int) -> None:
    """Raise UserError unless every process gets a GPU of its own (or all share the CPU)."""
    import torch

    count = torch.cuda.device_count()
    if 0 < count < processes:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all of them")
        raise UserError(f"--processes {processes}: only {count} GPUs are here (CUDA_VISIBLE_DEVICES: {visible}); give as many")


def rendezvous(
    processes: int,
    environment: Mapping[str, str] = os.environ,
    hostnames: Callable[[str], list[str]] | None = None,
) -> list[str]:
    """torch.distributed.run's options for the machines: this one alone, or the nodes of this Slurm job step.

    Args:
        processes: on each node.
        hostnames: expands a Slurm node list to names; by default `scontrol` does.

    Raises:
        UserError: the job has several nodes, and this step does not run once on each.
    """
    nodes = int(environment.get("SLURM_JOB_NUM_NODES", 1))
    step = environment.get("SLURM_STEP_NUM_NODES")
    if nodes == 1 or step == "1":
        return ["--standalone", f"--nproc-per-node={processes}"]
    tasks = environment.get("SLURM_STEP_NUM_TASKS")
    if step is None or tasks != step:
        raise UserError(
            f"this Slurm job has {nodes} nodes, and core.runtime.launch has to run once on each (step nodes {step}, tasks "
            f"{tasks}): srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 python -m core.runtime.launch ..., or "
            "--nodes=1 for this one"
        )
    names = (hostnames or slurm_hostnames)(environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"])
    number = int(environment["SLURM_JOB_ID"]) * 16 + int(environment.get("SLURM_STEP_ID", 0))
    return [
        f"--nnodes={step}",
        f"--node-rank={environment['SLURM_NODEID']}",
        f"--master-addr={names[0]}",
        f"--master-port={PORTS[number % len(PORTS)]}",
        f"--nproc-per-node={processes}",
    ]


def slurm_hostnames(nodes: str) -> list[str]:
    """The names in a Slurm node list like gpu[03-06]."""
    try:
        done = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"scontrol show hostnames {nodes} failed ({error}): the nodes' names are unknown") from error
    return done.stdout.split()


def launch(arguments: Sequence[str]) -> int:
    """Run torch.distributed.run until every process has ended; returns the exit status of the first that failed.

    A signal is passed on to the processes, which are killed after 30 s; the status is then 128 + the signal's number.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.run(run.parse_args(list(arguments)))
    except SignalException as stop:
        return 128 + int(stop.sigval)
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        return first.exitcode if first.exitcode > 0 else 128 - first.exitcode  # ended by a signal: as a shell counts
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
    return 0


if __name__ == "__main__":
    main()
