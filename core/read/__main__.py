"""Read words from image files.

python -m core.read results/runs/<run>/seed0 word.png other.jpg
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from core.choices import NORMALISATIONS
from core.cli import add_json, add_model, at_least
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.read", description="Read the word in each image: text, confidence, both branches."
    )
    add_model(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files of one word each")
    add_json(parser, "one JSON object per image")
    about = "refinement steps of Algorithm 1 (default: 1)"
    parser.add_argument("--refine-steps", type=at_least(0), default=1, help=about)
    parser.add_argument(
        "--normalisation",
        choices=sorted(NORMALISATIONS),
        help="normalisation of the images (default: the model's own, from its training; half for released checkpoints)",
    )
    options = parser.parse_args(arguments)

    from core.read.run import read_files, show_readings

    with user_errors():
        readings, unreadable = read_files(options)
        for error in unreadable:
            print(f"error: {error}", file=sys.stderr)
        if options.json:
            for reading in readings:
                print(json.dumps(reading, ensure_ascii=False))
        elif readings:
            show_readings(readings)
    if unreadable:
        sys.exit(1)


if __name__ == "__main__":
    main()
