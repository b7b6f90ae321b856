"""Search a row's learning rate with Ray Tune: short trainings, the best validation accuracy (section V-A).

    python -m core.search ablations/lr_search.gin --data results/data/micro --out results/searches/micro

Interrupted, the same command goes on: finished trials are kept, a started one goes on from its last state.
"""

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path

from core.cli import add_data, add_scale, add_settings, add_threads, at_least
from core.errors import user_errors


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="python -m core.search",
        description="Search a row's learning rate: each trial is a short training of the row, the best on val/ is chosen. "
        "Needs pip install '.[search]'. Run again after an interruption, it goes on.",
    )
    command.add_argument("plan", help="gin file that binds study.Search, e.g. ablations/lr_search.gin")
    add_data(command, "train/<set>/**/data.mdb and val/**/data.mdb")
    command.add_argument("--out", type=Path, required=True, help="folder of all trials and of search.json")
    add_scale(command)
    add_settings(command)
    add_threads(command, 1)
    about = "trials at the same time (default: as many as the cores allow)"
    command.add_argument("--jobs", type=at_least(0), default=0, help=about)
    return command


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)

    from core.search.run import search_row

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that Ray and the trainings end with the search
    with user_errors():
        search_row(options)


if __name__ == "__main__":
    main()
