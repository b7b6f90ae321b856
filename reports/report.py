"""One document of all tables and figures: results/report.md, .tex and .html.

python -m reports.report table_II table_III table_VI --results results
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import user_errors
from reports.options import add_figures, add_study, figures_of, tables_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.report", description="Put finished tables and figures into one document."
    )
    parser.add_argument("names", nargs="+", metavar="TABLE", help="folders of ablations/ with a table.yaml, e.g. table_VI")
    add_study(parser)
    add_figures(parser, "with the figures")
    parser.add_argument("--out", type=Path, help="file to write, without its suffix (default: RESULTS/report)")
    options = parser.parse_args(arguments)

    from reports.render.document import write_document
    from reports.render.report import blocks_of

    with user_errors():
        blocks = blocks_of(options.names, options.results, tables_of(options), figures_of(options))
        paths = write_document(blocks, options.out or options.results / "report")
        print(f"written to {', '.join(map(str, paths))}")


if __name__ == "__main__":
    main()
