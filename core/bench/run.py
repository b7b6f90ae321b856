"""The verbs of the bench: measure what the options ask for, and print it as a table or as JSON."""

import argparse
import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from core.bench import captions, profile, scaling
from core.bench.data import data_costs, rendered_words, show_data
from core.bench.index import index_cost, show_index
from core.bench.memory import footprints, show
from core.bench.options import BASELINE
from core.bench.read import read_costs
from core.bench.show import show_costs, show_readings, show_training
from core.bench.train import train_costs
from core.bench.trained import measure_trained
from core.charset import CHARSET_94
from core.data.loading import open_words
from core.errors import UserError
from core.experiment.experiment import load
from core.experiment.protocol import Protocol
from core.files import write_json
from core.weights.checkpoint import load_model


def run_memory(options: argparse.Namespace) -> None:
    found = footprints(options.rows, options.scale, options.batch, options.threads or os.cpu_count() or 1)
    if options.json:
        print(json.dumps({row: asdict(measured) for row, measured in found.items()}))
    else:
        show(found, f"One training step in float32, batch {options.batch}, scale {options.scale}")


def of_rows(costs: Callable[..., Iterator], options: argparse.Namespace, batches: list[int]) -> Iterator:
    """What `train_costs` or `read_costs` finds of every row."""
    lengths, guesses = options.lengths or "full", options.guesses or "right"
    for row in options.rows or [BASELINE]:
        yield from costs(row, options.scale, options.batch or batches, lengths, guesses, options.repeats)


def say_as_found(found: Iterator, options: argparse.Namespace, show: Callable[[list], None]) -> None:
    """JSON as soon as a cost is measured, or a table when all are."""
    costs = []
    for cost in found:
        costs.append(cost)
        if options.json:
            print(json.dumps(asdict(cost)), flush=True)
    if not options.json:
        show(costs)


def run_train(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    costs = functools.partial(train_costs, precision=options.precision)
    say_as_found(of_rows(costs, options, [8]), options, show_training)


def run_read(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    if options.model:
        run_trained(options)
    else:
        say_as_found(of_rows(read_costs, options, [1, 8, 32]), options, show_costs)


def run_data(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        lmdbs = open_words(options.data, CHARSET_94, 25) if options.data else rendered_words(Path(scratch) / "words")
        found = data_costs(
            lmdbs,
            str(options.data or "rendered words"),
            load(BASELINE, "paper").experiment.augment,
            image_size=tuple(options.size),
            batch=options.batch,
            images=options.images,
            repeats=options.repeats,
            workers=options.workers,
        )
        say_as_found(found, options, show_data)


def run_index(options: argparse.Namespace) -> None:
    cost = index_cost(options.labels, options.repeats)
    if options.json:
        print(json.dumps(asdict(cost)))
    else:
        show_index(cost)


def run_trained(options: argparse.Namespace) -> None:
    found = measure_trained(
        load_model(options.model).to("cuda" if torch.cuda.is_available() else "cpu"),
        options.data,
        protocols_of(options.rows, options.scale),
        batch=(options.batch or [32])[0],
        images=options.images or 256,
        repeats=options.repeats,
    )
    write_json(options.out, found)
    if options.json:
        print(json.dumps(found))
    else:
        show_readings(found)
        print(f"written to {options.out}")


def protocols_of(rows: Sequence[str], scale: str) -> dict[str, Protocol]:
    """The protocols of gin files, by the files' stems.

    Raises:
        UserError: two files have the same stem.
    """
    protocols: dict[str, Protocol] = {}
    for row in rows:
        if Path(row).stem in protocols:
            raise UserError(f"{row}: another ROW has the stem {Path(row).stem!r}, the key of the file; rename one of them")
        protocols[Path(row).stem] = load(row, scale).protocol
    return protocols


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {
    "memory": run_memory,
    "read": run_read,
    "train": run_train,
    "scaling": scaling.run,
    "profile": profile.run,
    "data": run_data,
    "index": run_index,
    "captions": captions.run,
}
