"""The table of a learning-rate search: the accuracy of each value on val/, and the chosen one.

    python -m reports.search results/searches/micro/search.json results/tables/lr_search

Writes <stem>.csv, .md and .json, and a figure as <stem>.svg and .png.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.search", description="Make the table and the figure of a learning-rate search."
    )
    parser.add_argument("search", type=Path, help="search.json that snakemake lr_search writes")
    parser.add_argument("stem", type=Path, help="files to write, without their suffix, e.g. results/tables/lr_search")
    options = parser.parse_args(arguments)

    from reports.search_table import write

    with user_errors():
        print(write(options.search, options.stem).read_text())


if __name__ == "__main__":
    main()
