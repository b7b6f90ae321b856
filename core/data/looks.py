"""How word images look: size, contrast, sharpness, noise and room around the word, folder beside folder.

    python -m core.data.looks DIR/train/real/IIIT5k results/data/small-*/train/real

A rendered world can be set by these figures of real training words, before anything is trained on it (docs/small.md).
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from core.cli import at_least
from core.data.lmdb import WordLmdb
from core.data.sets import find_lmdbs
from core.errors import DataError, UnreadableImage, user_errors

SIZE = (128, 32)  # pixels across and down, to which images are brought before anything but their own size is measured
PERCENTILES = (10, 50, 90)
INKED = 0.25  # a row or column belongs to the word if it changes at least so much of what the busiest tenth of them does


class Look(NamedTuple):
    """What is measured of one image; grey levels are 0 to 255.

    Args:
        image: as stored.
        label: what it says.
        grey: grey levels at SIZE, rows x columns.
        ink: True where a pixel is on the other side of Otsu's threshold than the border is.
    """

    image: Image.Image
    label: str
    grey: np.ndarray
    ink: np.ndarray

    @property
    def contrast(self) -> float:
        """Between the mean levels of ink and background."""
        return abs(self.grey[self.ink].mean() - self.grey[~self.ink].mean()) if 0 < self.ink.mean() < 1 else 0.0

    @property
    def sharpness(self) -> float:
        """Variance of the Laplacian, as a share of the levels' own variance."""
        return self.laplacian.var() / max(self.grey.var(), 1)

    @property
    def noise(self) -> float:
        """Standard deviation of white noise that has the median Laplacian of this image."""
        middle = np.median(self.laplacian)
        return 1.4826 * np.median(np.abs(self.laplacian - middle)) / np.sqrt(20)  # 4^2 + 4 x 1^2

    @property
    def laplacian(self) -> np.ndarray:
        """Of the grey levels, which beyond the border are those at it."""
        padded = np.pad(self.grey, 1, mode="edge")
        return padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2] - 4 * self.grey

    def room(self, axis: int, side: int) -> float:
        """Share of the height (axis 0) or width (1) before the word's first row or column (side 0), or behind its last (-1)."""
        busy = np.abs(np.diff(self.grey, axis=1 - axis)).sum(1 - axis)
        inked = np.flatnonzero(busy > INKED * np.percentile(busy, 90))
        if not inked.size:
            return 0.0
        return (inked[0] if side == 0 else len(busy) - 1 - inked[-1]) / len(busy)


MEASURES: dict[str, Callable[[Look], float]] = {
    "height (pixels)": lambda look: look.image.height,
    "width / height": lambda look: look.image.width / look.image.height,
    "width / height per letter": lambda look: look.image.width / look.image.height / max(1, len(look.label)),
    "mean level": lambda look: look.grey.mean(),
    "contrast (levels)": lambda look: look.contrast,
    "share of ink": lambda look: look.ink.mean(),
    "sharpness": lambda look: look.sharpness,
    "noise (levels)": lambda look: look.noise,
    "free above": lambda look: look.room(0, 0),
    "free below": lambda look: look.room(0, -1),
    "free left": lambda look: look.room(1, 0),
    "free right": lambda look: look.room(1, -1),
}


def look_at(image: Image.Image, label: str) -> Look:
    """An image prepared to be measured."""
    grey = np.asarray(image.convert("L").resize(SIZE, Image.Resampling.BICUBIC), dtype=np.float32)
    bright = grey > threshold(grey)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return Look(image, label, grey, bright if np.median(border) <= threshold(grey) else ~bright)


def threshold(grey: np.ndarray) -> int:
    """Otsu's: the level that parts the pixels into two groups whose means are as far apart as they can be."""
    share = np.bincount(np.rint(grey).astype(int).clip(0, 255).ravel(), minlength=256) / grey.size
    below, sums = np.cumsum(share), np.cumsum(share * np.arange(256))
    return int(np.argmax((sums[-1] * below - sums) ** 2 / np.maximum(below * (1 - below), 1e-9)))


def measured(folder: Path, count: int, seed: int) -> tuple[np.ndarray, int]:
    """MEASURES of `count` images drawn from all LMDBs of a folder, images x measures; and how many could not be decoded.

    Raises:
        DataError: the folder has no LMDB, or none of their images can be read.
    """
    sets = [WordLmdb(path) for path in find_lmdbs(folder)]
    places = [(words, number) for words in sets for number in range(len(words.samples))]
    drawn = np.random.default_rng(seed).permutation(len(places))[:count]
    lines, unread = [], 0
    for words, number in (places[position] for position in drawn):
        sample = words.samples[number]
        try:
            look = look_at(words.image(sample.index), sample.label)
        except UnreadableImage:
            unread += 1
            continue
        lines.append([float(measure(look)) for measure in MEASURES.values()])
    if not lines:
        raise DataError(f"{folder}: none of its images can be read")
    return np.array(lines), unread


def headings(folders: Sequence[Path]) -> dict[Path, str]:
    """A heading for each folder: its name, or the whole path where two have the same name."""
    known = [folder.resolve().name for folder in dict.fromkeys(folders)]
    return {folder: name if known.count(name := folder.resolve().name) == 1 else str(folder) for folder in folders}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.data.looks",
        description="Measure how word images look, and print a Markdown table: percentiles 10, 50 and 90 of every measure. All "
        f"but the sizes are taken at {SIZE[0]} x {SIZE[1]} pixels in grey.",
        epilog="example: python -m core.data.looks data/train/real/IIIT5k results/data/small-1a2b3c4d/train/real",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="LMDB, or a folder of them")
    parser.add_argument("--n", type=at_least(1), default=300, help="images of each folder, drawn at random (default: 300)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of that draw (default: 0)")
    options = parser.parse_args()
    with user_errors():
        import pandas as pd

        columns, names = {}, headings(options.folders)
        for folder in options.folders:
            lines, unread = measured(folder, options.n, options.seed)
            marks = np.percentile(lines, PERCENTILES, axis=0).T
            left_out = f", {unread} not decoded" if unread else ""
            columns[f"{names[folder]} ({len(lines)} images{left_out})"] = [
                " / ".join(f"{mark:.3g}" for mark in row) for row in marks
            ]
        print(pd.DataFrame(columns, index=pd.Index(MEASURES, name="")).to_markdown())


if __name__ == "__main__":
    main()
