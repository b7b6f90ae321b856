"""Readers made by others, read by core.peers from the same LMDBs: a check of data, label rules and scoring."""

import json
from pathlib import Path

import pandas as pd

from reports.collect.predictions import scored
from reports.collect.stored import damaged, read_json
from reports.layout import Column
from reports.stats import intervals

AGAIN = "delete its folder and run python -m core.peers again"


def read_peers(run: pd.Series, columns: list[Column]) -> pd.DataFrame:
    """One line per reader below the folder that the plan names: `method`, then an Interval (or None) per column.

    Args:
        run: any row of the table, for `peers` and the scoring charset.
    """
    folders = sorted(path.parent for path in Path(run.peers).glob("*/metrics.json")) if run.peers else []
    charset_size = json.loads(run.protocol)["scoring_charset_size"]
    names = [column.name for column in columns if not column.fact]
    return pd.DataFrame([one_reader(folder, columns, charset_size) for folder in folders], columns=["method", *names])


def one_reader(folder: Path, columns: list[Column], charset_size: int) -> dict:
    """Accuracies of a reader, scored as rows are."""
    with damaged(folder / "metrics.json", AGAIN):
        reader = read_json(folder / "metrics.json", AGAIN)["reader"]
        line: dict = {"method": f"{reader['name']} {reader['version']}"}
    with damaged(folder / "predictions.parquet", AGAIN):
        frame = pd.read_parquet(folder / "predictions.parquet", columns=["benchmark", "label", "reading"])
    frame = scored(frame, charset_size)
    for column in columns:
        here = frame[frame.benchmark.isin(column.benchmarks)]
        if not column.fact:
            whole = len(column.benchmarks) > 0 and set(here.benchmark) == set(column.benchmarks)
            line[column.name] = intervals.pooled_accuracy(here) if whole else None
    return line
