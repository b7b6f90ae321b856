"""Images with one heatmap each, on disk: core computes them, reports draws them (Figures 1 and 2).

FOLDER/maps.npz holds image_00000, image_00001, ... (H W 3, uint8), `maps` (N rows columns) and further arrays;
FOLDER/maps.json describes them.
"""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.errors import DataError
from core.files import atomic_folder, refuse_existing, write_json

ARRAYS, DESCRIPTION = "maps.npz", "maps.json"
REQUIRED = ("figure", "scale", "method", "tower", "seed", "cases")


@dataclass(frozen=True)
class Maps:
    """N images and their heatmaps.

    Args:
        images: H W 3, uint8, of any sizes.
        maps: N rows columns, not negative, not scaled.
        about: `figure` (which one this is for), `scale`, `method` (what the maps are), `tower`, `seed`, and `cases`,
            one entry per image.
        more: other arrays, by name.
    """

    images: list[np.ndarray]
    maps: np.ndarray
    about: dict
    more: dict[str, np.ndarray] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all; maps of an earlier call are replaced.

        Raises:
            DataError: it holds anything else.
        """
        refuse_others(folder)
        named = {f"image_{number:05d}": image for number, image in enumerate(self.images)}
        with atomic_folder(folder) as partial:
            np.savez_compressed(partial / ARRAYS, maps=self.maps, **named, **self.more)
            write_json(partial / DESCRIPTION, self.about)


def refuse_others(folder: Path) -> None:
    """Raise DataError if a folder to save maps in holds anything but maps of an earlier call."""
    refuse_existing(folder, (ARRAYS, DESCRIPTION))


def load_maps(folder: Path, figure: str) -> Maps:
    """The maps that were saved for a figure.

    Raises:
        DataError: a file is missing or damaged, or the folder is for another figure.
    """
    arrays, description = folder / ARRAYS, folder / DESCRIPTION
    for path in (arrays, description):
        if not path.is_file():
            raise DataError(
                f"{path} is missing: make it with python -m core.figures.zero_shot (Figure 1) or "
                "core.figures.attention (Figure 2)"
            )
    try:
        about = json.loads(description.read_text())
    except ValueError as error:
        raise DataError(f"{description} is not valid JSON ({error}); make the folder again") from error
    if missing := [key for key in REQUIRED if key not in about]:
        raise DataError(f"{description}: key {missing[0]!r} is missing; make the folder again")
    if about["figure"] != figure:
        raise DataError(f"{description}: key 'figure' is {about['figure']!r}, expected {figure!r}")
    try:
        with np.load(arrays) as stored:
            images = [stored[name] for name in sorted(stored.files) if name.startswith("image_")]
            more = {name: stored[name] for name in stored.files if not name.startswith(("image_", "maps"))}
            maps = Maps(images, stored["maps"], about, more)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{arrays} is damaged ({error}); make the folder again") from error
    if not len(maps.images) == len(maps.maps) == len(about["cases"]):
        counts = f"{len(maps.images)} images, {len(maps.maps)} maps, {len(about['cases'])} cases"
        raise DataError(f"{folder}: {counts}, expected as many of each; make the folder again")
    return maps
