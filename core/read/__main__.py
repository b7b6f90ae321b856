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
from core.errors import UserError, user_errors


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

    import torch
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from core.read.run import read_images
    from core.weights.checkpoint import load_model

    with user_errors():
        model = load_model(options.model).to("cuda" if torch.cuda.is_available() else "cpu")
        results, failed = [], False
        for path in options.images:
            try:
                results += read_images(model, [path], options.normalisation, options.refine_steps)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                failed = True
    if options.json:
        for result in results:
            print(json.dumps(result, ensure_ascii=False))
    elif results:
        table = Table("image", "text", "confidence", "visual branch", "cross-modal branch")
        for column in table.columns:
            column.overflow = "fold"
        for result in results:
            image, text, visual, cross = (escape(result[name] or "") for name in ("image", "text", "visual", "cross"))
            table.add_row(image, text, f"{result['confidence']:.3f}", visual, cross)
        Console().print(table)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
