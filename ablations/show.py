"""Prints the plan: rows, runs, price, power, and the assumptions of the estimates."""

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import Progress, track

from ablations.assumptions import Assumptions, read_assumptions
from ablations.calibration import Check, checks
from ablations.column_folders import fillings, strangers
from ablations.device_memory import fits
from ablations.page import (
    assumed,
    calibration_grid,
    columns_grid,
    data_lines,
    lmdbs_grid,
    machine_values,
    memory_grid,
    not_run,
    price_grid,
    price_lines,
    rows_grid,
    same_as_baseline,
    swept,
    trained,
)
from ablations.plan import make, plan_cache
from ablations.plan.plan import Plan
from ablations.plan.settings import WORKFLOW_FILE, checked
from ablations.plan.targets import WHOLE, usual_seeds
from ablations.power import answer, question
from ablations.prerequisites import made_first
from ablations.price import Pace, Pool, configuration, formula, jobs, longest_word, mean_longest
from ablations.row_config import PlanCache, Work, values_digest
from ablations.rows import Row
from ablations.why import tables_asked, why
from core.files import ROOT
from core.runtime.devices import usable

BY_FORMULA = ("paper", "small")  # scales whose hours are estimated from operations where nothing else is asked for
PAPER_GPUS = 8  # Table II
RELEASED_BATCH = 128  # images per GPU of the released code, each batch padded to its own longest word


def run(options: argparse.Namespace) -> None:
    """Print what the options of `ablations.plan` ask for.

    Raises:
        ConfigError: the workflow's settings, a table or a row cannot be used.
    """
    settings = yaml.safe_load((ROOT / WORKFLOW_FILE).read_text())
    given = ("scale", "data", "photos", "photos_train", "results", "replicates")
    settings = checked(settings | {key: value for key in given if (value := getattr(options, key))})
    asked = [options.power] if options.power else options.tables
    if options.why and not asked:
        asked = tables_asked(options.why, Path(settings["results"]))
    settings["seeds"] = settings["seeds"] or usual_seeds(() if asked else WHOLE)
    plan = make(settings, asked or None, published=True)
    if options.why:
        print("\n".join(why(plan, options.why)))
    elif options.power:
        show_power(plan, options)
    else:
        show(plan, settings, options)


def show(plan: Plan, settings: dict, options: argparse.Namespace) -> None:
    """Print rows, price, and what the estimate rests on."""
    console = Console()
    console.width = max(console.width, 120)  # also in a pipe
    first: dict[str, str] = {}
    for table, rows in plan.tables.items():
        console.print(rows_grid(table, rows, plan, first))
    print_lines(console, swept(plan) + same_as_baseline(plan) + not_run(plan) + [*plan.outdated_towers()])
    if not plan.source.published:
        console.print(columns_grid(fillings(plan.layouts, plan.source)))
        if not plan.rendered:
            console.print(lmdbs_grid(plan))
    print_lines(console, strangers(plan.layouts, plan.source) + data_lines(plan))
    assumptions = read_assumptions(options.device, options.devices)
    cache = plan_cache(plan.results)
    estimated = plan.scale in BY_FORMULA or options.device is not None
    works = counted(plan, cache, assumptions) if estimated else {}
    pool = pool_of(options.gpus, estimated and not options.probe)
    pace, notes = paces(plan, options, works, assumptions)
    found, per_run = jobs(plan, pace, assumptions.prediction_bytes), int(settings.get("gpus_per_run", 1))
    console.print(price_grid(plan, found, pool, per_run, options.price))
    print_lines(console, price_lines(plan, found, pool, per_run) + notes + machine_values(plan))
    print_lines(console, made_first(plan, cache, assumptions, estimated))
    if estimated:
        console.print(memory_grid(fits(plan, lambda row: works[row.run], assumptions), assumptions))
    if plan.scale == "paper":
        console.print(calibration_grid(against_table_II(settings, cache, assumptions), assumptions))
    cache.write()
    rows = sum(map(len, plan.tables.values()))
    without, more = rows - len(plan.rows), sum(len(plan.seeds_of(run)) - len(plan.seeds) for run in plan.rows_by_run)
    seeds = f"{len(plan.seeds)} seeds" + (f" and {more} further seeds of baselines" if more else "")
    print(
        f"{rows} rows, {len(plan.rows_by_run)} unique runs x {seeds}, {trained(plan)} of them trained already"
        + (f", {without} rows that cannot be run here" if without else "")
        + (f"; data: {plan.data}" if not plan.source.published else "; no data: runs are named anew once there is some")
    )


def pool_of(asked: int | None, by_formula: bool) -> Pool:
    """The devices that runs share: as many GPUs as the paper's where hours are a formula's, else what this machine has.

    Args:
        asked: of --gpus.

    Raises:
        DeviceError: the machine's GPUs cannot be listed.
    """
    if by_formula:
        return Pool(asked or PAPER_GPUS, "GPU")
    gpus = len(usable())
    return Pool(asked or gpus or os.cpu_count() or 1, "GPU" if gpus else "core")


