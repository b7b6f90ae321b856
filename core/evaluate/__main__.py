"""Evaluate a trained model: decode every image of every benchmark, save all four outputs as strings, and score them.

python -m core.evaluate results/runs/<run>/seed0 ablations/table_VI/image0-text6.gin --data my-world

Several rows that decode one model in several ways share one pass of its image tower.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.choices import MOST_WORKERS
from core.cli import add_data, add_model, add_scale, add_threads, add_tracking, at_least
from core.errors import user_errors


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="python -m core.evaluate",
        description="Read every benchmark below DATA/test with a trained model; keep predictions and scores. What it has "
        "read before in the same way, known by the benchmark's content, is taken over.",
    )
    add_model(command)
    about = (
        "gin files whose protocols are used, e.g. ablations/table_VI/image0-text6.gin; for a released checkpoint "
        "ablations/released/as_published.gin or consistent.gin"
    )
    command.add_argument("rows", nargs="+", metavar="ROW", help=about)
    add_data(command, "test/<benchmark>/data.mdb")
    about = "benchmarks to read, by name or folder below DATA/test (default: all)"
    command.add_argument("--benchmarks", nargs="+", default=[], metavar="NAME", help=about)
    about = "read every benchmark, also those that this model has read before (known by their content) in the same way"
    command.add_argument("--again", action="store_true", help=about)
    add_scale(command)
    about = f"processes that load images (default: on a GPU one fewer than threads, at most {MOST_WORKERS}; on a CPU none)"
    command.add_argument("--workers", type=at_least(0), help=about)
    add_threads(command)
    about = (
        "folder to write: each ROW into a folder of its file's name (default: below MODEL/evaluations, or evaluations/MODEL "
        "beside a released checkpoint, into one named after a digest of protocol and test data)"
    )
    command.add_argument("--out", type=Path, help=about)
    about = (
        "as the workflow does: each ROW into MODEL/evaluations/<its file's name>, only where its predictions are missing or "
        "older than the model; all of them are listed in MODEL/evaluations.json"
    )
    command.add_argument("--update", action="store_true", help=about)
    add_tracking(command)
    return command


def main(arguments: Sequence[str] | None = None) -> None:
    command = parser()
    options = command.parse_args(arguments)
    if options.update and options.out:
        command.error("--update goes without --out")
    if options.update and (options.benchmarks or options.again):
        command.error("--update goes without --benchmarks and --again")

    with user_errors():  # the import included, which takes seconds
        from core.evaluate.command import evaluate_rows

        evaluate_rows(options)


if __name__ == "__main__":
    main()
