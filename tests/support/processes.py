"""Calls in processes of their own, forked from one that has imported everything: a start costs no imports."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["core.train", "core.evaluate", "core.model.captions"])


def start(call: Callable, *arguments: object, log: Path, **environment: str) -> BaseProcess:
    """A process that calls `call(*arguments)`, its output in `log`, in a process group of its own."""
    process = SERVER.Process(target=work, args=(call, arguments, log, environment))
    process.start()
    return process


def work(call: Callable, arguments: Sequence, log: Path, environment: dict[str, str]) -> None:
    os.setpgrp()
    multiprocessing.set_start_method("fork", force=True)  # for its loaders: it is forked itself
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(environment)
    torch.set_num_threads(1)  # more would wait for each other on a busy machine
    call(*arguments)


def start_team(size: int, call: Callable, *arguments: object, log: Path) -> list[BaseProcess]:
    """The same call in `size` processes that find each other as torch.distributed.run has them do it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    team = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    shared = {name: str(value) for name, value in team.items()}
    return [
        start(call, *arguments, log=log.with_suffix(f".{rank}.log"), **shared, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank in range(size)
    ]


def finish(processes: Sequence[BaseProcess], seconds: float = 300) -> list[int | None]:
    """Exit codes once all have ended; those that have not in time are killed."""
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]
