"""The command line of the bench: its verbs, and which options go together."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.bench.words import GUESSES, LENGTHS
from core.choices import PRECISIONS
from core.cli import add_json, add_scale, add_threads, at_least

BASELINE = "ablations/table_IX/cross-ar.gin"  # ablations/base.gin and nothing else
LABELS = 3_300_000  # of Real(3.3M), section IV-A
PROFILED = ("read", "train")
LINES = "one JSON object per line"
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
same images. Images per second are those of one core, in its processor time; with --workers of all of them, by the clock.
"""
PROFILE = """\
Milliseconds of every part of reading, or of a training step, in float32, and its share of the image tower's own pass, which
is timed in turns with it. Random weights and images; the words are dictated, and guesses are right.
"""
CAPTIONS = """\
Milliseconds from predicted characters to the text tower's tokens, for words as long as IIIT5K's and of 25 letters, seen for
the first time (cold) or before (warm). In turns with the same by strings: open_clip's tokenizer, a tensor for each caption.
"""


def parser() -> argparse.ArgumentParser:
    """One sub-command per verb."""
    top = argparse.ArgumentParser(prog="python -m core.bench", description="Measure rows on this machine, in one run.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="WHAT")
    add_memory(verbs.add_parser("memory", help="memory of a training step, and what of it waits for the backward pass"))
    raw = argparse.RawDescriptionHelpFormatter
    about = "time of reading over the image tower's own"
    add_read(verbs.add_parser("read", help=about, description=READ, formatter_class=raw))
    add_train(verbs.add_parser("train", help="time of a training step over the image tower's own", description=TRAIN))
    about = "how cost grows with batch, word length, orders, layers, patches, images"
    add_scaling(verbs.add_parser("scaling", help=about))
    about = "where the time of reading or of a training step goes"
    add_profile(verbs.add_parser("profile", help=about, description=PROFILE))
    about = "training images per second, beside the released loader's"
    add_data(verbs.add_parser("data", help=about, description=DATA))
    add_index(verbs.add_parser("index", help="time to open millions of labels, with and without their index"))
    about = "time from predicted characters to the text tower's tokens, beside open_clip's tokenizer word by word"
    add_captions(verbs.add_parser("captions", help=about, description=CAPTIONS))
    return top


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; exits with status 2 where they do not go together."""
    top = parser()
    options = top.parse_args(arguments)
    if options.verb == "read":
        wrong = wrong_with_model(options) if options.model else wrong_without_model(options)
        if wrong:
            top.error(wrong)
    return options


def wrong_without_model(options: argparse.Namespace) -> str | None:
    """What of `read`'s options needs a trained model."""
    given = [f"--{name}" for name in ("data", "out", "images") if getattr(options, name) is not None]
    return f"{', '.join(given)} goes with a trained model: add --model RUN_DIR" if given else None


def wrong_with_model(options: argparse.Namespace) -> str | None:
    """What of `read`'s options a trained model lacks or has no use for."""
    if missing := [name for name in ("--data", "--out") if getattr(options, name[2:]) is None]:
        return f"--model also needs {' and '.join(missing)}"
    if not options.rows:
        return "--model needs a ROW, a gin file that says how to decode, e.g. ablations/table_IX/cross-ar.gin"
    for name in ("lengths", "guesses"):
        if given := getattr(options, name):
            return f"--{name} {given}: a trained model ends its words itself; leave one of the two away"
    if len(options.batch or [32]) > 1:
        return f"--batch {' '.join(map(str, options.batch))}: with --model give one batch size"
    return None


def add_memory(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("rows", nargs="+", metavar="ROW", help="gin files; the last is what the others are compared with")
    add_scale(verb)
    add_batch(verb, 8)
    add_threads(verb)
    add_json(verb)


def add_read(verb: argparse.ArgumentParser) -> None:
    add_setting(verb, f"default without --model: {BASELINE}", "default: 1 8 32; with --model: 32")
    trained = verb.add_argument_group("a trained model")
    trained.add_argument("--model", type=Path, help="run directory, model.safetensors or released checkpoint")
    trained.add_argument("--data", type=Path, help="folder with test/<benchmark>/data.mdb")
    trained.add_argument("--out", type=Path, help="JSON file to write; the stem of each ROW's file is its key")
    about = "test images, drawn from all benchmarks together (default: 256)"
    trained.add_argument("--images", type=at_least(1), help=about)


def add_train(verb: argparse.ArgumentParser) -> None:
    add_setting(verb, f"default: {BASELINE}", "default: 8")
    about = "precision of tower and step alike (default: no, float32)"
    verb.add_argument("--precision", choices=PRECISIONS, default="no", help=about)


def add_setting(verb: argparse.ArgumentParser, rows: str, batch: str) -> None:
    """What rows are measured on: words, batch, repeats, threads."""
    verb.add_argument("rows", nargs="*", metavar="ROW", help=f"gin files, not right after --batch ({rows})")
    add_scale(verb, "paper")
    verb.add_argument("--batch", type=at_least(1), nargs="+", metavar="N", help=f"images at once ({batch})")
    about = "dictated words: as many letters as the decoder has room for, or as IIIT5K's test words have (default: full)"
    verb.add_argument("--lengths", choices=LENGTHS, help=about)
    about = "whether earlier readings (first guess, other branch, orders) agree in every word or in no letter (default: right)"
    verb.add_argument("--guesses", choices=GUESSES, help=about)
    add_repeats(verb)
    add_threads(verb, 2)
    add_json(verb, LINES)


def add_scaling(verb: argparse.ArgumentParser) -> None:
    add_row(verb)
    add_scale(verb)
    add_repeats(verb)
    add_threads(verb, 2)
    verb.add_argument("--out", type=Path, help="JSON file to write, which python -m reports.figures scaling draws")
    add_json(verb, LINES)


def add_profile(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("what", choices=PROFILED, help="reading, or a training step")
    add_row(verb)
    add_scale(verb, "paper")
    add_batch(verb, 8)
    verb.add_argument("--lengths", choices=LENGTHS, default="full", help="length of the dictated words (default: full)")
    about = "passes to take the median of, after one that is not counted (default: 5)"
    verb.add_argument("--passes", type=at_least(1), default=5, help=about)
    add_threads(verb, 2)
    add_json(verb, LINES)


def add_data(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--data", type=Path, help="folder with data.mdb in it or below it (default: words rendered on the spot)")
    about = "size of the tensors (default: 224 224)"
    verb.add_argument("--size", type=at_least(1), nargs=2, default=(224, 224), metavar=("H", "W"), help=about)
    add_batch(verb, 32)
    about = "images of one measurement, drawn at random (default: 256)"
    verb.add_argument("--images", type=at_least(1), default=256, help=about)
    add_repeats(verb)
    verb.add_argument("--workers", type=at_least(0), default=0, help="loader processes (default: 0, one core in this process)")
    add_threads(verb, 1)
    add_json(verb, LINES)


def add_index(verb: argparse.ArgumentParser) -> None:
    about = "labels in the temporary database (default: %(default)s)"
    verb.add_argument("--labels", type=at_least(1), default=LABELS, help=about)
    verb.add_argument("--repeats", type=at_least(1), default=3, help="measurements; the median counts (default: 3)")
    add_json(verb)


def add_captions(verb: argparse.ArgumentParser) -> None:
    about = "words (default: 768, of 128 images under 6 orders)"
    verb.add_argument("--captions", type=at_least(1), default=768, help=about)
    add_repeats(verb, 7)
    add_json(verb, LINES)


def add_row(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("row", nargs="?", default=BASELINE, metavar="ROW", help="gin file (default: %(default)s)")


def add_batch(verb: argparse.ArgumentParser, default: int) -> None:
    verb.add_argument("--batch", type=at_least(1), default=default, metavar="N", help="images at once (default: %(default)s)")


def add_repeats(verb: argparse.ArgumentParser, default: int = 5) -> None:
    about = "measurements of each, after one that is not counted (default: %(default)s)"
    verb.add_argument("--repeats", type=at_least(1), default=default, help=about)
