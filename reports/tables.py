"""One table, from the predictions of its runs to CSV, JSON, Markdown, LaTeX and HTML.

    python -m reports.tables table_VI --results results

Measured stands beside published, with intervals, paired differences and the agreement of the orderings.
"""

import argparse
from collections.abc import Sequence

from core.errors import user_errors
from reports.options import add_results, add_table, add_tables, tables_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.tables", description="Make a table from the predictions of its runs, in the folder of tables."
    )
    add_table(parser)
    add_results(parser)
    add_tables(parser)
    options = parser.parse_args(arguments)

    from reports.cells import build
    from reports.table_files import write_table

    folder = tables_of(options)
    with user_errors():
        path = write_table(build(options.table, options.results, folder), options.results, folder)
        print(path.read_text())
        print(f"written to {path} and beside it as .csv, .wide.csv, .json, .tex and .html")


if __name__ == "__main__":
    main()
