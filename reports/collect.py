"""Gather what the runs of a table left behind: a tidy frame of scores, and the predictions behind it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from core.charset import CHARSETS, reduce_text
from core.files import ROOT

LAYOUT_KEYS = {"title", "about", "baseline", "columns", "order", "varies"}
OPTIONAL_KEYS = {"order", "varies"}


class ReportError(ValueError):
    """A table that cannot be made; the message names file, row and key."""


@dataclass(frozen=True)
class Column:
    """One column of a published table and the benchmark, or pooled benchmarks, that fill it here."""

    name: str
    benchmarks: tuple[str, ...]
    published: bool  # False for what we show beside the paper's columns

    @property
    def heading(self) -> str:
        filled = self.benchmarks[0] if len(self.benchmarks) == 1 else f"{len(self.benchmarks)} sets pooled"
        return self.name if self.name == filled else f"{self.name} ({filled})"


@dataclass(frozen=True)
class Layout:
    """A table.yaml: what stands where, which row is the baseline, and which protocol settings its rows may vary."""

    table: str
    title: str
    about: str
    baseline: str
    columns: list[dict]
    varies: list[str]


def read_layout(table: str) -> Layout:
    """The layout of ablations/<table>/table.yaml.

    Raises:
        ReportError: an unknown or missing key.
    """
    path = ROOT / "ablations" / table / "table.yaml"
    content = yaml.safe_load(path.read_text())
    unknown, missing = content.keys() - LAYOUT_KEYS, LAYOUT_KEYS - OPTIONAL_KEYS - content.keys()
    if unknown or missing:
        what = f"unknown key {min(unknown)!r}" if unknown else f"key {min(missing)!r} is missing"
        raise ReportError(f"{path}: {what}; the keys are {', '.join(sorted(LAYOUT_KEYS))}")
    return Layout(
        table=table,
        title=content["title"],
        about=content["about"],
        baseline=content["baseline"],
        columns=content["columns"],
        varies=content.get("varies", []),
    )


def columns_of(layout: Layout, rendered: bool, found: list[str]) -> list[Column]:
    """The published columns under the data in use, then whatever else was evaluated.

    On the rendered world a column is filled by its stand-in family (or families), on real data by the benchmark itself
    (or several, image by image: a benchmark and its subset both count).
    """
    key = "micro" if rendered else "paper"
    columns = []
    for entry in layout.columns:
        benchmarks = entry[key]
        columns.append(Column(entry["name"], (benchmarks,) if isinstance(benchmarks, str) else tuple(benchmarks), True))
    taken = {column.benchmarks[0] for column in columns if len(column.benchmarks) == 1}
    names = {column.name for column in columns}
    others = [name for name in found if name not in taken]
    return columns + [Column(f"{name} (here)" if name in names else name, (name,), False) for name in others]


def read_runs(tables: Path, table: str) -> pd.DataFrame:
    """The rows of a table with the runs they lead to."""
    text = {"run": str, "protocol": str, "evaluation": str, "seeds": str}
    return pd.read_csv(tables / f"{table}.runs.csv", dtype=text)


def read_predictions(results: Path, run: pd.Series) -> pd.DataFrame:
    """Per-image results of one row's output over its seeds: benchmark, index, seed, correct.

    Raises:
        ReportError: a file is missing, or holds no such output.
    """
    frames, output = [], run.output
    for seed in run.seeds.split():
        path = results / "runs" / run.run / f"seed{seed}" / "evaluations" / run.evaluation / "predictions.parquet"
        if not path.is_file():
            raise ReportError(f"row {run.row}: {path} is missing; run the evaluation again")
        frame = pd.read_parquet(path, columns=["benchmark", "index", "label", output])
        if frame[output].isna().any():
            raise ReportError(f"row {run.row}: {path} has no output {output!r}; set the row's OUTPUT macro")
        frames.append(frame.assign(seed=int(seed)))
    rows = pd.concat(frames, ignore_index=True)
    protocol = json.loads(path.with_name("metrics.json").read_text())["protocol"]
    charset = CHARSETS[protocol["scoring_charset_size"]]
    label = [reduce_text(text, charset) for text in rows.label]
    reading = [reduce_text(text, charset) for text in rows[output]]
    rows["correct"] = [a == b for a, b in zip(label, reading, strict=True)]
    return rows.loc[[text != "" for text in label], ["benchmark", "index", "seed", "correct"]]


def check_protocols(runs: pd.DataFrame, varies: list[str]) -> None:
    """Refuse a table whose rows were scored under different protocols, but for what the table is about.

    Args:
        runs: with `protocol`, the settings as JSON.
        varies: settings that rows may differ in (`varies` of table.yaml).

    Raises:
        ReportError: naming the setting, and a row of each value.
    """
    settings = {run.row: json.loads(run.protocol) for _, run in runs.iterrows()}
    first_row, first = next(iter(settings.items()))
    for row, other in settings.items():
        for name in sorted(first.keys() | other.keys()):
            here, there = first.get(name), other.get(name)
            if here != there and name not in varies:
                raise ReportError(
                    f"rows were scored under different protocols: {name} is {here!r} for {first_row} and {there!r} for "
                    f"{row}; list it under 'varies' in table.yaml if the table is about it"
                )
