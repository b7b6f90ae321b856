"""IIIT5K-Words: traindata.mat and testdata.mat (or the character boxes, *CharBound.mat) beside train/ and test/."""

from pathlib import Path

import numpy as np

from core.data.convert.source import ImageFinder, LeftOut, Listing, SourceOptions, listed, pick_file
from core.errors import DataError

LOOKS = "the folder with traindata.mat and testdata.mat beside train/ and test/ (say --split), or one .mat file"
LABEL_FIELDS = ("GroundTruth", "chars")  # *data.mat, *CharBound.mat


def detect(source: Path) -> bool:
    return source.suffix == ".mat" or any((source / f"{split}data.mat").is_file() for split in ("train", "test"))


def read(source: Path, options: SourceOptions) -> Listing:
    """The words of one .mat file, labels in capitals as published."""
    path = pick_file(source, ("*data.mat",), options.split)
    finder = ImageFinder(options.images or path.parent)
    for number, entry in enumerate(entries(path), start=1):
        key = f"{path.name}:{number}"
        image = text(f"{path}, entry {number}", entry["ImgName"])
        label = next(text(f"{path}, entry {number}", entry[field]) for field in LABEL_FIELDS if field in entry.dtype.names)
        if image is None or label is None:
            yield LeftOut(key, "no image name" if image is None else "empty label")
        else:
            yield listed(f"{key} {image}", label, finder.at(image), image)


def entries(path: Path) -> np.ndarray:
    """The records of the only struct array of a .mat file."""
    from scipy.io import loadmat  # half of the converters' import time, and only this one needs it

    try:
        content = loadmat(path)
    except Exception as error:  # scipy raises IndexError, TypeError, ValueError and others on damaged bytes
        raise DataError(f"{path}: not a readable MATLAB 5 file ({error}); download it again") from error
    arrays = [value for name, value in content.items() if not name.startswith("__") and value.dtype.names]
    if len(arrays) != 1 or "ImgName" not in arrays[0].dtype.names or not set(LABEL_FIELDS) & set(arrays[0].dtype.names):
        names = [name for name in content if not name.startswith("__")]
        raise DataError(f"{path}: expected one struct array with ImgName and GroundTruth (or chars), found {names}")
    return arrays[0].ravel()


def text(place: str, cell: np.ndarray) -> str | None:
    """A MATLAB string; None when the cell is empty, DataError for numbers and for several strings."""
    value = cell
    while isinstance(value, np.ndarray):
        if value.size == 0:
            return None
        if value.size > 1:
            raise DataError(f"{place}: expected one string, found {cell!s:.80}")
        value = value.ravel()[0]
    if not isinstance(value, str):
        raise DataError(f"{place}: expected a string, found {value!s:.80}")
    return str(value)
