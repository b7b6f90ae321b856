"""Words read from image files: text and confidence of every output."""

import argparse
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.data.images import decode_image
from core.data.transforms import ToTensor
from core.errors import UnreadableImage, UserError
from core.model.clip4str import CLIP4STR
from core.weights.checkpoint import load_model


def read_files(options: argparse.Namespace) -> tuple[list[dict], list[UserError]]:
    """The readings of the files that `core.read`'s options name, and an error for every file that is not an image.

    Raises:
        UserError: the model cannot be loaded.
    """
    model = load_model(options.model).to("cuda" if torch.cuda.is_available() else "cpu")
    readings, unreadable = [], []
    for path in options.images:
        try:
            readings += read_images(model, [path], options.normalisation, options.refine_steps)
        except UserError as error:
            unreadable.append(error)
    return readings, unreadable


def show_readings(readings: list[dict]) -> None:
    """Print readings as a table."""
    table = Table("image", "text", "confidence", "visual branch", "cross-modal branch")
    for column in table.columns:
        column.overflow = "fold"
    for reading in readings:
        image, text, visual, cross = (escape(reading[name] or "") for name in ("image", "text", "visual", "cross"))
        table.add_row(image, text, f"{reading['confidence']:.3f}", visual, cross)
    Console().print(table)


def open_image(path: Path) -> Image.Image:
    """An image file in RGB.

    Raises:
        UserError: it is missing, or no image.
    """
    try:
        return decode_image(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UnreadableImage as error:
        raise UserError(f"{path}: not an image that can be decoded ({error})") from error


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
