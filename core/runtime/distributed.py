"""The processes that share one training or evaluation, as `core.runtime.launch` starts them."""

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
        """Whether this process is the one that writes files and prints."""
        return self.index == 0

    def gather(self, mine: Any) -> list[Any]:
        """The values of all processes, in order of rank. A collective: every process must call it."""
        if self.size == 1:
            return [mine]
        gathered = [None] * self.size
        dist.all_gather_object(gathered, mine, group=self.group)
        return gathered

    def wait(self) -> None:
        """Wait until every process is here. A collective."""
        if self.size > 1:
            dist.barrier(group=self.group)


SINGLE = DistEnv()


def launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return "LOCAL_RANK" in os.environ


def leads() -> bool:
    """Whether this process has rank 0, or is the only one."""
    return os.environ.get("RANK", "0") == "0"


def on_cpu() -> bool:
    """accelerate's `cpu` option: launched processes without a GPU communicate through gloo."""
    return launched() and pick_device() == "cpu"


def init_distributed() -> DistEnv:
    """The processes that this one was launched with; SINGLE if it was not launched."""
    if not launched():
        return SINGLE
    lease.join()  # first: a process that outlives its launcher must still hold the device that it uses
    state = PartialState(cpu=on_cpu())
    if state.num_processes == 1:
        return SINGLE
    group = dist.group.WORLD if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")
    return DistEnv(state.process_index, state.num_processes, group)


def end_distributed() -> None:
    """Close the process group, if there is one; the last call of a program."""
    if dist.is_initialized():
        dist.destroy_process_group()


def device() -> torch.device:
    """The device this process computes on: its own GPU, or the CPU."""
    if launched():
        return PartialState(cpu=on_cpu()).device
    return torch.device(pick_device())


def threads_each(asked: int) -> int:
    """CPU threads per process: the machine's processes share those asked for (0: all cores)."""
    return max(1, (asked or os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def workers_each(asked: int | None, threads: int, reader: torch.device) -> int:
    """Loader processes of one process that evaluates on this device.

    Args:
        asked: None chooses: with a GPU one per thread but one, at most MOST_WORKERS. On a CPU none: the model uses every
            core, and takes many times as long as loading.
        threads: of this process, as `threads_each` returns them.
    """
    if asked is None:
        return min(MOST_WORKERS, threads - 1) if reader.type == "cuda" else 0
    return asked
