"""Checks the intervals and p-values of tables on simulated tables whose true differences are known.

python -m reports.simulation --out docs     docs/statistics.csv, docs/choices.csv, docs/figures/statistics.png
python -m reports.simulation --quick        a rough answer in seconds, printed only
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.simulation",
        description="Simulate tables whose truth is known, and count how often their intervals hold it and their p-values "
        "claim a difference where there is none (docs/statistics.md).",
    )
    parser.add_argument("--quick", action="store_true", help="few tables, of 600 images only: seconds instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default: 0)")
    parser.add_argument("--out", type=Path, help="folder for statistics.csv, choices.csv and figures/statistics.png")
    options = parser.parse_args(arguments)

    from reports.stats.simulated import simulate

    with user_errors():
        simulate(options.quick, options.seed, options.out)


if __name__ == "__main__":
    main()
