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


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"


def seconds_of(task: Callable[[], object], device: torch.device) -> Seconds:
    """Seconds until the work of `task` is done, on a GPU too."""
    finish(device)
    start, spent = time.perf_counter(), time.process_time()
    task()
    finish(device)
    return Seconds(time.perf_counter() - start, time.process_time() - spent)


def finish(device: torch.device) -> None:
    """Wait for what was handed to a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
