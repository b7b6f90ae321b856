"""Label files: other labels for images that are read already (section V-G scores the same readings with cleaned ones).

One CSV per benchmark, DATA/labels/<name>/<benchmark>.csv, in UTF-8, with the columns `index` (key number in the LMDB, from 1)
and `label`, and one line per stored image, those whose label stays included. Where a benchmark is several LMDBs, a column
`lmdb` names the one that the number counts in, by its path below the benchmark's folder. The corrected labels that Table X was
scored with (Yang et al. 2023, "Masked and permuted implicit context learning") have no format that is known here, so write them
so.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from core.charset import RejectedLabel, read_label
from core.data.convert.lists import csv_fields
from core.data.convert.source import first_line
from core.data.labels import PUBLISHED_RULES, Rules
from core.data.lmdb import WHOLE
from core.errors import ReportError


def unlabelled(folder: Path, benchmarks: Iterable[str]) -> dict[str, str]:
    """Which benchmarks have no label file in a folder, and that they have none."""
    return {name: f"no {name}.csv in {folder}" for name in benchmarks if not (folder / f"{name}.csv").is_file()}


def corrected(predictions: pd.DataFrame, folder: Path, benchmarks: dict, rules: Rules) -> pd.DataFrame:
    """Predictions with the labels of `folder`; benchmarks that have no file there, and labels the rules drop, are left out.

    Args:
        predictions: with `benchmark`, `lmdb` and `index`.
        benchmarks: entries of metrics.json, for the numbers of stored images.
        rules: the label rules of the rows' protocol.
    """
    frames = []
    for name, rows in predictions.groupby("benchmark", sort=False):
        path = folder / f"{name}.csv"
        if path.is_file():
            entry = benchmarks[name]
            labels = read_labels(path, entry.get("lmdbs", {WHOLE: entry["stored"]}), rules)
            places = pd.MultiIndex.from_frame(rows[["lmdb", "index"]])
            frames.append(rows.assign(label=labels.reindex(places).to_numpy()).dropna(subset="label"))
    return pd.concat([*frames, predictions.iloc[:0]], ignore_index=True)


def read_labels(path: Path, stored: Mapping[str, int], rules: Rules = PUBLISHED_RULES) -> pd.Series:
    """The labels of a file, by LMDB and key number; nothing for a label that the rules of stored ones (core.charset) drop.

    Args:
        stored: images by the name of each LMDB of the benchmark.
    """
    columns = first_line(path).split(",")
    if sorted(columns) not in (["index", "label"], ["index", "label", "lmdb"]):
        raise ReportError(f"{path}: columns are {', '.join(columns)}; expected index,label or lmdb,index,label")
    _, *lines = (fields for _, fields in csv_fields(path, ",".join(columns)))
    frame = pd.DataFrame(lines, columns=columns)
    if "lmdb" not in frame:
        if len(stored) > 1:
            raise ReportError(
                f"{path}: the benchmark is {len(stored)} LMDBs, so that a key number alone names no image; add a column lmdb "
                f"that holds {' or '.join(stored)}"
            )
        (frame["lmdb"],) = stored
    for name in frame.lmdb[~frame.lmdb.isin(stored.keys())]:
        raise ReportError(f"{path}: lmdb {name!r} is not of this benchmark, which has {', '.join(stored)}")
    frame["number"] = pd.to_numeric(frame["index"], errors="coerce")
    for name, count in stored.items():
        lines = frame[frame.lmdb == name]
        if problem := wrong_lines(lines["index"], lines.number, count):
            where = f" (lmdb {name})" if len(stored) > 1 else ""
            raise ReportError(
                f"{path}: {len(lines)} labels for a benchmark of {count} stored images{where}: {problem}; give every image "
                f"from 1 to {count} one line, also those whose label stays"
            )

    def as_stored(label: str) -> str | None:
        try:
            return read_label(label, *rules)
        except RejectedLabel:
            return None

    return frame.label.map(as_stored).set_axis(pd.MultiIndex.from_arrays([frame.lmdb, frame.number.astype(int)]))


def wrong_lines(written: pd.Series, numbers: pd.Series, stored: int) -> str:
    """The first index that is not one of 1 to `stored`, that comes twice, or that is missing; empty where all is well."""
    outside = written[~numbers.isin(range(1, stored + 1))]
    if len(outside):
        return f"index {outside.iloc[0]!r} is not a number from 1 to {stored}"
    if numbers.duplicated().any():
        return f"index {int(numbers[numbers.duplicated()].iloc[0])} comes twice"
    missing = sorted(set(range(1, stored + 1)) - set(numbers))
    return f"index {missing[0]} is missing" if missing else ""
