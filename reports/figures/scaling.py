"""How cost grows, drawn from what `python -m core.bench scaling --out FILE` measured.

python -m reports.figures.scaling scaling.json docs/figures/scaling
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.figures.scaling", description="Draw how cost grows, as core.bench scaling measured it."
    )
    parser.add_argument("measured", type=Path, help="JSON file of python -m core.bench scaling --out")
    parser.add_argument("stem", type=Path, help="figure to write, without .svg and .png")
    options = parser.parse_args(arguments)

    from reports.figures.growth import draw_file

    with user_errors():
        print("\n".join(map(str, draw_file(options.measured, options.stem))))


if __name__ == "__main__":
    main()
