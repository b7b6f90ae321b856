"""Seconds of several tasks that take turns, so that a machine that slows down or warms up slows all of them alike."""

import platform
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import Progress

from core.runtime.clock import clock

WARMUP = 1  # rounds that are not counted: the first use of a shape allocates and chooses kernels

Task = Hashable  # a task's name
Ready = Callable[[int], Callable[[], object]]  # of a round: does what the clock must not see, returns what it times


class Seconds(NamedTuple):
    """One measurement: by the clock, and of processor time over all threads, which other programs hardly disturb."""

    clock: float
    processor: float


@dataclass(frozen=True)
class Spread:
    """Median and range of repeated measurements."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def ratios(values: list[float], floors: list[float]) -> Spread:
    """How often a round's floor fits into the value measured beside it."""
    return spread([value / floor for value, floor in zip(values, floors, strict=True)])


@dataclass(frozen=True)
class Compared:
    """A task's seconds against those of its floor, measured beside it.

    Args:
        ratio: median over the repeats of task over floor, measured one after the other.
        median_s, low_s, high_s: seconds of the task: median and range.
        cpu_ratio: the ratio in processor time, which other programs hardly disturb; None on a GPU.
        cpu_share: processor time that the task had, of what its threads could have had.
        floor_s, floor_low_s, floor_high_s: seconds of the floor.
    """

    ratio: float
    ratio_low: float
    ratio_high: float
    cpu_ratio: float | None
    cpu_share: float
    median_s: float
    low_s: float
    high_s: float
    floor_s: float
    floor_low_s: float
    floor_high_s: float
    device: str
    threads: int
    repeats: int


def compared(task: list[Seconds], floor: list[Seconds], device: torch.device) -> Compared:
    """What `take_turns` measured of a task and of its floor."""
    clock, processor = ([[seconds[i] for seconds in found] for found in (task, floor)] for i in (0, 1))
    ratio, seconds, least = ratios(*clock), spread(clock[0]), spread(clock[1])
    return Compared(
        ratio=ratio.median,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        cpu_ratio=ratios(*processor).median if device.type == "cpu" else None,
        cpu_share=sum(processor[0]) / sum(clock[0]) / torch.get_num_threads(),
        median_s=seconds.median,
        low_s=seconds.low,
        high_s=seconds.high,
        floor_s=least.median,
        floor_low_s=least.low,
        floor_high_s=least.high,
        device=device_name(device),
        threads=torch.get_num_threads(),
        repeats=len(task),
    )


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"


def seconds_of(task: Callable[[], object], device: torch.device) -> Seconds:
    """Seconds until the work of `task` is done, on a GPU too."""
    start, spent = clock(device), time.process_time()
    task()
    return Seconds(clock(device) - start, time.process_time() - spent)


def take_turns(tasks: Mapping[Task, Ready], rounds: int, device: torch.device, title: str) -> dict[Task, list[Seconds]]:
    """Every task in every round, A B B A A B ..., with a bar on stderr that is drawn between measurements.

    Neighbours are compared, and none comes always first.

    Args:
        rounds: counted ones; each task is called with 0, ..., rounds - 1, and before that with 0 to warm up.
    """
    measured: dict[Task, list[Seconds]] = {name: [] for name in tasks}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal) as bar:
        shown = bar.add_task(title, total=(WARMUP + rounds) * len(tasks))
        for number in range(-WARMUP, rounds):
            for name, ready in list(tasks.items())[:: 1 if number % 2 == 0 else -1]:
                seconds = seconds_of(ready(max(0, number)), device)
                if number >= 0:
                    measured[name].append(seconds)
                bar.advance(shown)
                bar.refresh()
    return measured


def by_clock(measured: Mapping[Task, list[Seconds]]) -> dict[Task, list[float]]:
    return {task: [seconds.clock for seconds in found] for task, found in measured.items()}


def by_processor(measured: Mapping[Task, list[Seconds]]) -> dict[Task, list[float]]:
    return {task: [seconds.processor for seconds in found] for task, found in measured.items()}
