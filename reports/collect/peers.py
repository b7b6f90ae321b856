"""Readers made by others, read by core.peers from the same LMDBs: a check of data, label rules and scoring."""

from pathlib import Path

import pandas as pd

from core.errors import ReportError
from core.run_files import METRICS, PREDICTIONS
from reports.collect.predictions import IMAGE, read_images, scored
from reports.collect.runs import protocol_of
from reports.collect.stored import damaged, read_json
from reports.columns import Column
from reports.stats import intervals

AGAIN = "delete its folder and run python -m core.peers again"


def read_peers(line: pd.Series, columns: list[Column], images: pd.DataFrame) -> pd.DataFrame:
    """One line per reader below the folder that the plan names: `method`, then an Interval (or None) per column.

    Args:
        line: any row of the table, for `peers` and the scoring charset.
        images: those that the rows read, see IMAGE; a reader has to have read the same ones.
    """
    folders = sorted(path.parent for path in Path(line.peers).glob(f"*/{METRICS}")) if line.peers else []
    charset = protocol_of(line)["scoring_charset"]
    names = [column.name for column in columns if not column.fact]
    return pd.DataFrame([one_reader(folder, columns, charset, images) for folder in folders], columns=["method", *names])


def one_reader(folder: Path, columns: list[Column], charset: str, images: pd.DataFrame) -> dict:
    """Accuracies of a reader, scored as rows are and on the same images."""
    with damaged(folder / METRICS, AGAIN):
        reader = read_json(folder / METRICS, AGAIN)["reader"]
        line: dict = {"method": f"{reader['name']} {reader['version']}"}
    frame = scored(read_images(folder / PREDICTIONS, ["label", "reading"]), charset)
    check_same_images(folder, frame, images)
    for column in columns:
        here = frame[frame.benchmark.isin(column.benchmarks)]
        if not column.fact:
            whole = len(column.benchmarks) > 0 and set(here.benchmark) == set(column.benchmarks)
            line[column.name] = intervals.pooled_accuracy(here) if whole else None
    return line


def check_same_images(folder: Path, frame: pd.DataFrame, images: pd.DataFrame) -> None:
    """Raise ReportError unless a reader read the rows' images of every benchmark that both have, and no others."""
    for benchmark in sorted(set(frame.benchmark) & set(images.benchmark)):
        theirs, ours = (pd.MultiIndex.from_frame(read.loc[read.benchmark == benchmark, IMAGE]) for read in (frame, images))
        if len(odd := theirs.symmetric_difference(ours)):
            _, lmdb, index = odd[0]
            raise ReportError(
                f"{folder / 'predictions.parquet'}: {len(odd)} images of {benchmark} were read by this reader or by the rows "
                f"alone (first: {index} of LMDB {lmdb}); {AGAIN}"
            )
