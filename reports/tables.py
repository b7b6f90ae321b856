"""One table, from the predictions of its runs to every format of reports.render.FORMATS.

    python -m reports.tables table_VI --results results

Measured numbers stand beside published ones, with intervals, paired differences and the agreement of the orderings.
"""

import argparse
from collections.abc import Sequence

from core.errors import user_errors
from reports.options import add_study, add_table, tables_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.tables", description="Make a table from the predictions of its runs, in the folder of tables."
    )
    add_table(parser)
    add_study(parser)
    options = parser.parse_args(arguments)

    from reports.build import build
    from reports.render.write import rendered, write_texts

    with user_errors():
        texts = rendered(build(options.table, options.results, tables_of(options)))
        first, *others = write_texts(tables_of(options) / options.table, texts)
        print(texts["md"])
        print(f"written to {first} and beside it as {', '.join(path.name for path in others)}")


if __name__ == "__main__":
    main()
