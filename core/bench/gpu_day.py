"""All checks and measurements that need a GPU, in nine minutes at most, the most informative first.

    python -m core.bench.gpu_day OUT [--parts tests read train ...] [--scale paper]

Every part is a command of this project with a time limit and a log of its own; one that fails or is cut off does not stop the
next, and what is left of the nine minutes goes to the next. `OUT/summary.md` says which card and versions it was, how each part
ended, and its last lines: the page to keep of a rented card.
"""

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.cli import at_least
from core.errors import UserError, user_errors
from core.files import ROOT

BASE = "ablations/table_IX/cross-ar.gin"
LARGE = "ablations/table_IX/large-ar.gin"
TABLE_IX = tuple(sorted(str(row.relative_to(ROOT)) for row in (ROOT / "ablations/table_IX").glob("*.gin")))
BENCH = ("-m", "core.bench")
NOT_RUN = "not run: the time was over"


@dataclass(frozen=True)
class Part:
    """One question to the card.

    Args:
        question: the question that its log answers.
        limit: seconds after which it is cut off.
        command: the arguments of `python`.
    """

    question: str
    limit: int
    command: tuple[str, ...]


def parts(scale: str) -> dict[str, Part]:
    """All questions, the most telling first."""
    at = ("--scale", scale, "--json")
    return {
        "waits": Part("where does the host wait for the device in a step and a reading?", 30, (*BENCH, "waits", BASE, *at)),
        "read": Part(
            "reading over the image tower's forward pass (goals 1.15 at 256, 2.0 at 1)",
            50,
            (*BENCH, "read", BASE, *at, "--batch", "256", "1", "32", "--lengths", "typical", "--precision", "bf16"),
        ),
        "train": Part(
            "a training step over the image tower's forward and backward (goal 1.20 at 128), and model TFLOP/s",
            50,
            (*BENCH, "train", BASE, *at, "--batch", "128", "--lengths", "typical", "--precision", "bf16"),
        ),
        "read_wrong": Part(
            "reading where every guess is wrong (goals 1.30 and 1.20)",
            40,
            (*BENCH, "read", BASE, *at, "--batch", "1", "32", "--guesses", "wrong", "--precision", "bf16"),
        ),
        "tests": Part(
            "do the tests of tests/gpu pass (parity, repeats, graphs, leases, memory, processes)?",
            150,
            ("-m", "pytest", "-m", "gpu", "-n", "8", "-p", "no:cacheprovider", "tests/gpu"),
        ),
        "table_IX": Part(
            "milliseconds per image of Table IX's rows, one image at a time (published: an A100's)",
            45,
            (*BENCH, "read", *TABLE_IX, *at, "--batch", "1", "--lengths", "typical"),
        ),
        "data": Part(
            "how many loader processes feed it?", 20, (*BENCH, "data", "--json", "--workers", "8", "--images", "2048")
        ),
        "profile": Part(
            "which parts of a training step take the time",
            35,
            (*BENCH, "profile", "train", BASE, *at, "--batch", "128", "--precision", "bf16"),
        ),
        "memory": Part(
            "memory of a training step in float32, and the part of it that waits for the backward pass",
            25,
            (*BENCH, "memory", BASE, *at, "--batch", "64"),
        ),
        "read_large": Part(
            "the same of ViT-L (goal 1.15)",
            40,
            (*BENCH, "read", LARGE, *at, "--batch", "32", "--lengths", "typical", "--precision", "bf16"),
        ),
        "train_large": Part(
            "the same of ViT-L's step (goal 1.12)",
            50,
            (*BENCH, "train", LARGE, *at, "--batch", "32", "--lengths", "typical", "--precision", "bf16"),
        ),
    }


def card() -> str:
    """The device and the versions, in one line."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"no GPU ({platform.machine()})"
    return f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}"


def ask(name: str, part: Part, limit: float, out: Path) -> str:
    """Run one part; how it ended.

    The whole group is ended at the limit: a bench may have started loader processes.
    """
    began = time.monotonic()
    with (out / f"{name}.log").open("w", encoding="utf-8") as log:
        log.write(f"$ python {' '.join(part.command)}\n")
        log.flush()
        command = [sys.executable, *part.command]
        with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True) as process:
            try:
                code = process.wait(limit)
            except BaseException as stop:  # Ctrl-C does not reach a session of its own
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if not isinstance(stop, subprocess.TimeoutExpired):
                    raise
                return f"cut off after {limit:.0f} s"
    return f"exit {code} after {time.monotonic() - began:.0f} s"


def summary(device: str, ends: dict[str, str], asked: dict[str, Part], out: Path) -> str:
    """Markdown: the card, then each part's question, end and last lines."""
    text = [f"# A day on {device}", "", time.strftime("%Y-%m-%d %H:%M"), ""]
    for name, end in ends.items():
        tail = (
            (out / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()[1:][-15:] if end != NOT_RUN else []
        )
        text += [f"## {name}: {end}", "", asked[name].question, "", *(f"    {line}" for line in tail), ""]
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> None:
    names = list(parts("paper"))
    parser = argparse.ArgumentParser(
        usage="python -m core.bench.gpu_day [-h] OUT [options]",
        description="Everything that only a GPU can answer: parity, waits, ratios, memory; logs and summary.md in OUT.",
        epilog="without a GPU every part runs on the CPU, where --scale smoke takes some minutes: a rehearsal",
    )
    parser.add_argument("out", type=Path, help="folder for the logs and summary.md")
    parser.add_argument(
        "--parts", nargs="+", choices=names, default=names, metavar="PART", help=f"parts to run, of {', '.join(names)}"
    )
    parser.add_argument("--scale", default="paper", help="scale of the timed models (default: paper)")
    parser.add_argument("--minutes", type=at_least(1), default=9, help="time limit of all parts together (default: 9)")
    options = parser.parse_args(arguments)
    with user_errors():
        if options.out.is_file():
            raise UserError(f"{options.out} is a file; OUT is a folder for logs")
        options.out.mkdir(parents=True, exist_ok=True)
        end = time.monotonic() + 60 * options.minutes
        device, asked, ends = card(), parts(options.scale), {}
        for name in options.parts:
            left = end - time.monotonic()
            print(f"{name}: {asked[name].question}", flush=True)
            ends[name] = ask(name, asked[name], min(left, asked[name].limit), options.out) if left > 5 else NOT_RUN
            print(f"  {ends[name]}", flush=True)
            (options.out / "summary.md").write_text(summary(device, ends, asked, options.out), encoding="utf-8")
        print(f"{options.out / 'summary.md'}")


if __name__ == "__main__":
    main()
