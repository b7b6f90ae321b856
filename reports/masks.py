"""Table I: the decoder's attention masks as the model's code makes them, beside those that the paper prints.

python -m reports.masks results/maps/masks.json results/tables
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.masks", description="Make Table I, the attention masks, beside what the paper prints."
    )
    parser.add_argument("masks", type=Path, help="what python -m core.figures.masks wrote")
    parser.add_argument("folder", type=Path, help="folder for table_I.md, .tex, .html and .csv")
    options = parser.parse_args(arguments)

    from reports.render.masks import make_masks

    with user_errors():
        for path in make_masks(options.masks, options.folder):
            print(f"written to {path}")


if __name__ == "__main__":
    main()
