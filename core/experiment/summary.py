"""Count what a row's model holds and trains, or list how it differs from another row; loads no weights.

python -m core.experiment.summary ablations/table_VI/image3-text6.gin --scale paper
python -m core.experiment.summary ablations/table_VI/image3-text6.gin --against ablations/table_VI/image0-text6.gin
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from core.cli import add_json, add_scale, add_settings
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.experiment.summary",
        description="Count the parameters of a row's model, or list how it differs from another row; loads no weights.",
    )
    parser.add_argument("row", help="gin file, e.g. ablations/table_VI/image0-text6.gin")
    parser.add_argument(
        "--against", metavar="ROW", help="another gin file to list the differences from; exit status 1 if there are none"
    )
    add_scale(parser)
    add_settings(parser)
    add_json(parser)
    options = parser.parse_args(arguments)

    from core.experiment.difference import compare
    from core.experiment.experiment import load
    from core.experiment.parameters import show_counts, summarise

    with user_errors():
        if options.against:
            found = compare(options.row, options.against, options.scale, options.set)
            print(json.dumps(asdict(found)) if options.json else found.text(options.row, options.against))
            if found.empty:
                sys.exit(1)
            return
        summary = summarise(load(options.row, options.scale, options.set).blueprint)
        if options.json:
            print(json.dumps(asdict(summary)))
        else:
            show_counts(summary, f"{options.row} at scale {options.scale}")


if __name__ == "__main__":
    main()
