"""Measure what a row costs, against something else measured in the same run on the same machine.

python -m core.bench memory ablations/table_VIII/lst-r4.gin ablations/table_VIII/fine-tune.gin --scale paper --batch 8
python -m core.bench read --batch 1 8 32
python -m core.bench train --lengths typical
python -m core.bench profile train
python -m core.bench waits --guesses wrong
python -m core.bench data --data data/train/real
python -m core.bench index --labels 3300000
python -m core.bench captions
python -m core.bench scaling --out scaling.json
python -m core.bench read --model results/runs/<run>/seed0 --data my-world ROW ... --out timing.json
"""

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from core.bench.words import GUESSES, LENGTHS
from core.choices import PRECISIONS
from core.cli import add_json, add_scale, add_threads, at_least
from core.errors import user_errors

BASELINE = "ablations/table_IX/cross-ar.gin"  # ablations/base.gin and nothing else
LABELS = 3_300_000  # of Real(3.3M), section IV-A
VERBS = {  # a module each; the first sentence is the help of the list
    "memory": "memory of a training step, and what of it waits for the backward pass",
    "read": """\
time of reading over the image tower's own forward pass

Reading is encode and decode under a row's protocol. Both are measured in turns, so that a slow moment slows both.

Without --model: rows with random weights on made-up images; what they read is forced, so that its length is known.
With --model: a trained model on test images, in each ROW's way of decoding; words end where the model ends them.
""",
    "train": """\
time of a training step over the image tower's own forward and backward pass

A step is losses over all orders, gradients, clipping, optimiser. Random weights and images; the row's own recipe, whatever its
batch and precision.
""",
    "waits": """\
where the host waits for the device in a training step and in a reading

A wait leaves a GPU without work. Without a GPU the operations that would wait on one are counted.
""",
    "scaling": "how cost grows with batch, word length, orders, layers, patches, images",
    "profile": """\
milliseconds of every part of reading, or of a training step, over the image tower's own pass

With random weights and images; what is read is forced, and guesses are right.
""",
    "data": """\
training images per second, beside the released loader's

From LMDB to tensor: decoded, augmented as published, resized; in turns on the same images. Images per second are those of one
core, in its processor time; with --workers of all of them, by the clock.
""",
    "index": "time to open millions of labels, with and without their index",
    "captions": """\
time from predicted characters to the text tower's tokens, beside open_clip's tokenizer word by word

For words as long as IIIT5K's and of 25 letters, met for the first time (cold) or before (warm).
""",
}
OPTIONS = {  # what several verbs have; each gives its own default
    "row": {"nargs": "?", "metavar": "ROW", "help": "gin file"},
    "rows": {"nargs": "*", "metavar": "ROW", "help": "gin files, not right after --batch"},
    "--batch": {"type": at_least(1), "metavar": "N", "help": "images at once"},
    "--lengths": {
        "choices": LENGTHS,
        "help": "length of the forced words: as many letters as the decoder has room for, or as IIIT5K's test words have",
    },
    "--guesses": {
        "choices": GUESSES,
        "help": "whether earlier readings (first guess, other branch, orders) agree in every word or in no letter",
    },
    "--repeats": {"type": at_least(1), "help": "measurements of each, after one that is not counted (on a GPU three)"},
    "--precision": {"choices": PRECISIONS, "help": "precision of tower and the rest alike; no is float32"},
    "--images": {"type": at_least(1), "help": "images of one measurement, drawn at random"},
}


def add(verb: argparse.ArgumentParser, name: str, default: object, changes: dict | None = None) -> None:
    """One of OPTIONS; its help ends with the default."""
    settings = OPTIONS[name] | (changes or {})
    shown = " ".join(map(str, default)) if isinstance(default, list) else default
    about = settings["help"] if default in (None, []) else f"{settings['help']} (default: {shown})"
    verb.add_argument(name, **settings | {"default": default, "help": about})


