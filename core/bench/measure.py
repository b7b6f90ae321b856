"""How the benchmarks measure, and the form of every result: a name, our value, a reference, their ratio.

Tasks take turns, so that a machine that slows down or warms up slows all of them alike, and a ratio is of neighbours in
time. `torch.utils.benchmark.Timer` would repeat one task many times before the next has its turn, and would run each before
it counts, after which no caption is new any more.
"""

import json
import platform
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from core.experiment.experiment import Loaded, load
from core.model.clip4str import CLIP4STR
from core.runtime.clock import clock
from core.runtime.compute import pick_device

WIDTH = 120  # columns of a table that goes to a file
WARMUP = 1  # rounds that are not counted: the first use of a shape allocates and chooses kernels
IMAGE_TOWER = "image tower"  # what reading and training are measured against
WARMUP_ON_GPU = 3  # the first use of a shape, its recording (core.model.cuda_graphs), a first replay

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


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True)
class Measurement:
    """Something measured beside a reference, in the same run on the same machine.

    Args:
        name: name of the measured task.
        unit: unit of `ours` and `reference`.
        ratio: ours over the reference measured next to it.
        cpu_ratio: the median ratio in processor time; None where there is none, as on a GPU.
        cpu_share: processor time that ours had, of what its threads could have had; None where that was not measured.
        n: repeats.
        details: conditions of the measurement, and derived figures.
    """

    name: str
    unit: str
    ours: Spread
    reference: Spread
    ratio: Spread
    cpu_ratio: float | None
    cpu_share: float | None
    n: int
    device: str
    threads: int
    details: dict


def measurement(
    name: str,
    ours: Sequence[float],
    reference: Sequence[float],
    device: torch.device,
    unit: str,
    details: dict,
    cpu_ratio: float | None = None,
    cpu_share: float | None = None,
) -> Measurement:
    """A Measurement of values that were measured in pairs."""
    ratios = spread([value / other for value, other in zip(ours, reference, strict=True)])
    setting = (len(ours), device_name(device), torch.get_num_threads(), details)
    return Measurement(name, unit, spread(ours), spread(reference), ratios, cpu_ratio, cpu_share, *setting)


def compare(
    name: str,
    ours: Sequence[Seconds],
    reference: Sequence[Seconds],
    device: torch.device,
    details: dict,
    unit: str = "ms",
    value: Callable[[float], float] = lambda seconds: 1000 * seconds,
) -> Measurement:
    """A Measurement of what `take_turns` measured of two tasks.

    Args:
        value: seconds to the unit.
    """
    clocks = ([value(seconds.clock) for seconds in task] for task in (ours, reference))
    share = sum(seconds.processor for seconds in ours) / sum(seconds.clock for seconds in ours) / torch.get_num_threads()
    pairs = zip(ours, reference, strict=True)
    ratio = median(value(mine.processor) / value(other.processor) for mine, other in pairs) if device.type == "cpu" else None
    return measurement(name, *clocks, device, unit, details, ratio, share)


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"


def build(row: str, scale: str, knobs: Sequence[str] = ()) -> tuple[CLIP4STR, Loaded, torch.device]:
    """The model of a row with seeded random weights, on the device there is.

    Raises:
        ConfigError: the row cannot be built.
    """
    torch.manual_seed(0)
    loaded, device = load(row, scale, list(knobs)), torch.device(pick_device())
    return loaded.experiment.model(load_weights=False).to(device), loaded, device


def seconds_of(task: Callable[[], object], device: torch.device) -> Seconds:
    """Seconds that `task` takes, including the work that it queued on a GPU."""
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
    warmup = WARMUP if device.type == "cpu" else WARMUP_ON_GPU
    console = Console(stderr=True)
    with Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal) as bar:
        shown = bar.add_task(title, total=(warmup + rounds) * len(tasks))
        for number in range(-warmup, rounds):
            for name, ready in list(tasks.items())[:: 1 if number % 2 == 0 else -1]:
                seconds = seconds_of(ready(max(0, number)), device)
                if number >= 0:
                    measured[name].append(seconds)
                bar.advance(shown)
                bar.refresh()
    return measured


def report(measurements: Iterable[Measurement], title: str, note: str, as_json: bool) -> list[Measurement]:
    """Print every measurement as one line of JSON as soon as it is there, or all of them as one table.

    Details in which the measurements differ are columns, the others stand above it.
    """
    done = []
    for one in measurements:
        done.append(one)
        if as_json:
            print(json.dumps(asdict(one)), flush=True)
    if as_json:
        return done
    first, console = done[0], Console()
    console.width = max(console.width, WIDTH)
    known = ["", *(key for key, value in first.details.items() if not isinstance(value, list))]
    cells = [{"": one.name} | {key: readable(one.details[key]) for key in known if key} for one in done]
    varying = [key for key in known if len({row[key] for row in cells}) > 1]
    fixed = [f"{key} {cells[0][key]}" for key in known if key and key not in varying]
    console.print(f"{title}: {', '.join([*fixed, first.device, f'{first.threads} threads'])}", markup=False)
    table = Table(*varying, f"ours, {first.unit}", f"reference, {first.unit}", "ratio", "range", "cpu")
    for one, row in zip(done, cells, strict=True):
        cpu = "" if one.cpu_ratio is None else f"{one.cpu_ratio:.3f}"
        ratio = (f"{one.ratio.median:.3f}", f"{one.ratio.low:.2f}-{one.ratio.high:.2f}", cpu)
        table.add_row(*(row[key] for key in varying), readable(one.ours.median), readable(one.reference.median), *ratio)
    console.print(table)
    shares = [one.cpu_share for one in done if one.cpu_share is not None]
    busy = f" The process had {min(shares):.0%} of its threads' time or more." if shares else ""
    ratios = "ratio: ours over the reference measured beside it, median and range; cpu: the same in processor time"
    console.print(f"{note} {ratios}. Medians of {first.n}.{busy}", markup=False)
    return done


def readable(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
