"""Words read from image files: text and confidence of every output."""

from pathlib import Path

from PIL import Image

from core.data.images import decode_image
from core.data.transforms import ToTensor
from core.errors import UnreadableImage, UserError
from core.model.clip4str import CLIP4STR


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
