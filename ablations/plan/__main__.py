"""The command line of the plan (`python -m ablations.plan`)."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import Progress, track

from ablations.assumptions import DEVICES, Assumptions, read_assumptions
from ablations.calibration import Check, checks
from ablations.columns import fillings, strangers
from ablations.memory import fits
from ablations.page import (
    assumed,
    calibration_grid,
    columns_grid,
    machine_values,
    memory_grid,
    not_run,
    price_grid,
    rows_grid,
    sums,
    trained,
)
from ablations.plan import Plan, make, remembered
from ablations.power import DISCORDANT, answer, question
from ablations.price import Pace, configuration, formula, jobs
from ablations.reading import Memory, Work, digest_of
from ablations.rows import TABLES, Row, table_names
from ablations.why import why
from ablations.words import longest_word, mean_longest
from core import config

RELEASED_BATCH = 128  # images per GPU of the released code, each batch padded to its own longest word


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ablations.plan",
        description="Say what tables would train, before anything starts: rows, the runs they share, what is there already, "
        "and what the rest costs.",
        epilog="At paper scale hours come from the model's own operations; at micro and smoke scale models are too small "
        "for that, so hours need --probe (or --device, to have the formula nevertheless).",
    )
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(table_names())} (default: all)")
    parser.add_argument("--all", action="store_true", help="all tables (the default)")
    parser.add_argument("--scale", help=f"one of {', '.join(config.SCALES)} (default: the workflow's)")
    parser.add_argument("--data", help="folder of real LMDBs (default: the workflow's, or the rendered micro world; "
                        "paper scale without it counts with the sizes the paper prints)")  # fmt: skip
    parser.add_argument("--results", help="folder of results (default: the workflow's)")
    parser.add_argument("--replicates", type=int, metavar="N",
                        help="train the baseline of each table with N seeds (default: the workflow's)")  # fmt: skip
    parser.add_argument("--gpus", type=int, default=8, help="devices that share the runs (default: 8, as in Table II)")
    parser.add_argument("--price", type=float, help="of a GPU-hour, in any currency")
    parser.add_argument("--device", help="what the hours are for, a name in the devices file (default: its own)")
    parser.add_argument("--devices", type=Path, default=DEVICES, help="file of devices and assumptions")
    parser.add_argument("--probe", action="store_true", help="time steps of each distinct configuration on this machine")
    parser.add_argument("--probe-steps", type=int, default=20, metavar="N", help="steps that are timed (default: 20)")
    parser.add_argument("--why", metavar="RUN", help="say why a run would be made again: its name, or table_VI/image0-text6")
    add_power(parser)
    options = parser.parse_args(arguments)
    if options.all and options.tables:
        parser.error("--all is all tables; name some or say --all")
    if (options.power is None) != (options.points is None) or (options.power and options.tables):
        parser.error("--power and --points go together and with no other table: --power table_VI --points 0.5")
    for name in ("gpus", "probe_steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(options, name)}: at least 1")
    for name in ("price", "points", "noise"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            parser.error(f"--{name} {value}: a positive number")
    if not 0 < options.discordant <= 1:
        parser.error(f"--discordant {options.discordant}: a share above 0 and at most 1")
    return options


def add_power(parser: argparse.ArgumentParser) -> None:
    """How many seeds a study needs."""
    group = parser.add_argument_group("power", "how many trainings of each row show a difference, and what they cost")
    group.add_argument("--power", metavar="TABLE", help="the table whose rows are compared with its baseline")
    group.add_argument("--points", type=float, help="difference that is to be shown with 80 %% power, of the table's mean")
    group.add_argument("--noise", type=float, metavar="POINTS", help="standard deviation of one training (default: as measured "
                       "by replicates or seeds of the baseline, else as table.yaml states it)")  # fmt: skip
    group.add_argument("--discordant", type=float, default=DISCORDANT, metavar="SHARE", help="share of test images that "
                       "exactly one of two rows reads: assumed, since nothing is read yet. Rows of 91 %% that misread "
                       "independently of each other have 0.16; rows that misread the same hard images have fewer "
                       f"(default: {DISCORDANT})")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    with config.user_errors():
        settings = yaml.safe_load((TABLES / "workflow.yaml").read_text())
        settings |= {key: value for key in ("scale", "data", "results", "replicates") if (value := getattr(options, key))}
        plan = make(settings, [options.power] if options.power else options.tables or None, published=True)
        if options.why:
            print("\n".join(why(plan, options.why)))
            return
        if options.power:
            show_power(plan, options)
            return
        show(plan, settings, options)


def show(plan: Plan, settings: dict, options: argparse.Namespace) -> None:
    """Print rows, price, and what the estimate rests on."""
    console = Console()
    console.width = max(console.width, 120)  # also in a pipe
    first: dict[str, str] = {}
    for table, rows in plan.tables.items():
        console.print(rows_grid(table, rows, plan, first))
    print_lines(console, not_run(plan))
    if not plan.source.published:
        console.print(columns_grid(fillings(plan.layouts, plan.source)))
    print_lines(console, strangers(plan.layouts, plan.source))
    assumptions = read_assumptions(options.device, options.devices)
    memory = remembered(plan.results)
    estimated = plan.scale == "paper" or options.device is not None
    works = counted(plan, memory, assumptions) if estimated else {}
    pace, notes = paces(plan, options, works, assumptions)
    found, gpus_per_run = jobs(plan, pace, assumptions.prediction_bytes), int(settings.get("gpus_per_run", 1))
    console.print(price_grid(plan, found, options.gpus, gpus_per_run, options.price))
    print_lines(console, sums(plan, found, options.gpus, gpus_per_run) + notes + machine_values(plan))
    if estimated:
        console.print(memory_grid(fits(plan, lambda row: works[row.run], assumptions), assumptions))
    if plan.scale == "paper":
        console.print(calibration_grid(against_table_II(settings, memory, assumptions), assumptions))
    memory.write()
    rows = sum(map(len, plan.tables.values()))
    without, more = rows - len(plan.rows), sum(len(plan.seeds_of(run)) - len(plan.seeds) for run in plan.asked)
    seeds = f"{len(plan.seeds)} seeds" + (f" and {more} further seeds of baselines" if more else "")
    print(
        f"{rows} rows, {len(plan.asked)} unique runs x {seeds}, {trained(plan)} of them trained already"
        + (f", {without} rows that cannot be run here" if without else "")
        + (f"; data: {plan.data}" if not plan.source.published else "; no data: runs are named anew once there is some")
    )


def print_lines(console: Console, lines: Sequence[str]) -> None:
    """Plain lines, each in one piece, so that a command in one can be copied."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def show_power(plan: Plan, options: argparse.Namespace) -> None:
    """Print how many seeds a difference takes."""
    asked = question(plan, options.power, options.points, options.noise, options.discordant)
    assumptions, memory = read_assumptions(options.device, options.devices), remembered(plan.results)
    estimated = plan.scale == "paper" or options.device is not None
    works = counted(plan, memory, assumptions) if estimated else {}
    pace, notes = paces(plan, options, works, assumptions)
    lines = answer(plan, options.power, asked, lambda wanted: jobs(wanted, pace, assumptions.prediction_bytes), options.price)
    memory.write()
    print("\n".join(lines + notes))


