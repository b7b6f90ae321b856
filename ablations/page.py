"""The plan's output as text: rows, their cost, and the assumptions of the estimate."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table as Grid

from ablations.assumptions import Assumptions
from ablations.calibration import DEVICES, Check, utilisation
from ablations.column_folders import Filling
from ablations.device_memory import Fit
from ablations.plan.plan import Plan
from ablations.price import Job, Pool, best_gpus_per_run, disk_peak, elapsed
from ablations.progress import missing, run_needs
from ablations.row_config import MACHINE
from ablations.rows import Row
from core.data.benchmarks import BenchmarkFolder
from core.data.lmdb import WHOLE
from core.data.sets import say_copies


def grid(*columns: str, title: str, numbers: slice = slice(0)) -> Grid:
    """A table whose lines are not broken; the columns of `numbers` are aligned to the right."""
    made = Grid(*columns, title=title)
    for column in made.columns:
        column.no_wrap = True
    for column in made.columns[numbers]:
        column.justify = "right"
    return made


def rows_grid(table: str, rows: Sequence[Row], plan: Plan, first: dict[str, str]) -> Grid:
    """One table's rows; `first` remembers which row asked for a run first, over all tables."""
    made = grid("row", "run", "done", "params", "at paper scale", "length", "batch", title=f"{table}, {plan.scale}")
    purposes = run_needs(plan)
    for row in rows:
        config = row.config
        length = f"{config.steps} steps" if config.steps else f"{config.epochs:g} epochs"
        run, done = "not run (see below)" if row.skip_reason else "", "-"
        if row.runnable:
            asked = first.setdefault(row.run, f"{table}/{row.name}")
            run = row.run if asked == f"{table}/{row.name}" else f"as {asked}"
            left = lacks(plan, row.run, purposes)
            done = f"{sum(not lacking.train for lacking in left)}/{len(left)}"
        params, paper = row.counts.encoders_trainable, row.counts_paper.encoders_trainable
        made.add_row(row.name, run, done, f"{params / 1e6:.2f} M", f"{paper / 1e6:.1f} M", length, str(config.batch))
    return made


def not_run(plan: Plan) -> list[str]:
    """Why rows cannot be run here, each reason once with its rows."""
    rows: dict[str, list[str]] = {}
    for table, found in plan.tables.items():
        for row in found:
            if row.skip_reason:
                rows.setdefault(row.skip_reason, []).append(f"{table}/{row.name}")
    return [f"{', '.join(names)}: {reason}" for reason, names in rows.items()]


def swept(plan: Plan) -> list[str]:
    """Where the rows of sweeps lie, and which of them are another row."""
    lines = []
    for table, layout in plan.layouts.items():
        if layout.sweeps:
            count = sum(len(sweep.points) for sweep in layout.sweeps)
            same = "".join(f"; {name} is the row {row} itself" for name, row in plan.doubles[table].items())
            lines.append(f"{table}: its sweep spans {count} rows, in {plan.results / 'sweeps' / plan.scale / table}{same}")
    return lines


def columns_grid(found: Sequence[Filling]) -> Grid:
    """Which folder fills each column, with its stored images beside the published ones, or why none does."""
    made = grid("column", "tables", "images", "published", "filled by", title="what fills the columns", numbers=slice(2, 4))
    made.columns[-1].no_wrap = False
    for filling in found:
        tables = " ".join(table.removeprefix("table_") for table in filling.tables)
        stored = "-" if filling.reason else f"{filling.stored:,}"
        made.add_row(filling.column, tables, stored, f"{filling.published:,}" if filling.published else "", filling.filled_by)
    return made


def lmdbs_of(plan: Plan) -> dict[str, list[BenchmarkFolder]]:
    """The LMDBs of every set that rows train on or are tested on, by set."""
    return plan.source.lmdbs(sorted({name for row in plan.rows for name in row.config.train_data}))


def lmdbs_grid(plan: Plan) -> Grid:
    """Every LMDB that is read, with its stored images."""
    made = grid("set", "LMDB", "images", title="what is read", numbers=slice(2, None))
    for name, found in lmdbs_of(plan).items():
        for lmdb in found:
            below = lmdb.path.relative_to(plan.data / name).as_posix()
            made.add_row(name, "" if below == WHOLE else below, lmdb.problem and "cannot be read" or f"{lmdb.stored:,}")
    return made


