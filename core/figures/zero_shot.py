"""Figure 1: how CLIP classifies a picture with a word stuck on it, and which parts decide.

python -m core.figures.zero_shot ablations/figures/zero_shot.gin --out results/figures/zero_shot
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.cli import add_scale, add_settings, add_threads
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.figures.zero_shot",
        description="Put words on a picture, classify it with CLIP's towers, and save probabilities and Grad-CAM maps "
        "(Figure 1); python -m reports.figures figure_1 FOLDER STEM draws them.",
    )
    parser.add_argument("plan", help="gin file that binds zero_shot_maps.ZeroShot: ablations/figures/zero_shot.gin")
    parser.add_argument("--out", type=Path, required=True, help="folder to write: maps.npz and maps.json")
    add_scale(parser)
    add_settings(parser)
    add_threads(parser)
    parser.add_argument("--image", type=Path, help="picture to put the stickers on (default: a symbol over a texture)")
    options = parser.parse_args(arguments)

    from core.figures.zero_shot_maps import save_maps

    with user_errors():
        save_maps(options)


if __name__ == "__main__":
    main()
