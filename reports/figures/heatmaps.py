"""Figures 1 and 2: what CLIP looks at, drawn from the maps that core.figures.zero_shot and core.figures.attention keep.

python -m reports.figures.heatmaps figure_1 results/figures/zero_shot results/figures/figure_1
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.figures.heatmaps",
        description="Draw Figure 1 or 2 from the maps kept for it, as SVG and PNG.",
    )
    about = "figure_1: zero-shot and stickers; figure_2: word images"
    parser.add_argument("figure", choices=("figure_1", "figure_2"), help=about)
    about = "what core.figures.zero_shot (figure_1) or core.figures.attention (figure_2) wrote"
    parser.add_argument("folder", type=Path, help=about)
    parser.add_argument("stem", type=Path, help="files to write, without .svg and .png")
    options = parser.parse_args(arguments)

    from core.figures.maps import load_maps
    from reports.figures import style
    from reports.figures.clip_maps import FIGURES

    with user_errors():
        for path in style.save(FIGURES[options.figure](load_maps(options.folder, options.figure)), options.stem):
            print(f"written to {path}")


if __name__ == "__main__":
    main()
