"""Measure what a row costs, against something else measured in the same run on the same machine.

python -m core.bench memory ablations/table_VIII/lst-r4.gin ablations/table_VIII/fine-tune.gin --scale paper --batch 8
python -m core.bench read --batch 1 8 32
python -m core.bench train --lengths typical
python -m core.bench profile train
python -m core.bench data --data data/train/real
python -m core.bench index --labels 3300000
python -m core.bench captions
python -m core.bench read --model results/runs/<run>/seed0 --data results/data/micro ROW ... --out timing.json
"""

import argparse
import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from core import config
from core.bench import captions, profile, scaling
from core.bench.data import data_costs, rendered_words, show_data
from core.bench.dictation import GUESSES
from core.bench.index import LABELS, index_cost, show_index
from core.bench.memory import footprints, show
from core.bench.read import read_costs
from core.bench.show import show_costs, show_readings, show_training
from core.bench.train import train_costs
from core.bench.trained import measure_trained
from core.bench.words import LENGTHS
from core.charset import CHARSET_94
from core.data.loading import open_words
from core.errors import UserError, user_errors
from core.experiment.experiment import load
from core.experiment.protocol import Protocol
from core.files import write_json
from core.runtime.precision import DTYPES
from core.weights.checkpoint import load_model

BASELINE = "ablations/table_IX/cross-ar.gin"  # ablations/base.gin and nothing else
READ = """\
Time of reading (encode and decode under a row's protocol) over the image tower's own forward pass, the floor of any
reader made of it; both are measured in turns, so that a slow moment slows both.

Without --model: rows with random weights on made-up images; what they read is dictated, so that its length is known.
With --model: a trained model on test images, in each ROW's way of decoding; words end where the model ends them.
"""
TRAIN = """\
Time of a training step (losses over all orders, gradients, clipping, optimiser) over the image tower's own forward and
backward pass, measured in turns. Random weights and images; the row's own recipe, whatever its batch and precision.
"""
DATA = """\
From LMDB to tensor: decoded, augmented as published, resized. Beside it the released loader's steps, in turns on the
same images. Images a second are of one core, in its processor time; with --workers of all of them, by the clock.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure rows on this machine, in one run.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="WHAT")
    add_memory(verbs.add_parser("memory", help="memory of a training step, and what of it waits for the backward pass"))
    add_read(
        verbs.add_parser(
            "read",
            help="time of reading over the image tower's own",
            description=READ,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    add_train(verbs.add_parser("train", help="time of a training step over the image tower's own", description=TRAIN))
    grows = "how cost grows with batch, word length, orders, layers, patches, images"
    scaling.add_arguments(verbs.add_parser("scaling", help=grows), BASELINE)
    parts = "where the time of reading or of a training step goes"
    profile.add_arguments(verbs.add_parser("profile", help=parts, description=profile.DESCRIPTION), BASELINE)
    add_data(verbs.add_parser("data", help="training images a second, beside the released loader's", description=DATA))
    add_index(verbs.add_parser("index", help="time to open millions of labels, with and without their index"))
    tokens = "time from predicted characters to the text tower's tokens, beside open_clip's tokenizer word by word"
    captions.add_arguments(verbs.add_parser("captions", help=tokens, description=captions.DESCRIPTION))
    options = parser.parse_args(arguments)
    with user_errors():
        options.run(options)


def add_memory(memory: argparse.ArgumentParser) -> None:
    memory.add_argument("rows", nargs="+", metavar="ROW", help="gin files; the last is what the others are compared with")
    memory.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    memory.add_argument("--batch", type=int, default=8, help="images (default: 8)")
    memory.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    memory.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    memory.set_defaults(run=run_memory)


def add_read(read: argparse.ArgumentParser) -> None:
    add_setting(read, f"default without --model: {BASELINE}", "default: 1 8 32; with --model: 32")
    trained = read.add_argument_group("a trained model")
    trained.add_argument("--model", type=Path, help="run directory, model.safetensors or released checkpoint")
    trained.add_argument("--data", type=Path, help="folder with test/<benchmark>/data.mdb")
    trained.add_argument("--out", type=Path, help="JSON file to write; the stem of each ROW's file is its key")
    trained.add_argument("--images", type=int, help="test images, drawn from all benchmarks together (default: 256)")
    read.set_defaults(run=run_read)


def add_train(train: argparse.ArgumentParser) -> None:
    add_setting(train, f"default: {BASELINE}", "default: 8")
    train.add_argument("--precision", choices=DTYPES, default="no", help="of tower and step alike (default: no, float32)")
    train.set_defaults(run=run_train)


def add_setting(verb: argparse.ArgumentParser, rows: str, batch: str) -> None:
    """What rows are measured on: words, batch, repeats, threads."""
    verb.add_argument("rows", nargs="*", metavar="ROW", help=f"gin files, not right after --batch ({rows})")
    verb.add_argument("--scale", default="paper", help=f"of the rows: one of {', '.join(config.SCALES)} (default: paper)")
    verb.add_argument("--batch", type=int, nargs="+", metavar="N", help=f"images at once ({batch})")
    verb.add_argument(
        "--lengths",
        choices=LENGTHS,
        help="of the words dictated: as many letters as the decoder has room for, or as IIIT5K's test words (default: full)",
    )
    verb.add_argument(
        "--guesses",
        choices=GUESSES,
        help="whether what is read before agrees in every word (first guess, other branch, orders), or in no letter "
        "(default: right)",
    )
    verb.add_argument("--repeats", type=int, default=5, help="measurements of each, after one that is not counted (default: 5)")
    verb.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    verb.add_argument("--json", action="store_true", help="JSON, one object a line, instead of a table")


def add_data(data: argparse.ArgumentParser) -> None:
    data.add_argument("--data", type=Path, help="folder with data.mdb in it or below it (default: words rendered on the spot)")
    data.add_argument("--size", type=int, nargs=2, default=(224, 224), metavar=("H", "W"), help="of tensors (default: 224 224)")
    data.add_argument("--batch", type=int, default=32, help="images (default: 32)")
    data.add_argument("--images", type=int, default=256, help="of a measurement, drawn at random (default: 256)")
    data.add_argument("--repeats", type=int, default=5, help="measurements of each, after one that is not counted (default: 5)")
    data.add_argument("--workers", type=int, default=0, help="loader processes (default: 0, one core in this process)")
    data.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    data.add_argument("--json", action="store_true", help="JSON, one object a line, instead of a table")
    data.set_defaults(run=run_data)


def add_index(index: argparse.ArgumentParser) -> None:
    index.add_argument("--labels", type=int, default=LABELS, help="in the temporary database (default: %(default)s)")
    index.add_argument("--repeats", type=int, default=3, help="measurements; the middle one counts (default: 3)")
    index.add_argument("--json", action="store_true", help="one JSON object instead of a sentence")
    index.set_defaults(run=run_index)


def at_least_one(option: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{option} {value} is below 1")


def run_memory(options: argparse.Namespace) -> None:
    at_least_one("--batch", options.batch)
    found = footprints(options.rows, options.scale, options.batch, options.threads or os.cpu_count() or 1)
    if options.json:
        print(json.dumps({row: asdict(measured) for row, measured in found.items()}))
    else:
        show(found, f"One training step in float32, batch {options.batch}, scale {options.scale}")


def set_up(options: argparse.Namespace) -> None:
    for batch in options.batch or ():
        at_least_one("--batch", batch)
    at_least_one("--repeats", options.repeats)
    at_least_one("--threads", options.threads)
    torch.set_num_threads(options.threads)


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
    set_up(options)
    costs = functools.partial(train_costs, precision=options.precision)
    say_as_found(of_rows(costs, options, [8]), options, show_training)


def run_read(options: argparse.Namespace) -> None:
    set_up(options)
    if options.model:
        run_trained(options)
    else:
        run_random(options)


def run_data(options: argparse.Namespace) -> None:
    for name in ("batch", "images", "repeats", "threads"):
        at_least_one(f"--{name}", getattr(options, name))
    at_least_one("--size", min(options.size))
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
    at_least_one("--labels", options.labels)
    at_least_one("--repeats", options.repeats)
    cost = index_cost(options.labels, options.repeats)
    if options.json:
        print(json.dumps(asdict(cost)))
    else:
        show_index(cost)


def run_random(options: argparse.Namespace) -> None:
    given = [f"--{name}" for name in ("data", "out", "images") if getattr(options, name) is not None]
    if given:
        raise UserError(f"{', '.join(given)} goes with a trained model: add --model RUN_DIR")
    say_as_found(of_rows(read_costs, options, [1, 8, 32]), options, show_costs)


def run_trained(options: argparse.Namespace) -> None:
    if missing := [name for name in ("--data", "--out") if getattr(options, name[2:]) is None]:
        raise UserError(f"--model also needs {' and '.join(missing)}")
    if not options.rows:
        raise UserError("--model needs a ROW, a gin file that says how to decode, e.g. ablations/table_IX/cross-ar.gin")
    for name in ("lengths", "guesses"):
        if given := getattr(options, name):
            raise UserError(f"--{name} {given}: a trained model ends its words itself; leave one of the two away")
    if len(options.batch or [32]) > 1:
        raise UserError(f"--batch {' '.join(map(str, options.batch))}: with --model give one batch size")
    images = 256 if options.images is None else options.images
    at_least_one("--images", images)
    found = measure_trained(
        load_model(options.model).to("cuda" if torch.cuda.is_available() else "cpu"),
        options.data,
        protocols_of(options.rows, options.scale),
        batch=(options.batch or [32])[0],
        images=images,
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


if __name__ == "__main__":
    main()
