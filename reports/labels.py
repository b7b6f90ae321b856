"""Label files: other labels for images that are read already (section V-G scores the same readings with cleaned ones).

A CSV a benchmark below DATA/labels/<name>/, with the columns `index` (key number in the LMDB, from 1) and `label`, and one
line for every stored image.
"""

from pathlib import Path

import pandas as pd

from core.charset import CHARSETS, RejectedLabel, normalise_label
from reports.layout import ReportError

MAX_LETTERS = 25  # the label rule of section IV-A


def corrected(predictions: pd.DataFrame, folder: Path, benchmarks: dict) -> pd.DataFrame:
    """Predictions with the labels of `folder`; benchmarks that have no file there, and labels the rules drop, are left out.

    Args:
        predictions: with `benchmark` and `index`.
        benchmarks: of metrics.json, for the number of stored images.

    Raises:
        ReportError: a file has not a line for every image.
    """
    frames = []
    for name, rows in predictions.groupby("benchmark", sort=False):
        path = folder / f"{name}.csv"
        if path.is_file():
            labels = read_labels(path, benchmarks[name]["stored"])
            frames.append(rows.assign(label=rows["index"].map(labels)).dropna(subset="label"))
    return pd.concat([*frames, predictions.iloc[:0]], ignore_index=True)


def read_labels(path: Path, stored: int) -> pd.Series:
    """The labels of a file, by index.

    Raises:
        ReportError: columns are missing, or the lines are not the images 1 to `stored`.
    """
    frame = pd.read_csv(path, dtype={"label": str}, keep_default_na=False)
    if not {"index", "label"} <= set(frame.columns):
        raise ReportError(f"{path}: columns are {', '.join(frame.columns)}; expected index,label")
    if sorted(frame["index"]) != list(range(1, stored + 1)):
        raise ReportError(
            f"{path}: {len(frame)} labels for a benchmark of {stored} stored images; give every image from 1 to {stored} one "
            "line, also those whose label stays"
        )
    return frame.set_index("index").label.map(as_stored)


def as_stored(label: str) -> str | None:
    """A label under the rules that stored ones pass (core.charset); None where they drop it."""
    try:
        return normalise_label(label, CHARSETS[94], MAX_LETTERS)
    except RejectedLabel:
        return None
