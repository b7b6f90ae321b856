"""Readers made by others, read by core.peers from the same LMDBs: a check of data, label rules and scoring."""

import json
from pathlib import Path

import pandas as pd

from core.charset import CHARSETS, reduce_text
from core.errors import ReportError
from reports import stats
from reports.averages import counted_twice
from reports.layout import Column


def outside(run: pd.Series, columns: list[Column]) -> pd.DataFrame:
    """A line a reader below the folder that the plan names: `method`, then an Interval (or None) a column; may be empty.

    Args:
        run: any row of the table, for `peers` and the scoring charset.
    """
    folders = sorted(path.parent for path in Path(run.peers).glob("*/metrics.json")) if run.peers else []
    charset = CHARSETS[json.loads(run.protocol)["scoring_charset_size"]]
    return pd.DataFrame([one_reader(folder, columns, charset) for folder in folders], columns=["method", *names(columns)])


def names(columns: list[Column]) -> list[str]:
    return [column.name for column in columns if not column.fact]


def one_reader(folder: Path, columns: list[Column], charset: str) -> dict:
    """Accuracies of a reader, scored as rows are.

    Raises:
        ReportError: a file is damaged.
    """
    try:
        reader = json.loads((folder / "metrics.json").read_text())["reader"]
        frame = pd.read_parquet(folder / "predictions.parquet", columns=["benchmark", "label", "reading"])
    except (ValueError, KeyError) as error:
        raise ReportError(f"{folder} cannot be read ({error}); delete it and run python -m core.peers again") from error
    label = frame.label.map(lambda text: reduce_text(text, charset))
    frame["correct"] = label == frame.reading.map(lambda text: reduce_text(text, charset))
    frame = frame[label != ""]
    line: dict = {"method": f"{reader['name']} {reader['version']}"}
    for column in columns:
        here = frame[frame.benchmark.isin(column.benchmarks)]
        if not column.fact:
            whole = len(column.benchmarks) > 0 and set(here.benchmark) == set(column.benchmarks)
            effective = stats.effective_images(len(here), counted_twice(column, here)) if whole else None
            line[column.name] = stats.accuracy(here.correct.sum(), len(here), effective) if whole else None
    return line