def data_lines(plan: Plan) -> list[str]:
    """What is wrong with the LMDBs that are read: those that cannot be opened, and copies inside a set."""
    found = lmdbs_of(plan).values()
    problems = [lmdb.problem for lmdbs in found for lmdb in lmdbs if lmdb.problem]
    return [*problems, *(line for lmdbs in found for line in say_copies(lmdb.path for lmdb in lmdbs))]


def same_as_baseline(plan: Plan) -> list[str]:
    """Rows whose files change nothing at this scale: the baseline's run, scored as the baseline is."""
    lines = []
    for table, rows in plan.tables.items():
        asked = {row.name: (row.run, row.evaluation, row.config.output) for row in rows if row.runnable}
        baseline = plan.layouts[table].baseline
        for name in asked:
            if name != baseline and asked[name] == asked.get(baseline):
                lines.append(
                    f"{table}/{name} trains and is scored exactly as the baseline {baseline}: its file changes nothing here"
                )
    return lines


def lacks(plan: Plan, run: str, purposes: dict) -> list:
    return [missing(plan.seed_folder(run, seed), purposes[run], seed == plan.seeds[0]) for seed in plan.seeds_of(run)]


def trained(plan: Plan) -> int:
    """Runs and seeds that would not be trained."""
    purposes = run_needs(plan)
    return sum(not lacking.train for run in plan.rows_by_run for lacking in lacks(plan, run, purposes))


def price_grid(plan: Plan, found: list[Job], pool: Pool, per_run: int, price: float | None) -> Grid:
    """One line per table and one for all: missing runs, steps, images, hours, wall clock, disk."""
    columns = ["table", "rows", "runs", "cached", "steps", "images"]
    columns += [f"train {pool.kind}-h", f"read {pool.kind}-h", f"hours on {pool}", "disk"]
    made = grid(*columns, *(["price"] if price else []), title=f"what is left to do, {plan.scale}", numbers=slice(1, None))
    first: dict[str, str] = {}
    for run, asking in plan.rows_by_run.items():
        first[run] = asking[0][0]
    purposes = run_needs(plan)
    for table, rows in plan.tables.items():
        own = [run for run, asked in first.items() if asked == table]
        cached = sum(not lacking.train for run in own for lacking in lacks(plan, run, purposes))
        mine = [job for job in found if job.table == table]
        made.add_row(table, str(len(rows)), str(len(own)), str(cached), *figures(mine, pool, per_run, price))
    made.add_section()
    rows = sum(map(len, plan.tables.values()))
    made.add_row("all", str(rows), str(len(first)), str(trained(plan)), *figures(found, pool, per_run, price))
    return made


def figures(found: list[Job], pool: Pool, per_run: int, price: float | None) -> list[str]:
    train, read = (total(getattr(job, name) for job in found) for name in ("train_hours", "read_hours"))
    wall = elapsed(found, pool.count, per_run)
    cells = [f"{sum(job.steps for job in found):,}", count(sum(job.images for job in found))]
    cells += [hours(train), hours(read), hours(wall), size(sum(job.kept_bytes for job in found))]
    if price:
        cells.append("-" if train is None or read is None else f"{(train + read) * price:,.0f}")
    return cells


def total(numbers) -> float | None:
    numbers = list(numbers)
    return None if None in numbers else sum(numbers)