def parser() -> argparse.ArgumentParser:
    """One sub-command per verb."""
    top = argparse.ArgumentParser(prog="python -m core.bench", description="Measure rows on this machine, in one run.")
    commands = top.add_subparsers(dest="verb", required=True, metavar="WHAT")
    raw = argparse.RawDescriptionHelpFormatter
    verbs = {
        name: commands.add_parser(name, help=about.splitlines()[0], description=about, formatter_class=raw)
        for name, about in VERBS.items()
    }
    memory, read, train, waits, scaling, profile, data, index, captions = verbs.values()
    memory.add_argument("rows", nargs="+", metavar="ROW", help="gin files; the last is what the others are compared with")
    add_reading_options(read, train)
    for name, default in (("rows", [BASELINE]), ("--lengths", "typical"), ("--guesses", "right")):
        add(waits, name, default)
    add(waits, "--batch", [8], {"nargs": "+"})
    profile.add_argument("what", choices=("read", "train"), help="reading, or a training step")
    for verb in (scaling, profile):
        add(verb, "row", BASELINE)
    scaling.add_argument("--out", type=Path, help="JSON file to write, which python -m reports.figures scaling draws")
    add(profile, "--lengths", "full")
    add(profile, "--precision", "no")
    add_data_options(data)
    about = "labels in the temporary database (default: %(default)s)"
    index.add_argument("--labels", type=at_least(1), default=LABELS, help=about)
    about = "number of words (default: 768, of 128 images under 6 orders)"
    captions.add_argument("--captions", type=at_least(1), default=768, help=about)
    for verb, scale in (
        (memory, "micro"),
        (read, "paper"),
        (train, "paper"),
        (waits, "paper"),
        (scaling, "micro"),
        (profile, "paper"),
    ):
        add_scale(verb, scale)
    for verb, batch in ((memory, 8), (profile, 8), (data, 32)):
        add(verb, "--batch", batch)
    for verb, repeats in ((read, 5), (train, 5), (scaling, 5), (profile, 5), (data, 5), (index, 3), (captions, 7)):
        add(verb, "--repeats", repeats)
    for verb, threads in ((memory, 0), (read, 2), (train, 2), (waits, 2), (scaling, 2), (profile, 2), (data, 1)):
        add_threads(verb, threads)
    for verb in (index, captions):
        verb.set_defaults(threads=1)
    for verb in verbs.values():
        add_json(verb, "one JSON object per line")
    return top


def add_reading_options(read: argparse.ArgumentParser, train: argparse.ArgumentParser) -> None:
    """Add the options for rows with random weights; `parsed` sets the defaults of `read`, which depend on --model."""
    for verb in (read, train):
        add(verb, "rows", [BASELINE] if verb is train else [])
        add(verb, "--batch", [8] if verb is train else None, {"nargs": "+"})
        add(verb, "--lengths", "full" if verb is train else None)
        add(verb, "--guesses", "right" if verb is train else None)
    read.description += f"\nDefaults: {BASELINE}, full words, right guesses, batch 1 8 32; with --model batch 32.\n"
    group = read.add_argument_group("a trained model")
    group.add_argument("--model", type=Path, help="run directory, model.safetensors or released checkpoint")
    group.add_argument("--data", type=Path, help="folder with test/<benchmark>/data.mdb")
    group.add_argument("--out", type=Path, help="JSON file to write, with one key per ROW (its file's stem)")
    add(group, "--images", None, {"help": "test images, drawn from all benchmarks together (default: 256)"})
    add(read, "--precision", None, {"help": "precision of tower and reading alike (default: that of the row's protocol)"})
    add(train, "--precision", "no")


def add_data_options(data: argparse.ArgumentParser) -> None:
    data.add_argument("--data", type=Path, help="folder with data.mdb in it or below it (default: words rendered on the spot)")
    data.set_defaults(row=BASELINE)
    about = "height and width of the tensors (default: 224 224)"
    data.add_argument("--size", type=at_least(1), nargs=2, default=(224, 224), metavar=("H", "W"), help=about)
    add(data, "--images", 256)
    data.add_argument("--workers", type=at_least(0), default=0, help="loader processes (default: 0, one core in this process)")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; exits with status 2 where they do not go together."""
    top = parser()
    options = top.parse_args(arguments)
    if options.verb != "read":
        return options
    given = [name for name in ("data", "out", "images") if getattr(options, name) is not None]
    if not options.model and given:
        top.error(f"{', '.join(f'--{name}' for name in given)} goes with a trained model: add --model RUN_DIR")
    if options.model:
        if missing := [f"--{name}" for name in ("data", "out") if name not in given]:
            top.error(f"--model also needs {' and '.join(missing)}")
        if not options.rows:
            top.error(f"--model needs a ROW, a gin file that says how to decode, e.g. {BASELINE}")
        for name, why in (
            ("lengths", "a trained model ends its words itself"),
            ("guesses", "a trained model guesses itself"),
            ("precision", "a trained model is read in the precision of each ROW's protocol"),
        ):
            if value := getattr(options, name):
                top.error(f"--{name} {value}: {why}; leave --{name} or --model away")
        if len(options.batch or [1]) > 1:
            top.error(f"--batch {' '.join(map(str, options.batch))}: with --model give one batch size")
    options.rows = options.rows or [BASELINE]
    options.batch = options.batch or ([32] if options.model else [1, 8, 32])
    options.lengths, options.guesses = options.lengths or "full", options.guesses or "right"
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)

    import torch

    with user_errors():
        torch.set_num_threads(options.threads or os.cpu_count() or 1)
        module = "trained" if options.verb == "read" and options.model else options.verb
        importlib.import_module(f"core.bench.{module}").run(options)


if __name__ == "__main__":
    main()
