"""Start one training or evaluation on several devices, of one machine or of all nodes of a Slurm job.

    python -m core.runtime.launch --processes 8 -- -m core.train ablations/table_VI/image0-text6.gin --data DATA --out RUN

Batch, learning rate, order of the data and number of steps stay what they are with one process; a run may go on with
another number of them. Processes start and find each other through torch.distributed.run; without GPUs they share the
machine's CPU. On several nodes of a Slurm job, start it once a node: srun --ntasks-per-node=1 python -m core.runtime.launch ...
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from core.cli import at_least
from core.errors import UserError, user_errors

PORTS = range(20_000, 40_000)  # below those that systems hand out by themselves


def main(arguments: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    ours = next((place for place, word in enumerate(words) if word in ("--", "-m")), len(words))
    parser = argparse.ArgumentParser(
        usage="python -m core.runtime.launch [-h] --processes N [--] -m MODULE ARGUMENTS",
        description="Start a training or evaluation on several devices that work on it together. Ctrl-C or SIGTERM stops "
        "all processes once they have saved what they have to; started again, the run goes on, with any number of processes.",
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
            raise UserError(f"what to start is {' '.join(command)!r}; expected -m core.train ... or -m core.evaluate ...")
        meeting = rendezvous(options.processes)
        if meeting == ["--standalone", "--nproc-per-node=1"]:
            os.execv(sys.executable, [sys.executable, *command])  # alone, a process needs nobody to bring it together
        refuse_missing_devices(options.processes)
        sys.exit(launch([*meeting, *command]))


def refuse_missing_devices(processes: int) -> None:
    """Raise UserError unless every process gets a GPU of its own (or all share the CPU)."""
    import torch

    found = torch.cuda.device_count()
    if 0 < found < processes:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "all of them")
        raise UserError(f"--processes {processes}: only {found} GPUs are here (CUDA_VISIBLE_DEVICES: {seen}); give as many")


def rendezvous(
    processes: int,
    environment: Mapping[str, str] = os.environ,
    hostnames: Callable[[str], list[str]] | None = None,
) -> list[str]:
    """What torch.distributed.run is told about machines: this one alone, or the nodes of this Slurm job step.

    Args:
        processes: on each node.
        hostnames: node names of a Slurm node list; `scontrol` by default.

    Raises:
        UserError: the job has several nodes, and this is not one task of a step on all of them.
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
    """The names in a Slurm node list like gpu[03-06].

    Raises:
        UserError: scontrol does not answer.
    """
    try:
        done = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"scontrol show hostnames {nodes} failed ({error}): no way to tell the nodes' names") from error
    return done.stdout.split()


def launch(arguments: Sequence[str]) -> int:
    """Run torch.distributed.run until every process has ended; returns the exit status of the first that failed.

    After a signal, which it passes on, that is 128 + its number; processes that take longer than 30 s are killed.
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