def paces(
    plan: Plan, options: argparse.Namespace, works: dict[str, Work], assumptions: Assumptions
) -> tuple[Callable[[Row], Pace | None], list[str]]:
    """The pace of every run - measured, counted, or unknown - and what it rests on.

    Args:
        works: of every run, where hours are estimated from them.
    """
    if options.probe:
        return probed(plan, options.probe_steps, assumptions)
    if works:
        return lambda row: formula(works[row.run], row.reading, assumptions), assumed(
            assumptions, letters_of(plan, assumptions)
        )
    return unknown, ["Hours: --probe times them here; the formula (--device) is not made for models this small."]


def unknown(row: Row) -> None:
    """No pace."""


def counted(plan: Plan, memory: Memory, assumptions: Assumptions) -> dict[str, Work]:
    """What every run's step and reading take, counted now or before."""
    return {
        run: work_of(asking[0][1], plan, memory, assumptions, as_released=False)
        for run, asking in track(plan.asked.items(), "counting operations", transient=True)
    }


def work_of(row: Row, plan: Plan, memory: Memory, assumptions: Assumptions, as_released: bool) -> Work:
    letters, captions = letters_of_row(row, plan, assumptions), assumptions.distinct_captions
    theirs = mean_longest(assumptions.word_lengths, RELEASED_BATCH) if as_released else None

    def count() -> Work:
        from ablations import blueprint  # torch, only where nothing was counted before

        return blueprint.count(row.gin, plan.scale, letters, captions, theirs)

    return memory.work(digest_of([configuration(row), row.reading.files, letters, captions, theirs]), count)


def letters_of_row(row: Row, plan: Plan, assumptions: Assumptions) -> int:
    """Letters of the longest word of a step, which all its words are padded to."""
    return longest_word(plan.source, row.reading.train_data, row.reading.batch, assumptions.word_lengths)


def letters_of(plan: Plan, assumptions: Assumptions) -> list[int]:
    """The longest words of the plan's runs, sorted."""
    return sorted({letters_of_row(row, plan, assumptions) for row in plan.rows})


def against_table_II(settings: dict, memory: Memory, assumptions: Assumptions) -> list[Check]:
    """Table II's hours beside the formula's, for the sizes of data that the paper prints."""
    plan = make({**settings, "scale": "paper", "data": None}, ["table_II"], published=True)
    rows = plan.tables["table_II"]
    works = {
        row.name: work_of(row, plan, memory, assumptions, as_released=True) for row in track(rows, "Table II", transient=True)
    }
    return checks(plan, works, assumptions)


def probed(plan: Plan, steps: int, assumptions: Assumptions) -> tuple[Callable[[Row], Pace], list[str]]:
    """Measured paces, one a distinct configuration."""
    from core.bench.probe import WARM_UP, probe
    from core.experiment.experiment import load
    from core.runtime.compute import pick_device

    chosen = {configuration(asking[0][1]): asking[0][1] for asking in plan.asked.values()}
    device, paces, probes = pick_device(), {}, []
    with Progress(transient=True) as bar:
        task = bar.add_task("timing", total=len(chosen) * (steps + WARM_UP))
        for key, row in chosen.items():
            bar.update(task, description=f"timing {row.gin}")
            loaded = load(row.gin, plan.scale)
            letters = letters_of_row(row, plan, assumptions)
            found = probe(loaded, steps=steps, letters=letters, device=device, advance=lambda: bar.advance(task))
            paces[key] = Pace(found.step, found.encode, found.decode)
            probes.append((row.gin, found))
    lines = [f"Hours by --probe on {probes[0][1].device}: {steps} steps of each of {len(chosen)} configurations, random "
             "weights and images, no loader, words read at full length."]  # fmt: skip
    for gin, found in probes:
        peak = f", {found.peak_bytes / 1e9:.1f} GB at most" if found.peak_bytes else ""
        lines.append(
            f"  {gin}: {found.step:.3g} s a step ({found.fastest:.3g} to {found.slowest:.3g}), {found.passes} passes; "
            f"reading {1e3 * (found.encode + found.decode):.2f} ms an image{peak}"
        )
    return lambda row: paces[configuration(row)], lines


if __name__ == "__main__":
    main()
