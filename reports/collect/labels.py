"""Label files: other labels for images that are read already (section V-G scores the same readings with cleaned ones).

One CSV per benchmark, DATA/labels/<name>/<benchmark>.csv, in UTF-8, with two columns, `index` (key number in the LMDB, from
1) and `label`, and one line per stored image, those whose label stays included. The corrected labels that Table X was scored
with (Yang et al. 2023, "Masked and permuted implicit context learning") have no format that is known here, so write them so.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from core.charset import CHARSETS, RejectedLabel, read_label
from core.data.convert.lists import csv_rows
from core.errors import ReportError

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
    rows = [(index, label) for _, index, label, _ in csv_rows(path, "index,label")]
    if rows[:1] != [("index", "label")]:
        raise ReportError(f"{path}: columns are {', '.join(rows[0]) if rows else 'none'}; expected index,label")
    frame = pd.DataFrame(rows[1:], columns=rows[0])
    numbers = pd.to_numeric(frame["index"], errors="coerce")
    if problem := wrong_lines(frame["index"], numbers, stored):
        raise ReportError(
            f"{path}: {len(frame)} labels for a benchmark of {stored} stored images: {problem}; give every image from 1 to "
            f"{stored} one line, also those whose label stays"
        )

    def as_stored(label: str) -> str | None:
        try:
            return read_label(label, CHARSETS[94], MAX_LETTERS)
        except RejectedLabel:
            return None

    return frame.set_index(numbers.astype(int)).label.map(as_stored)


def wrong_lines(written: pd.Series, numbers: pd.Series, stored: int) -> str:
    """The first index that is not one of 1 to `stored`, that comes twice, or that is missing; empty where all is well."""
    outside = written[~numbers.isin(range(1, stored + 1))]
    if len(outside):
        return f"index {outside.iloc[0]!r} is not a number from 1 to {stored}"
    if numbers.duplicated().any():
        return f"index {int(numbers[numbers.duplicated()].iloc[0])} comes twice"
    missing = sorted(set(range(1, stored + 1)) - set(numbers))
    return f"index {missing[0]} is missing" if missing else ""
