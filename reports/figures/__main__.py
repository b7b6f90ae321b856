"""Draw a figure, as SVG and PNG.

    python -m reports.figures forest table_VI --results results
    python -m reports.figures parameters table_VIII --column HOST
    python -m reports.figures qualitative table_VI --row image0-text6 --images 8
    python -m reports.figures figure_1 results/maps/micro/figure_1 results/figures/figure_1
    python -m reports.figures scaling scaling.json docs/figures/scaling

A table's figures go below RESULTS/figures, or where --out says; the others to the file that is named.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from core.cli import at_least
from core.errors import user_errors
from reports.figures import FIGURES
from reports.options import add_study, add_table, tables_of

OTHERS = {  # name: module, what it shows, what it is drawn from
    "figure_1": ("clip_maps", "where CLIP looks on a picture with a word sticker", "folder of core.figures.zero_shot"),
    "figure_2": ("clip_maps", "attention of the image tower on test words", "folder of core.figures.attention"),
    "scaling": ("scaling", "how cost grows", "JSON file of python -m core.bench scaling --out"),
}


def stem(options: argparse.Namespace) -> Path:
    """The files to write, without suffix: of a table <figure>_<table>, and the column or row that was asked for."""
    if options.figure in OTHERS:
        return options.stem
    asked = [getattr(options, name) for name in ("column", "row") if getattr(options, name, None)]
    return (options.out or options.results / "figures") / "_".join([options.figure, options.table, *asked])


def parser() -> argparse.ArgumentParser:
    """One sub-command per figure."""
    common = argparse.ArgumentParser(add_help=False)
    add_table(common)
    add_study(common)
    about = "folder to write <figure>_<table>.svg and .png into (default: RESULTS/figures)"
    common.add_argument("--out", type=Path, help=about)
    top = argparse.ArgumentParser(prog="python -m reports.figures", description="Draw a figure, as SVG and PNG.")
    figures = top.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    for name, figure in FIGURES.items():
        figures.add_parser(name, parents=[common], help=figure.about, description=f"Draw {figure.about}.")
    about = "one column of the table (default: the mean of the averaged ones)"
    figures.choices["parameters"].add_argument("--column", help=about)
    reading = figures.choices["qualitative"]
    reading.add_argument("--row", help="row whose readings are shown (default: the baseline)")
    reading.add_argument("--images", type=at_least(1), default=6, help="images per benchmark (default: 6)")
    reading.add_argument("--seed", type=int, default=0, help="seed of the choice of images (default: 0)")
    reading.add_argument("--data", type=Path, help="folder with test/<benchmark>/data.mdb (default: where the plan found it)")
    for name, (_, about, source) in OTHERS.items():
        other = figures.add_parser(name, help=about, description=f"Draw {about}.")
        other.add_argument("source", type=Path, help=source)
        other.add_argument("stem", type=Path, help="file to write, without .svg and .png")
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    module = OTHERS[options.figure][0] if options.figure in OTHERS else options.figure
    options.tables = tables_of(options) if options.figure in FIGURES else None

    from reports.figures import style

    with user_errors():
        figure = import_module(f"reports.figures.{module}").draw(options)
        print("written to " + " and ".join(map(str, style.save(figure, stem(options)))))


if __name__ == "__main__":
    main()
