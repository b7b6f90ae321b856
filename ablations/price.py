"""The cost of a plan: operations, hours, disk space, and the wall-clock time on N devices.

Hours come from a pace (seconds per step), either estimated as operations / (peak x utilisation) or measured by --probe. The
optimiser, the loader and writing files are part of the utilisation, which was fitted to whole trainings
(`ablations.calibration`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import NamedTuple

from ablations.assumptions import Assumptions
from ablations.plan.plan import Plan
from ablations.progress import Missing, missing, run_needs
from ablations.row_config import RowConfig, Work
from ablations.rows import Row
from ablations.source import Source
from core.data.lmdb import sample_labels
from core.data.sets import train_roots
from core.errors import UserError
from core.run_files import saved_states

HOUR = 3600
CLOSE = 1.05  # wall clocks that are as good as each other
SAMPLE = 5000  # labels of a training set that are looked at


class Pool(NamedTuple):
    """The devices that runs share: GPUs, or the cores of a machine without any."""

    count: int
    kind: str  # "GPU" or "core"

    def __str__(self) -> str:
        return f"{self.count} {self.kind}{'s'[: self.count - 1]}"


@dataclass(frozen=True)
class Pace:
    """Seconds of a training step, and of reading one image: the image tower, and each way of decoding."""

    step: float
    encode: float
    decode: float


@dataclass(frozen=True)
class Job:
    """One run and seed that is not (wholly) there: what is to be done, and what it takes.

    Args:
        table, row: which asked first.
        steps, images: training steps and images; 0 if the model is there.
        train_hours, read_hours: on one device; None where there is no pace.
        kept_bytes: weights and predictions that stay.
        state_bytes: of one resumable state, gone when the run is over.
    """

    table: str
    row: str
    run: str
    seed: int
    steps: int
    images: int
    train_hours: float | None
    read_hours: float | None
    kept_bytes: float
    state_bytes: float

    @property
    def hours(self) -> float | None:
        return None if self.train_hours is None or self.read_hours is None else self.train_hours + self.read_hours


def formula(work: Work, config: RowConfig, assumptions: Assumptions) -> Pace:
    """The pace that operations, the device's peak at the precision in use and the utilisation make."""
    training = assumptions.device.peak[config.precision] * assumptions.utilisation
    testing = assumptions.device.peak[config.test_precision] * assumptions.utilisation
    return Pace(work.train * config.batch / training, work.encode / testing, work.decode / testing)


def configuration(row: Row) -> str:
    """The settings that decide how long training steps and inference take; rows with equal ones are timed once.

    Rows that differ in data, weights file or seed alone take the same time.
    """
    config = row.config
    same = ("train_data", "TRAIN_DATA", "WEIGHTS", ".weights", "EPOCHS", ".epochs", "TRAIN_STEPS", ".steps")
    lines = [line for line in config.operative.splitlines() if not line.split("=")[0].strip().endswith(same)]
    return "\n".join(line for line in lines if line.strip() and not line.startswith("#"))


def jobs(plan: Plan, pace: Callable[[Row], Pace | None], prediction_bytes: float) -> list[Job]:
    """Everything the plan would still make, in its order; a run that tables share belongs to the first."""
    asked, purposes, found = plan.rows_by_run, run_needs(plan), []
    for run, asking in asked.items():
        table, row = asking[0]
        for seed in plan.seeds_of(run):
            lacking = missing(plan.seed_folder(run, seed), purposes[run], seed == plan.seeds[0])
            if not lacking.nothing:
                found.append(job_of(plan, table, row, seed, lacking, pace(row), prediction_bytes))
    return found


def steps_left(plan: Plan, row: Row, seed: int) -> int:
    """The steps of a row's training that are still to be made: from its last saved state, if it was interrupted."""
    config, states = row.config, saved_states(plan.seed_folder(row.run, seed))
    made = int(states[-1].name.removeprefix("step-")) if states else 0
    return max(1, config.total_steps(plan.source.train_images(config.train_data)) - made)


