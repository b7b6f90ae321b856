"""Check a data folder: its content, what is wrong with it, and which of the paper's tables it can reproduce.

    python -m core.data.doctor data --html doctor.html

docs/data.md says what is checked and how to read the verdict.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.cli import add_json, add_workers, share
from core.data.folders import SPLITS
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.data.doctor",
        description="Check every image and label below a data root (train/<set>/**/data.mdb, val/**/data.mdb, "
        "test/<benchmark>/data.mdb, labels/): what is there, what is broken, what two splits share, and which of the "
        "paper's tables it can reproduce.",
        epilog="Example: python -m core.data.doctor data --html doctor.html --runs results/runs",
    )
    parser.add_argument("root", type=Path, help="data root, as given to core.train as --data")
    add_json(parser)
    about = "file of the characters that labels may have, like ablations/charsets/greek.txt (default: the published 94)"
    parser.add_argument("--charset", type=Path, metavar="FILE", help=about)
    parser.add_argument("--html", type=Path, metavar="FILE", help="page to write, with thumbnails of what to look at")
    parser.add_argument("--runs", type=Path, help="folder of runs, e.g. results/runs: list those whose data has changed since")
    parser.add_argument("--model", type=Path, help="trained model: list the labels that it contradicts")
    about = "confidence at which a reading contradicts a label, 0 to 1 (default: 0.9)"
    parser.add_argument("--confident", type=share, default=0.9, help=about)
    parser.add_argument(
        "--read", nargs="+", choices=SPLITS, default=["val", "test"], help="splits that the model reads (default: val test)"
    )
    add_workers(parser)
    options = parser.parse_args(arguments)

    from core.data.doctor.run import report

    with user_errors():
        report(options)


if __name__ == "__main__":
    main()
