"""Draw a figure of a table.

    python -m reports.figures forest table_VI --results results
    python -m reports.figures parameters table_VIII --column HOST
    python -m reports.figures qualitative table_VI --row image0-text6 --images 8

Writes an SVG and a PNG below RESULTS/figures, or where --out says.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from core.charset import CHARSETS
from core.errors import ReportError
from reports.cells import build
from reports.collect import read_runs
from reports.figures import style
from reports.figures.curves import curves, table_curves
from reports.figures.forest import forest
from reports.figures.parameters import parameters
from reports.figures.qualitative import qualitative, readings_of
from reports.flips import stored_images
from reports.layout import read_layout


def draw_forest(options: argparse.Namespace) -> Figure:
    return forest(build(options.table, options.results, options.tables))


def draw_parameters(options: argparse.Namespace) -> Figure:
    return parameters(build(options.table, options.results, options.tables), options.column)


def draw_curves(options: argparse.Namespace) -> Figure:
    return curves(*table_curves(read_runs(options.tables, options.table), options.results))


def draw_qualitative(options: argparse.Namespace) -> Figure:
    """Readings of one row, the baseline where none is named.

    Raises:
        ReportError: there is no such row.
    """
    runs, row = read_runs(options.tables, options.table), options.row or read_layout(options.table).baseline
    if row not in runs.index:
        raise ReportError(f"{options.table} has no row {row!r}; --row takes one of {', '.join(runs.index)}")
    run = runs.loc[row]
    charset = CHARSETS[json.loads(run.protocol)["scoring_charset_size"]]
    images = stored_images(options.data or Path(run.data_root))
    return qualitative(readings_of(options.results, run), images, charset, options.images, options.seed)


def stem(options: argparse.Namespace) -> Path:
    """Where a figure goes: <figure>_<table>, and the column or row that was asked for."""
    asked = [getattr(options, name) for name in ("column", "row") if getattr(options, name, None)]
    return (options.out or options.results / "figures") / "_".join([options.figure, options.table, *asked])


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """One sub-command a figure."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("table", help="a folder of ablations/ with a table.yaml, e.g. table_VI")
    common.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (default: results)")
    common.add_argument("--tables", type=Path, help="folder with <table>.runs.csv (default: RESULTS/tables)")
    common.add_argument(
        "--out", type=Path, help="folder to write <figure>_<table>.svg and .png into (default: RESULTS/figures)"
    )
    top = argparse.ArgumentParser(prog="python -m reports.figures", description="Draw a figure of a table, as SVG and PNG.")
    figures = top.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    for name, draw, about in (
        ("forest", draw_forest, "differences to the baseline, with intervals, p-values and what could not have been seen"),
        ("parameters", draw_parameters, "accuracy against learnable parameters, measured and published"),
        ("curves", draw_curves, "training loss and validation accuracy of the table's runs"),
        ("qualitative", draw_qualitative, "readings of single images, errors marked"),
    ):
        figures.add_parser(name, parents=[common], help=about, description=f"Draw {about}.").set_defaults(draw=draw)
    figures.choices["parameters"].add_argument(
        "--column", help="one column of the table (default: the mean of the averaged ones)"
    )
    reading = figures.choices["qualitative"]
    reading.add_argument("--row", help="whose readings (default: the baseline's)")
    reading.add_argument("--images", type=positive, default=6, help="images a benchmark (default: 6)")
    reading.add_argument("--seed", type=int, default=0, help="of the choice of images (default: 0)")
    reading.add_argument("--data", type=Path, help="folder with test/<benchmark>/data.mdb (default: where the plan found it)")
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    options.tables = options.tables or options.results / "tables"
    try:
        written = style.save(options.draw(options), stem(options))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print("written to " + " and ".join(map(str, written)))


if __name__ == "__main__":
    main()
