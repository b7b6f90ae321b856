"""Label files: other labels for images that are read already (section V-G scores the same readings with cleaned ones).

One CSV per benchmark, DATA/labels/<name>/<benchmark>.csv, in UTF-8, with the columns `index` (key number in the LMDB, from 1)
and `label`, and one line per stored image, those whose label stays included. The corrected labels that Table X was scored
with (Yang et al. 2023, "Masked and permuted implicit context learning") have no format that is known here, so write them so.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from core.charset import CHARSETS, RejectedLabel, normalise_label
from core.errors import ReportError
from reports.collect.stored import damaged

MAX_LETTERS = 25  # the label rule of section IV-A


def unlabelled(folder: Path, benchmarks: Iterable[str]) -> dict[str, str]:
    """Which benchmarks have no label file in a folder, and that they have none."""
    return {name: f"no {name}.csv in {folder}" for name in benchmarks if not (folder / f"{name}.csv").is_file()}


def corrected(predictions: pd.DataFrame, folder: Path, benchmarks: dict) -> pd.DataFrame:
    """Predictions with the labels of `folder`; benchmarks that have no file there, and labels the rules drop, are left out.

    Args:
        predictions: with `benchmark` and `index`.
        benchmarks: entries of metrics.json, for the number of stored images.
    """
    frames = []
    for name, rows in predictions.groupby("benchmark", sort=False):
        path = folder / f"{name}.csv"
        if path.is_file():
            labels = read_labels(path, benchmarks[name]["stored"])
            frames.append(rows.assign(label=rows["index"].map(labels)).dropna(subset="label"))
    return pd.concat([*frames, predictions.iloc[:0]], ignore_index=True)


def read_labels(path: Path, stored: int) -> pd.Series:
    """The labels of a file, by index; nothing for a label that the rules of stored ones (core.charset) drop."""
    with damaged(path, "expected a CSV in UTF-8 with the columns index,label"):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"index", "label"} <= set(frame.columns):
        raise ReportError(f"{path}: columns are {', '.join(frame.columns)}; expected index,label")
    numbers = pd.to_numeric(frame["index"], errors="coerce")
    if problem := wrong_lines(frame["index"], numbers, stored):
        raise ReportError(
            f"{path}: {len(frame)} labels for a benchmark of {stored} stored images: {problem}; give every image from 1 to "
            f"{stored} one line, also those whose label stays"
        )

    def as_stored(label: str) -> str | None:
        try:
            return normalise_label(label, CHARSETS[94], MAX_LETTERS)
        except RejectedLabel:
            return None

    return frame.set_index(numbers.astype(int)).label.fillna("").map(as_stored)  # a line without a comma has none


def wrong_lines(written: pd.Series, numbers: pd.Series, stored: int) -> str:
    """The first index that is not one of 1 to `stored`, that comes twice, or that is missing; empty where all is well."""
    outside = written[~numbers.isin(range(1, stored + 1))]
    if len(outside):
        return f"index {outside.iloc[0]!r} is not a number from 1 to {stored}"
    if numbers.duplicated().any():
        return f"index {int(numbers[numbers.duplicated()].iloc[0])} comes twice"
    missing = sorted(set(range(1, stored + 1)) - set(numbers))
    return f"index {missing[0]} is missing" if missing else ""