def job_of(plan: Plan, table: str, row: Row, seed: int, lacking: Missing, pace: Pace | None, prediction_bytes: float) -> Job:
    config, source = row.config, plan.source
    steps = steps_left(plan, row, seed) if lacking.train else 0
    ways = len(lacking.evaluations)
    tests = source.test_images() if ways else 0
    validations = -(-steps // config.validate_every) * source.validation_images()
    train_hours = read_hours = None
    if pace is not None:
        train_hours = (steps * pace.step + validations * (pace.encode + pace.decode)) / HOUR
        read_hours = tests * (pace.encode + ways * pace.decode) / HOUR
    return Job(
        table=table,
        row=row.name,
        run=row.run,
        seed=seed,
        steps=steps,
        images=steps * config.batch,
        train_hours=train_hours,
        read_hours=read_hours,
        kept_bytes=(config.kept_bytes if lacking.train else 0) + tests * ways * prediction_bytes,
        state_bytes=config.state_bytes if lacking.train else 0,
    )


def wall_clock(hours: Iterable[float], slots: int) -> float:
    """When the last job ends if each goes to the slot that is free first, in the order given (list scheduling)."""
    ends = [0.0] * slots
    heapify(ends)
    for duration in hours:
        heapreplace(ends, ends[0] + duration)
    return max(ends)


def elapsed(found: Sequence[Job], devices: int, per_run: int) -> float | None:
    """Hours until all jobs are done on so many devices, `per_run` of them a run, shared without loss.

    Raises:
        UserError: a run does not fit.
    """
    if not 1 <= per_run <= devices:
        raise UserError(f"--gpus {devices} are fewer than the {per_run} of gpus_per_run")
    if any(job.hours is None for job in found):
        return None
    return wall_clock((job.hours / per_run for job in found), devices // per_run)


def best_gpus_per_run(found: Sequence[Job], gpus: int) -> int:
    """The fewest devices per run with which the wall clock is within 5 % of the shortest; they divide every run's batch."""
    batches = [job.images // job.steps for job in found if job.steps]
    possible = [n for n in range(1, gpus + 1) if gpus % n == 0 and all(batch % n == 0 for batch in batches)]
    clocks = {n: elapsed(found, gpus, n) for n in possible}
    return min(n for n, clock in clocks.items() if clock <= CLOSE * min(clocks.values()))


def disk_peak(found: Sequence[Job], at_once: int) -> float:
    """Bytes at the most: what stays, and two states (the new one beside the old) of the largest runs at once."""
    states = sorted((job.state_bytes for job in found), reverse=True)[:at_once]
    return sum(job.kept_bytes for job in found) + 2 * sum(states)


def longest_word(source: Source, names: Sequence[str], images: int, assumed: Sequence[int]) -> int:
    """Letters of the longest of `images` words of training sets, on average.

    Args:
        assumed: number of words with 1, 2, 3, ... letters, used if there is no data to count.
    """
    if source.world is not None:
        return source.world.max_letters
    return mean_longest(assumed if source.published else word_lengths(source, names), images)


def word_lengths(source: Source, names: Sequence[str]) -> list[int]:
    """How many labels in a sample of the training sets have 1, 2, 3, ... letters; computed once per source."""
    key = tuple(names)
    if key not in source.word_lengths:
        words = [len(label) for label in sample_labels(train_roots(source.root, names), SAMPLE)]
        source.word_lengths[key] = [words.count(letters) for letters in range(1, max(words, default=1) + 1)]
    return source.word_lengths[key]


def mean_longest(counts: Sequence[int], words: int) -> int:
    """The mean of the longest of so many independent words, rounded to whole letters; 1 where there are no counts.

    The longest has at least k letters unless all words are shorter: the mean is the sum over k of 1 - P(shorter) ** words.
    """
    total, shorter, mean = sum(counts), 0, 0.0
    for number in counts:
        mean += 1 - (shorter / total) ** words if total else 0.0
        shorter += number
    return max(1, round(mean))
