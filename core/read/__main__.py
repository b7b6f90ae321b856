"""Read words from image files and folders of them.

python -m core.read results/runs/<run>/seed0 word.png crops/
find crops -newer yesterday -name '*.png' | python -m core.read results/runs/<run>/seed0 -
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.choices import NORMALISATIONS
from core.cli import add_json, add_model, add_refine_steps, at_least
from core.errors import user_errors


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="python -m core.read",
        description="Read the word in each image: text, confidence, both branches. Every reading is printed as soon as its "
        "batch has been read. Files that are not images are named on stderr and counted, and the others are read.",
        epilog="Exit status: 0 if every file was read, 1 if one could not be, 130 after Ctrl-C.",
    )
    add_model(command)
    about = (
        "image files of one word each, or folders: every image at or below one, except for hidden files and folders; - stands "
        "for the paths on standard input, one per line"
    )
    command.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help=about)
    add_json(command, "one JSON object per image")
    command.add_argument("--letters", action="store_true", help="add the probability of each character, and of the word's end")
    about = "read each image upright and turned by 90, 180 and 270 degrees, and keep the reading of the highest confidence"
    command.add_argument("--orientations", action="store_true", help=about)
    about = (
        "images higher than 1.5 times their width: 'try' reads them upright and turned by 90 degrees to either side, and keeps "
        "the reading of the highest confidence; 'keep' reads them as they are, as training and evaluation do (default: try)"
    )
    command.add_argument("--tall", choices=("try", "keep"), default="try", help=about)
    add_refine_steps(command)
    command.add_argument(
        "--normalisation",
        choices=sorted(NORMALISATIONS),
        help="normalisation of the images (default: the model's own, from its training; half for released checkpoints)",
    )
    about = "images per forward pass; it changes only speed and memory (default: %(default)s)"
    command.add_argument("--batch", type=at_least(1), default=32, help=about)
    return command


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)

    with user_errors():
        from core.read.run import read_and_print

        complete = read_and_print(options)
    if not complete:
        sys.exit(1)


if __name__ == "__main__":
    main()
