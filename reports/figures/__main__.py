"""Draw a figure of a table.

    python -m reports.figures forest table_VI --results results
    python -m reports.figures parameters table_VIII --column HOST
    python -m reports.figures qualitative table_VI --row image0-text6 --images 8

Writes an SVG and a PNG below RESULTS/figures, or where --out says.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.cli import at_least
from core.errors import user_errors
from reports.options import add_results, add_table, add_tables, tables_of


def stem(options: argparse.Namespace) -> Path:
    """Where a figure goes: <figure>_<table>, and the column or row that was asked for."""
    asked = [getattr(options, name) for name in ("column", "row") if getattr(options, name, None)]
    return (options.out or options.results / "figures") / "_".join([options.figure, options.table, *asked])


def parser() -> argparse.ArgumentParser:
    """One sub-command per figure."""
    common = argparse.ArgumentParser(add_help=False)
    add_table(common)
    add_results(common)
    add_tables(common)
    common.add_argument(
        "--out", type=Path, help="folder to write <figure>_<table>.svg and .png into (default: RESULTS/figures)"
    )
    top = argparse.ArgumentParser(prog="python -m reports.figures", description="Draw a figure of a table, as SVG and PNG.")
    figures = top.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    for name, about in (
        ("forest", "differences to the baseline, with intervals, p-values and what could not have been seen"),
        ("parameters", "accuracy against learnable parameters, measured and published"),
        ("curves", "training loss and validation accuracy of the table's runs"),
        ("qualitative", "readings of single images, errors marked"),
    ):
        figures.add_parser(name, parents=[common], help=about, description=f"Draw {about}.")
    figures.choices["parameters"].add_argument(
        "--column", help="one column of the table (default: the mean of the averaged ones)"
    )
    reading = figures.choices["qualitative"]
    reading.add_argument("--row", help="whose readings (default: the baseline's)")
    reading.add_argument("--images", type=at_least(1), default=6, help="images per benchmark (default: 6)")
    reading.add_argument("--seed", type=int, default=0, help="seed of the choice of images (default: 0)")
    reading.add_argument("--data", type=Path, help="folder with test/<benchmark>/data.mdb (default: where the plan found it)")
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    options.tables = tables_of(options)

    from reports.figures import style
    from reports.figures.draw import FIGURES

    with user_errors():
        written = style.save(FIGURES[options.figure](options), stem(options))
        print("written to " + " and ".join(map(str, written)))


if __name__ == "__main__":
    main()
