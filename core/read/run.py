"""Words read from image files: text and confidence of every output, batch by batch."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from core.data.images import read_image_file
from core.data.transforms import ToTensor, normalise
from core.errors import UserError
from core.files import json_text
from core.model.clip4str import CLIP4STR
from core.read.image_files import image_files
from core.runtime.compute import device_memory, is_out_of_memory, pick_device
from core.weights.checkpoint import load_model

TURNS_BY_DEGREE = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}  # counter-clockwise
TALL = 1.5  # times its width: a higher image counts as tall, as in other toolkits for scene text
COLUMNS = ("image", "text", "confidence", "visual", "cross", "turned")


@dataclass(frozen=True)
class ReadOptions:
    """How images are read.

    Args:
        refine_steps: None takes the model's own number.
        batch: images per forward pass.
        orientations: whether every image is tried in four orientations.
        tall: "try" tries images higher than TALL widths in three, "keep" does not.
        letters: whether a reading holds the probability of every character.
    """

    normalisation: str
    refine_steps: int | None = None
    batch: int = 32
    orientations: bool = False
    tall: str = "try"
    letters: bool = False

    def turns(self, image: Image.Image) -> tuple[int, ...]:
        """The orientations in which an image is tried: degrees by which it is turned counter-clockwise."""
        if self.orientations:
            return 0, 90, 180, 270
        return (0, 90, 270) if self.tall == "try" and image.height > TALL * image.width else (0,)


class View(NamedTuple):
    """An image as it is tried: turned by so many degrees, and resized to 3 H W, uint8."""

    turned: int
    pixels: Tensor


def read_and_print(options: argparse.Namespace) -> bool:
    """Read the files that `core.read`'s options name and print each reading as soon as its batch is read.

    Returns:
        Whether every file could be read; the others are named on stderr, and counted at the end.

    Raises:
        UserError: the model cannot be loaded, or a batch needs more memory than there is.
    """
    model = load_model(options.model).to(pick_device())
    normalisation = options.normalisation or model.normalisation
    asked = ReadOptions(normalisation, options.refine_steps, options.batch, options.orientations, options.tall, options.letters)
    sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    write = as_json if options.json else as_line
    if not options.json:
        print(*COLUMNS, *(["letters"] if options.letters else []), sep="\t", flush=True)
    read = failed = 0
    for result in read_files(model, image_files(options.images), asked):
        if isinstance(result, UserError):
            failed += 1
            print(f"error: {result}", file=sys.stderr, flush=True)
        else:
            read += 1
            print(write(result), flush=True)
    if failed:
        print(f"{failed:,} of {read + failed:,} files could not be read", file=sys.stderr)
    return not failed


def as_json(reading: dict) -> str:
    return json_text(reading)


def as_line(reading: dict) -> str:
    """A reading as columns between tabs; control characters of a file's name are escaped, so that it is one line."""
    name = "".join(
        letter if letter.isprintable() or "\udc80" <= letter <= "\udcff" else repr(letter)[1:-1] for letter in reading["image"]
    )
    columns = [
        name,
        reading["text"],
        f"{reading['confidence']:.3f}",
        reading["visual"],
        reading["cross"] or "",
        reading["turned"],
    ]
    if "letters" in reading:
        end = [] if reading["end"] is None else [f"[E] {reading['end']:.3f}"]
        columns.append(" ".join([*(f"{letter} {probability:.3f}" for letter, probability in reading["letters"]), *end]))
    return "\t".join(map(str, columns))


def read_files(model: CLIP4STR, paths: Iterator[Path | UserError], options: ReadOptions) -> Iterator[dict | UserError]:
    """The reading of each file, or why it cannot be read, in their order and batch by batch.

    Args:
        paths: files; an error among them is passed on in its place.
    """
    transform = ToTensor(model.towers.image_size, options.normalisation)
    with ThreadPoolExecutor() as pool:  # decoders release Python's lock
        while batch := [path for _, path in zip(range(options.batch), paths, strict=False)]:
            opened = list(pool.map(lambda path: views_of(path, transform, options.turns), batch))
            tried = [view for views in opened if not isinstance(views, UserError) for view in views]
            readings = iter(read_views(model, tried, options))
            for path, views in zip(batch, opened, strict=True):
                if isinstance(views, UserError):
                    yield views
                else:
                    own = [next(readings) for _ in views]
                    yield {"image": str(path), **max(own, key=lambda reading: reading["confidence"])}


def views_of(
    path: Path | UserError, transform: ToTensor, turns: Callable[[Image.Image], Sequence[int]]
) -> list[View] | UserError:
    """An image in every orientation in which it is tried, or why there is none."""
    try:
        if isinstance(path, UserError):
            raise path
        image = read_image_file(path)
    except UserError as error:
        return error
    return [View(turn, transform.pixels(image.transpose(TURNS_BY_DEGREE[turn]) if turn else image)) for turn in turns(image)]


def read_views(model: CLIP4STR, views: list[View], options: ReadOptions) -> list[dict]:
    """The reading of each view, in batches.

    Raises:
        UserError: a batch needs more memory than there is.
    """
    readings = []
    for start in range(0, len(views), options.batch):
        part = views[start : start + options.batch]
        try:
            readings += read_batch(model, part, options)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            fewer = max(1, len(part) // 2)
            raise UserError(
                f"{device_memory()} has too little memory to read {len(part)} images at once: add --batch {fewer}"
            ) from error
    return readings


def read_batch(model: CLIP4STR, views: list[View], options: ReadOptions) -> list[dict]:
    """What the model reads in each view: text and confidence of Algorithm 1's output, and both branches."""
    device = next(model.parameters()).device
    images = normalise(torch.stack([view.pixels for view in views]), options.normalisation, device)
    prediction = model.predict(images, refine_steps=options.refine_steps)
    texts, confidences = model.tokenizer.decode(prediction.output)
    visual, visual_confidences = model.tokenizer.decode(prediction.visual)
    probabilities = prediction.output.float().softmax(-1).amax(-1).tolist() if options.letters else [None] * len(views)  # B N
    readings = []
    for number, (view, text) in enumerate(zip(views, texts, strict=True)):
        reading = {
            "text": text,
            "confidence": confidences[number],
            "visual": visual[number],
            "visual_confidence": visual_confidences[number],
            "cross": text if prediction.cross is not None else None,
            "turned": view.turned,
        }
        readings.append(reading | (by_letter(text, probabilities[number]) if options.letters else {}))
    return readings


def by_letter(text: str, probabilities: list[float]) -> dict:
    """The probability of each character, and of the word's end; None where the word fills every output."""
    end = probabilities[len(text)] if len(text) < len(probabilities) else None
    return {"letters": [list(pair) for pair in zip(text, probabilities, strict=False)], "end": end}
