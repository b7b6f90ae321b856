"""Gather what the runs of a table left behind: a tidy frame of scores, and the predictions behind it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from core.charset import CHARSETS, reduce_text
from core.files import ROOT

LAYOUT_KEYS = {"title", "about", "baseline", "output", "columns", "order"}


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


def read_layout(table: str) -> Layout:
    """The layout of ablations/<table>/table.yaml.

    Raises:
        ReportError: an unknown or missing key.
    """
    path = ROOT / "ablations" / table / "table.yaml"
    content = yaml.safe_load(path.read_text())
    unknown, missing = content.keys() - LAYOUT_KEYS, LAYOUT_KEYS - {"order"} - content.keys()
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
    )


def columns_of(layout: Layout, rendered: bool, found: list[str]) -> list[Column]:
    """The published columns under the data in use, then whatever else was evaluated.

    On the rendered world a column is filled by its stand-in family, on real data by the benchmark itself.
    """
    key = "micro" if rendered else "paper"
    columns = [Column(entry["name"], entry[key], True) for entry in layout.columns]
    taken, names = {column.benchmark for column in columns}, {column.name for column in columns}
    others = [name for name in found if name not in taken]
    return columns + [Column(f"{name} (here)" if name in names else name, name, False) for name in others]


def read_runs(tables: Path, table: str) -> pd.DataFrame:
    """The rows of a table with the runs they lead to."""
    text = {"run": str, "protocol": str, "evaluation": str, "seeds": str}
    return pd.read_csv(tables / f"{table}.runs.csv", dtype=text)


def read_predictions(results: Path, run: pd.Series, output: str) -> pd.DataFrame:
    """Per-image results of one row over its seeds: benchmark, index, seed, correct.

    Raises:
        ReportError: a file is missing, or holds no such output.
    """
    frames = []
    for seed in run.seeds.split():
        path = results / "runs" / run.run / f"seed{seed}" / "evaluations" / run.evaluation / "predictions.parquet"
        if not path.is_file():
            raise ReportError(f"row {run.row}: {path} is missing; run the evaluation again")
        frame = pd.read_parquet(path, columns=["benchmark", "index", "label", output])
        if frame[output].isna().any():
            raise ReportError(f"row {run.row}: {path} has no output {output!r}; name another in table.yaml")
        frames.append(frame.assign(seed=int(seed)))
    rows = pd.concat(frames, ignore_index=True)
    protocol = json.loads(path.with_name("metrics.json").read_text())["protocol"]
    charset = CHARSETS[protocol["scoring_charset_size"]]
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
