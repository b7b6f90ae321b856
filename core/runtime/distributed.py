"""The processes that share one run or one evaluation, as `core.runtime.launch` starts them."""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState

from core.choices import MOST_WORKERS
from core.runtime import lease
from core.runtime.compute import pick_device


@dataclass(frozen=True)
class DistEnv:
    """Collectives over gloo, so that they never wait for the GPU; no-ops with one process."""

    index: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files and talks."""
        return self.index == 0

    def gather(self, mine: Any) -> list[Any]:
        """The values of all processes, in order of rank; a collective, so every process has to call it."""
        if self.size == 1:
            return [mine]
        gathered = [None] * self.size
        dist.all_gather_object(gathered, mine, group=self.group)
        return gathered

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier(group=self.group)


SINGLE = DistEnv()


def launched() -> bool:
    """Whether a launcher started this process as one of a team."""
    return "LOCAL_RANK" in os.environ


def leads() -> bool:
    """Whether this process is its team's first, or alone."""
    return os.environ.get("RANK", "0") == "0"


def on_cpu() -> bool:
    """What accelerate has to be told: a team without a GPU talks through gloo."""
    return launched() and pick_device() == "cpu"


def init_distributed() -> DistEnv:
    """The team this process was launched into; a process that was not launched is alone."""
    if not launched():
        return SINGLE
    lease.join()  # a process that outlives its launcher still uses its device
    state = PartialState(cpu=on_cpu())
    if state.num_processes == 1:
        return SINGLE
    group = dist.group.WORLD if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")
    return DistEnv(state.process_index, state.num_processes, group)


def end_distributed() -> None:
    """At the end of a program that may have been one of a team."""
    if dist.is_initialized():
        dist.destroy_process_group()


def device() -> torch.device:
    """Where this process computes: its own GPU of the team, the only one, or the CPU."""
    if launched():
        return PartialState(cpu=on_cpu()).device
    return torch.device(pick_device())


def threads_each(asked: int) -> int:
    """CPU threads of one process, when those asked for (0: all cores) are shared by the machine's processes."""
    return max(1, (asked or os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def workers_each(asked: int | None, threads: int, reader: torch.device) -> int:
    """Loader processes of one process that reads on this device.

    Args:
        asked: None chooses: beside a GPU one for each of its threads but one, at most MOST_WORKERS. On a CPU none: the model
            takes every core, and many times as long as loading does.
        threads: of this process, as `threads_each` shares them out.
    """
    if asked is None:
        return min(MOST_WORKERS, threads - 1) if reader.type == "cuda" else 0
    return asked
