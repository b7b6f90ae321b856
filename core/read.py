"""Read words from image files.

python -m core.read results/runs/<run>/seed0 word.png other.jpg
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core import config
from core.checkpoint import load_model
from core.data.errors import UnreadableImage
from core.data.images import decode_image
from core.data.transforms import NORMALISATIONS, ToTensor
from core.model.clip4str import CLIP4STR


def open_image(path: Path) -> Image.Image:
    """An image file in RGB.

    Raises:
        ValueError: it is missing, or no image.
    """
    try:
        return decode_image(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except UnreadableImage as error:
        raise ValueError(f"{path}: not an image that can be decoded ({error})") from error


def read_images(model: CLIP4STR, paths: list[Path], normalisation: str | None, refine_steps: int) -> list[dict]:
    """What the model reads in each file: text and confidence of Algorithm 1's output, and both branches.

    Args:
        normalisation: of the images; None takes what the model was trained (or, released, tested) with.
    """
    transform = ToTensor(model.towers.image_size, normalisation or model.normalisation)
    results = []
    for path in paths:
        image = transform(open_image(path))[None].to(next(model.parameters()).device)
        prediction = model.predict(image, refine_steps=refine_steps)
        (text,), (confidence,) = model.tokenizer.decode(prediction.output)
        (visual,), (visual_confidence,) = model.tokenizer.decode(prediction.visual)
        results.append(
            {
                "image": str(path),
                "text": text,
                "confidence": confidence,
                "visual": visual,
                "visual_confidence": visual_confidence,
                "cross": text if prediction.cross is not None else None,
            }
        )
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Read the word in each image: text, confidence, both branches.")
    parser.add_argument("model", type=Path, help="run directory, model.safetensors or released checkpoint")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files of one word each")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--refine-steps", type=int, default=1, help="refinement steps of Algorithm 1 (default: 1)")
    parser.add_argument(
        "--normalisation",
        choices=sorted(NORMALISATIONS),
        help="of the image (default: what the model was trained with; half for released checkpoints, as they are tested)",
    )
    options = parser.parse_args(arguments)
    with config.user_errors():
        model = load_model(options.model).to("cuda" if torch.cuda.is_available() else "cpu")
        results, failed = [], False
        for path in options.images:
            try:
                results += read_images(model, [path], options.normalisation, options.refine_steps)
            except ValueError as error:
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
