"""One document of all tables and figures: results/report.md, .tex and .html.

python -m reports.report table_II table_III table_VI --results results
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import user_errors
from reports.options import add_results, add_tables, tables_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.report", description="Gather tables and figures, made before, into one document."
    )
    parser.add_argument("names", nargs="+", metavar="TABLE", help="folders of ablations/ with a table.yaml, e.g. table_VI")
    add_results(parser)
    add_tables(parser)
    parser.add_argument("--figures", type=Path, help="folder with the figures (default: RESULTS/figures)")
    parser.add_argument("--out", type=Path, help="what to write, without suffix (default: RESULTS/report)")
    options = parser.parse_args(arguments)

    from reports.report_blocks import blocks_of, write_report

    figures, out = options.figures or options.results / "figures", options.out or options.results / "report"
    with user_errors():
        write_report(blocks_of(options.names, options.results, tables_of(options), figures), out)
        print(f"written to {out}.md, .tex and .html")


if __name__ == "__main__":
    main()
