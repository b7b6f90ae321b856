"""Measure what a row costs, against something else measured in the same run on the same machine.

python -m core.bench memory ablations/table_VIII/lst-r4.gin ablations/table_VIII/fine-tune.gin --scale paper --batch 8
python -m core.bench read --batch 1 8 32
python -m core.bench read --model results/runs/<run>/seed0 --data results/data/micro ROW ... --out timing.json
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from core import config
from core.benchmark.memory import footprints, show
from core.benchmark.read import read_costs
from core.benchmark.show import show_costs, show_readings
from core.benchmark.trained import measure_trained
from core.benchmark.words import LENGTHS
from core.checkpoint import load_model
from core.experiment import load
from core.files import write_json
from core.protocol import Protocol

BASELINE = "ablations/table_IX/cross-ar.gin"  # ablations/base.gin and nothing else
READ = """\
Time of reading (encode and decode under a row's protocol) over the image tower's own forward pass, the floor of any
reader made of it; both are measured in turns, so that a slow moment slows both.

Without --model: rows with random weights on made-up images; what they read is dictated, so that its length is known.
With --model: a trained model on test images, in each ROW's way of decoding; words end where the model ends them.
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
    options = parser.parse_args(arguments)
    with config.user_errors():
        options.run(options)


def add_memory(memory: argparse.ArgumentParser) -> None:
    memory.add_argument("rows", nargs="+", metavar="ROW", help="gin files; the last is what the others are compared with")
    memory.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    memory.add_argument("--batch", type=int, default=8, help="images (default: 8)")
    memory.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    memory.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    memory.set_defaults(run=run_memory)


def add_read(read: argparse.ArgumentParser) -> None:
    read.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"gin files, not right after --batch (default without --model: {BASELINE})"
    )
    read.add_argument("--scale", default="paper", help=f"of the rows: one of {', '.join(config.SCALES)} (default: paper)")
    read.add_argument("--batch", type=int, nargs="+", metavar="N", help="images at once (default: 1 8 32; with --model: 32)")
    read.add_argument(
        "--lengths",
        choices=LENGTHS,
        help="of the words dictated: as many letters as the decoder has steps, or as IIIT5K's test words (default: full)",
    )
    read.add_argument("--repeats", type=int, default=5, help="measurements of each, after one that is not counted (default: 5)")
    read.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    read.add_argument("--json", action="store_true", help="JSON, one object a line, instead of a table")
    trained = read.add_argument_group("a trained model")
    trained.add_argument("--model", type=Path, help="run directory, model.safetensors or released checkpoint")
    trained.add_argument("--data", type=Path, help="folder with test/<benchmark>/data.mdb")
    trained.add_argument("--out", type=Path, help="JSON file to write; the stem of each ROW's file is its key")
    trained.add_argument("--images", type=int, help="test images, drawn from all benchmarks together (default: 256)")
    read.set_defaults(run=run_read)


def at_least_one(option: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{option} {value} is below 1")


def run_memory(options: argparse.Namespace) -> None:
    at_least_one("--batch", options.batch)
    found = footprints(options.rows, options.scale, options.batch, options.threads or os.cpu_count() or 1)
    if options.json:
        print(json.dumps({row: asdict(measured) for row, measured in found.items()}))
    else:
        show(found, f"One training step in float32, batch {options.batch}, scale {options.scale}")


def run_read(options: argparse.Namespace) -> None:
    for batch in options.batch or ():
        at_least_one("--batch", batch)
    at_least_one("--repeats", options.repeats)
    at_least_one("--threads", options.threads)
    torch.set_num_threads(options.threads)
    if options.model:
        run_trained(options)
    else:
        run_random(options)


def run_random(options: argparse.Namespace) -> None:
    given = [f"--{name}" for name in ("data", "out", "images") if getattr(options, name) is not None]
    if given:
        raise ValueError(f"{', '.join(given)} goes with a trained model: add --model RUN_DIR")
    costs = []
    for row in options.rows or [BASELINE]:
        for cost in read_costs(row, options.scale, options.batch or [1, 8, 32], options.lengths or "full", options.repeats):
            costs.append(cost)
            if options.json:
                print(json.dumps(asdict(cost)), flush=True)
    if not options.json:
        show_costs(costs)


def run_trained(options: argparse.Namespace) -> None:
    if missing := [name for name in ("--data", "--out") if getattr(options, name[2:]) is None]:
        raise ValueError(f"--model also needs {' and '.join(missing)}")
    if not options.rows:
        raise ValueError("--model needs a ROW, a gin file that says how to decode, e.g. ablations/table_IX/cross-ar.gin")
    if options.lengths:
        raise ValueError(f"--lengths {options.lengths}: a trained model ends its words itself; leave one of the two away")
    if len(options.batch or [32]) > 1:
        raise ValueError(f"--batch {' '.join(map(str, options.batch))}: with --model give one batch size")
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
        ValueError: two files have the same stem.
    """
    protocols: dict[str, Protocol] = {}
    for row in rows:
        if Path(row).stem in protocols:
            raise ValueError(f"{row}: another ROW has the stem {Path(row).stem!r}, the key of the file; rename one of them")
        protocols[Path(row).stem] = load(row, scale).protocol
    return protocols


if __name__ == "__main__":
    main()
