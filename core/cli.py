"""Options that several commands share, each declared once. Imports nothing heavy, so that `--help` stays fast."""

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

from core.choices import SCALES
from core.runtime.tracking.client import MODES

LAST_SEED = 2**32 - 1  # as in ablations/workflow.schema.yaml; far larger ones are none for torch


def at_least(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A type for argparse: whole numbers of at least `least`, and at most `most`."""
    expected = f"of at least {least}" if most == math.inf else f"from {least} to {most}"

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number {expected}, got {text!r}")
        return value

    return number


def in_range(text: str, holds: Callable[[float], bool], expected: str) -> float:
    """The number in `text` if `holds` accepts it; otherwise an argument error that says what was expected."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not holds(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value


def share(text: str) -> float:
    """A type for argparse: numbers from 0 to 1."""
    return in_range(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def positive_share(text: str) -> float:
    """A type for argparse: numbers above 0, at most 1."""
    return in_range(text, lambda value: 0 < value <= 1, "a number above 0 and at most 1")


def positive(text: str) -> float:
    """A type for argparse: finite numbers above 0."""
    return in_range(text, lambda value: 0 < value < math.inf, "a positive number")


def add_scale(parser: argparse.ArgumentParser, default: str | None = "micro", default_text: str = "%(default)s") -> None:
    """--scale; `default_text` is shown as the default, for commands whose default is None."""
    about = f"size of the model and of its training (default: {default_text})"
    parser.add_argument("--scale", choices=SCALES, default=default, help=about)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--set, a list of gin bindings."""
    about = "set a knob or an argument as a gin file does, e.g. 'DROPOUT = 0.3' or 'Optimisation.workers = 4'; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="'NAME = value'", help=about)


def add_threads(parser: argparse.ArgumentParser, default: int = 0) -> None:
    """--threads; a default of 0 stands for all cores."""
    about = f"CPU threads (default: {default or 'all cores'})"
    parser.add_argument("--threads", type=at_least(1 if default else 0), default=default, help=about)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """--workers, for commands that divide their work among processes."""
    about = "processes (default: one per core)"
    parser.add_argument("--workers", type=at_least(1), default=os.cpu_count() or 1, help=about)


def add_refine_steps(command: argparse.ArgumentParser) -> None:
    """None, the default, takes the model's own (`CLIP4STR.refine_steps`)."""
    about = "refinement steps of Algorithm 1 (default: 1; 0 for a model trained without permuted orders, PERMUTATIONS = 1)"
    command.add_argument("--refine-steps", type=at_least(0), help=about)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The positional argument `model`, as `core.weights.checkpoint.load_model` takes it."""
    about = "run directory, model.safetensors, released checkpoint, or hf-hub:OWNER/NAME, a model on the Hugging Face hub"
    parser.add_argument("model", type=Path, help=about)


def add_data(parser: argparse.ArgumentParser, holds: str) -> None:
    """--data; `holds` describes the folder's content, for example test/<benchmark>/data.mdb."""
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {holds}")


def add_json(parser: argparse.ArgumentParser, what: str = "one JSON object") -> None:
    """--json, for output that programs read."""
    parser.add_argument("--json", action="store_true", help=f"print {what} instead of text")


def add_tracking(parser: argparse.ArgumentParser, option: str = "--tracking") -> None:
    """--tracking: how a run is recorded with wandb."""
    about = "recording with wandb; auto: online if wandb is logged in, else offline (default: auto)"
    parser.add_argument(option, choices=MODES, default="auto", help=about)