def print_lines(console: Console, lines: Sequence[str]) -> None:
    """Plain lines, each in one piece, so that a command in one can be copied."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def show_power(plan: Plan, options: argparse.Namespace) -> None:
    """Print how many seeds a difference takes."""
    asked = question(plan, options.power, options.points, options.noise, options.discordant)
    assumptions, cache = read_assumptions(options.device, options.devices), plan_cache(plan.results)
    estimated = plan.scale in BY_FORMULA or options.device is not None
    works = counted(plan, cache, assumptions) if estimated else {}
    pace, notes = paces(plan, options, works, assumptions)
    kind = pool_of(options.gpus, estimated and not options.probe).kind
    left = partial(jobs, pace=pace, prediction_bytes=assumptions.prediction_bytes)
    lines = answer(plan, options.power, asked, left, options.price, kind)
    cache.write()
    print("\n".join(lines + notes))


def paces(
    plan: Plan, options: argparse.Namespace, works: dict[str, Work], assumptions: Assumptions
) -> tuple[Callable[[Row], Pace | None], list[str]]:
    """The pace of every run - measured, counted, or unknown - and what it rests on.

    Args:
        works: operations of every run, where hours are estimated from them.
    """
    if options.probe:
        return probed(plan, options.probe_steps, assumptions)
    if works:
        return lambda row: formula(works[row.run], row.config, assumptions), assumed(assumptions, letters_of(plan, assumptions))
    return unknown, ["Hours: --probe times them here; the formula (--device) is not made for models this small."]


def unknown(row: Row) -> None:
    """No pace."""


def counted(plan: Plan, cache: PlanCache, assumptions: Assumptions) -> dict[str, Work]:
    """The operations of every run's training step and inference, counted now or taken from the cache."""
    return {
        run: work_of(row, plan, cache, assumptions, as_released=False)
        for run, row in track(plan.first_rows.items(), "counting operations", transient=True)
    }


def work_of(row: Row, plan: Plan, cache: PlanCache, assumptions: Assumptions, as_released: bool) -> Work:
    letters, captions = letters_of_row(row, plan, assumptions), assumptions.distinct_captions
    theirs = mean_longest(assumptions.word_lengths, RELEASED_BATCH) if as_released else None

    def count() -> Work:
        from ablations import blueprint  # torch, only where nothing was counted before

        return blueprint.count(row.gin, plan.scale, letters, captions, theirs)

    return cache.work(values_digest([configuration(row), row.config.files, letters, captions, theirs]), count, Work)


def letters_of_row(row: Row, plan: Plan, assumptions: Assumptions) -> int:
    """Letters of the longest word of a step, which all its words are padded to."""
    return longest_word(plan.source, row.config.train_data, row.config.batch, assumptions.word_lengths)


def letters_of(plan: Plan, assumptions: Assumptions) -> list[int]:
    """The longest words of the plan's runs, sorted."""
    return sorted({letters_of_row(row, plan, assumptions) for row in plan.rows})


def against_table_II(settings: dict, cache: PlanCache, assumptions: Assumptions) -> list[Check]:
    """Table II's hours beside the formula's, for the sizes of data that the paper prints."""
    plan = make({**settings, "scale": "paper", "data": None, "replicates": None}, ["table_II"], published=True)
    rows = plan.tables["table_II"]
    works = {
        row.name: work_of(row, plan, cache, assumptions, as_released=True) for row in track(rows, "Table II", transient=True)
    }
    return checks(plan, works, assumptions)


def probed(plan: Plan, steps: int, assumptions: Assumptions) -> tuple[Callable[[Row], Pace], list[str]]:
    """Measured paces, one per distinct configuration."""
    import torch

    from core.bench.probe import WARM_UP, probe
    from core.experiment.experiment import load
    from core.runtime.compute import pick_device

    chosen = {configuration(row): row for row in plan.first_rows.values()}
    device, paces, probes = pick_device(), {}, []
    if device == "cpu":
        torch.set_num_threads(1)  # as the workflow trains, one run a core
    with Progress(transient=True) as bar:
        task = bar.add_task("timing", total=len(chosen) * (steps + WARM_UP))
        for key, row in chosen.items():
            bar.update(task, description=f"timing {row.gin}")
            loaded = load(row.gin, plan.scale)
            letters = letters_of_row(row, plan, assumptions)
            found = probe(loaded, steps=steps, letters=letters, device=device, advance=lambda: bar.advance(task))
            paces[key] = Pace(found.step, found.encode, found.decode)
            probes.append((row.gin, found))
    lines = [f"Hours by --probe on {probes[0][1].device}: {steps} steps of each of {len(chosen)} configurations with nothing "
             "beside it, random weights and images, no loader, words read at full length."]  # fmt: skip
    for gin, found in probes:
        peak = f", {found.peak_bytes / 1e9:.1f} GB at most" if found.peak_bytes else ""
        lines.append(
            f"  {gin}: {found.step:.3g} s a step ({found.fastest:.3g} to {found.slowest:.3g}), {found.passes} passes; "
            f"reading {1e3 * (found.encode + found.decode):.2f} ms an image{peak}"
        )
    return lambda row: paces[configuration(row)], lines
