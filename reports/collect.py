"""Gather what the runs of a table left behind: a tidy frame of scores, and the predictions behind it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from core.charset import CHARSETS, reduce_text
from core.files import ROOT

LAYOUT_KEYS = {"title", "about", "baseline", "output", "columns", "extra_columns", "order"}


class ReportError(ValueError):
    """A table that cannot be made; the message names file, row and key."""


@dataclass(frozen=True)
class Column:
    """One column of a published table and the benchmark that fills it here."""

    name: str
    benchmark: str
    published: bool  # False for what we show beside the paper's columns

    @property
    def heading(self) -> str:
        return self.name if self.name == self.benchmark else f"{self.name} ({self.benchmark})"


@dataclass(frozen=True)
class Layout:
    """A table.yaml: what stands where, and which row is the baseline."""

    table: str
    title: str
    about: str
    baseline: str
    output: str
    columns: list[dict]
    extra_columns: list[str]


def read_layout(table: str) -> Layout:
    """The layout of ablations/<table>/table.yaml.

    Raises:
        ReportError: an unknown or missing key.
    """
    path = ROOT / "ablations" / table / "table.yaml"
    content = yaml.safe_load(path.read_text())
    unknown, missing = content.keys() - LAYOUT_KEYS, LAYOUT_KEYS - {"order", "extra_columns"} - content.keys()
    if unknown or missing:
        what = f"unknown key {min(unknown)!r}" if unknown else f"key {min(missing)!r} is missing"
        raise ReportError(f"{path}: {what}; the keys are {', '.join(sorted(LAYOUT_KEYS))}")
    return Layout(
        table=table,
        title=content["title"],
        about=content["about"],
        baseline=content["baseline"],
        output=content["output"],
        columns=content["columns"],
        extra_columns=content.get("extra_columns", []),
    )


def columns_of(layout: Layout, rendered: bool, found: list[str]) -> list[Column]:
    """The published columns under the data in use, then whatever else was evaluated.

    On the rendered world a column is filled by its stand-in family, on real data by the benchmark itself.
    """
    key = "micro" if rendered else "paper"
    columns = [Column(entry["name"], entry[key], True) for entry in layout.columns]
    taken = {column.benchmark for column in columns}
    return columns + [Column(name, name, False) for name in found if name not in taken]


def read_runs(results: Path, table: str) -> pd.DataFrame:
    """The rows of a table with the runs they lead to."""
    return pd.read_csv(results / "tables" / f"{table}.runs.csv", dtype={"run": str, "protocol": str, "seeds": str})


def read_predictions(results: Path, run: pd.Series, output: str) -> pd.DataFrame:
    """Per-image results of one row over its seeds: benchmark, index, seed, correct.

    Raises:
        ReportError: a file is missing, or holds no such output.
    """
    frames = []
    for seed in run.seeds.split():
        path = results / "runs" / run.run / f"seed{seed}" / "evaluations" / run.protocol / "predictions.parquet"
        if not path.is_file():
            raise ReportError(f"row {run.row}: {path} is missing; run the evaluation again")
        frame = pd.read_parquet(path, columns=["benchmark", "index", "label", output])
        if frame[output].isna().any():
            raise ReportError(f"row {run.row}: {path} has no output {output!r}; name another in table.yaml")
        frames.append(frame.assign(seed=int(seed)))
    rows = pd.concat(frames, ignore_index=True)
    charset = CHARSETS[36]
    label = [reduce_text(text, charset) for text in rows.label]
    reading = [reduce_text(text, charset) for text in rows[output]]
    rows["correct"] = [a == b for a, b in zip(label, reading, strict=True)]
    return rows.loc[[text != "" for text in label], ["benchmark", "index", "seed", "correct"]]


def check_protocols(runs: pd.DataFrame) -> None:
    """Refuse a table whose rows were scored under different protocols.

    Raises:
        ReportError: naming a row of each.
    """
    if runs.protocol.nunique() > 1:
        first = runs.drop_duplicates("protocol")
        pairs = ", ".join(f"{row} under {protocol}" for row, protocol in zip(first.row, first.protocol, strict=True))
        raise ReportError(f"rows were scored under different protocols: {pairs}; see evaluations/<protocol>/metrics.json")