def hours(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 or number == 0 else f"{number:.2g}"


def count(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number:,}"


def size(number: float) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


def price_lines(plan: Plan, found: list[Job], pool: Pool, per_run: int) -> list[str]:
    """The lines below the price grid: the basis of the estimate."""
    shared = f", {per_run} per run," if per_run > 1 else ""
    lines = ["A run that tables share counts in the first; cached runs are those that would not be trained."]
    if all(job.hours is not None for job in found):
        longest = max((job.hours / per_run for job in found), default=0.0)
        lines.append(
            f"Wall clock: each run goes to the first free of {pool}{shared}, in this order; the longest takes "
            f"{hours(longest)} h, and with nothing idle it would be {hours(sum(job.hours for job in found) / pool.count)} h."
        )
        lines += advice(found, pool.count, per_run) if pool.kind == "GPU" else []
    at_once = max(1, pool.count // per_run)
    peak = size(disk_peak(found, at_once))
    lines.append(f"Disk: what stays (weights, predictions); with the states of {at_once} runs at work at most {peak}.")
    lines.append(f"Sizes of data sets: {plan.source.sizes_from}.")
    return lines


def advice(found: Sequence[Job], gpus: int, gpus_per_run: int) -> list[str]:
    """Another `gpus_per_run` where the longest run, not the work as a whole, decides the wall clock."""
    longest = max(found, key=lambda job: job.hours, default=None)
    if longest is None or longest.hours / gpus_per_run <= sum(job.hours for job in found) / gpus:
        return []
    now, better = elapsed(found, gpus, gpus_per_run), best_gpus_per_run(found, gpus)
    text = f"One run decides the wall clock: {longest.table}/{longest.row} takes {hours(longest.hours / gpus_per_run)} h"
    if better == gpus_per_run:
        return [f"{text}; no other gpus_per_run of {gpus} GPUs is faster."]
    with_it = hours(elapsed(found, gpus, better))
    return [
        f"{text}. --config gpus_per_run={better}: {with_it} h instead of {hours(now)} h, where GPUs share a run without loss."
    ]


def machine_values(plan: Plan) -> list[str]:
    """The settings of the machine that change no result, with the number of runs where they differ; empty without runs."""
    configs = [row.config for row in plan.first_rows.values()]
    settings = []
    for name in MACHINE:
        values = Counter(str(config.machine[name]) for config in configs)
        settings.append(
            f"{name} " + ", ".join(f"{value} ({runs} runs)" if len(values) > 1 else value for value, runs in values.items())
        )
    return [f"Set to, deciding no result: {'; '.join(settings)}."] if configs else []


def memory_grid(found: Sequence[Fit], assumptions: Assumptions) -> Grid:
    """The device memory that a training step of each run needs, as a grid."""
    device = assumptions.device
    usable = f"{assumptions.usable_memory * device.memory_gb:.0f} of {device.memory_gb:g} GB usable"
    title = f"memory of a training step on {device.name}: {usable}"
    columns = ("runs", "DEVICE_BATCH", "weights, AdamW", "activations", "all", "verdict")
    made = grid(*columns, title=title, numbers=slice(1, 5))
    for fit in found:
        others = f" and {len(fit.runs) - 1} more" if len(fit.runs) > 1 else ""
        sizes = (f"{number / 1e9:.1f} GB" for number in (fit.fixed, fit.images, fit.total))
        made.add_row(f"{fit.runs[0]}{others}", str(fit.device_batch), *sizes, fit.verdict)
    return made


def assumed(assumptions: Assumptions, letters: Sequence[int]) -> list[str]:
    """The formula's assumptions.

    Args:
        letters: lengths of the steps' longest words, sorted.
    """
    device = assumptions.device
    peaks = ", ".join(f"{'float32' if name == 'no' else name} {peak / 1e12:g}" for name, peak in device.peak.items())
    return [
        f"Hours by formula: operations / (peak x utilisation) on {device.name} ({peaks} x 10^12 a second), utilisation "
        f"{assumptions.utilisation:g} from Table II's hours; longest word of a step {' or '.join(map(str, letters))} letters, "
        f"{assumptions.distinct_captions:g} of the captions distinct, words read at full length. --probe measures instead."
    ]


def calibration_grid(found: list[Check], assumptions: Assumptions) -> Grid:
    """Table II's hours beside the estimate."""
    name = assumptions.paper_device.name
    made = grid(
        *("row", "images", "GFLOP/image", "printed h", "estimated h", "ratio", "utilisation", "this code h"),
        title=f"Table II: training hours on {DEVICES} {name}",
        numbers=slice(1, None),
    )
    for check in found:
        made.add_row(
            *(check.row, count(check.images), f"{check.work.released / 1e9:,.0f}", f"{check.printed:.1f}"),
            *(f"{check.estimated:.1f}", f"{check.ratio:.2f}", f"{check.utilisation:.3f}", f"{check.ours:.1f}"),
        )
    made.caption = (
        f"as the released code computes; the three rows' utilisations have the geometric mean {utilisation(found):.3f}, "
        f"the estimate uses {assumptions.utilisation:g}"
    )
    return made
