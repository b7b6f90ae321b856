"""Gather what the runs of a table left behind: predictions scored under the table's labels, facts, published rows."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from core.charset import CHARSETS, reduce_text
from core.data.benchmarks import absence
from core.errors import ReportError
from core.files import ROOT
from reports.labels import corrected, unlabelled
from reports.layout import Column, Layout

PUBLISHED = ROOT / "reports" / "published"
BEYOND = "beyond num-samples"  # what core.data.lmdb calls samples that are not counted as stored
LMDB_APART = 10**9  # between the key numbers of a benchmark's LMDBs, more than one can hold
TEXT_COLUMNS = (
    "row",
    "gin",
    "run",
    "reason",
    "protocol",
    "output",
    "evaluation",
    "seeds",
    "data_root",
    "labels",
    "layers",
    "peers",
    "replicates",
)


def read_runs(tables: Path, table: str) -> pd.DataFrame:
    """The rows of a table with the runs they lead to.

    Raises:
        ReportError: the list is missing.
    """
    path = tables / f"{table}.runs.csv"
    if not path.is_file():
        raise ReportError(f"{path} is missing; `snakemake -n {table}` writes it")
    frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False)
    frame["replicates"] = frame.get("replicates", "")  # lists of earlier versions have none
    return frame.set_index("row", drop=False)


def evaluation_folder(results: Path, run: pd.Series, seed: str) -> Path:
    return results / "runs" / run.run / f"seed{seed}" / "evaluations" / run.evaluation


def read_predictions(results: Path, run: pd.Series) -> pd.DataFrame:
    """Per-image results of one row's output over its seeds: benchmark, index, seed, label, reading, correct.

    Labels are the table's own (`labels` of table.yaml) where it has some; images without a character of the scoring
    charset in their label are left out.

    Raises:
        ReportError: a file is missing, is of another protocol, is shorter than its benchmark, or lacks the output.
    """
    frames = []
    for seed in run.seeds.split():
        folder = evaluation_folder(results, run, seed)
        path = folder / "predictions.parquet"
        if not path.is_file():
            raise ReportError(f"row {run.row}: {path} is missing; run the evaluation again")
        frame, metrics = read_evaluation(run, folder)
        refuse_other_protocol(run, folder, metrics["protocol"])
        refuse_short(run, path, frame, metrics["benchmarks"])
        if frame[run.output].isna().any():
            raise ReportError(f"row {run.row}: {path} has no output {run.output!r}; set the row's OUTPUT macro")
        frames.append(frame.rename(columns={run.output: "reading"}).assign(seed=int(seed)))
    refuse_other_benchmarks(run, frames)
    rows = pd.concat(frames, ignore_index=True)
    if run.labels:
        rows = corrected(rows, Path(run.labels), metrics["benchmarks"])
    charset = CHARSETS[json.loads(run.protocol)["scoring_charset_size"]]
    label = rows.label.map(lambda text: reduce_text(text, charset))
    rows["correct"] = label == rows.reading.map(lambda text: reduce_text(text, charset))
    return rows.loc[label != "", ["benchmark", "index", "seed", "label", "reading", "correct"]]


def read_evaluation(run: pd.Series, folder: Path) -> tuple[pd.DataFrame, dict]:
    """Predictions and metrics of one seed; images of a benchmark's second, third, ... LMDB have an index of their own.

    Raises:
        ReportError: a file is damaged.
    """
    try:
        frame = pd.read_parquet(folder / "predictions.parquet", columns=["benchmark", "index", "label", run.output])
        metrics = json.loads((folder / "metrics.json").read_text())
    except (ValueError, OSError) as error:
        raise ReportError(f"row {run.row}: {folder} cannot be read ({error}); delete it and run the command again") from error
    lmdb = frame.groupby(["benchmark", "index"]).cumcount()
    return frame.assign(index=frame["index"] + LMDB_APART * lmdb), metrics


def refuse_other_benchmarks(run: pd.Series, frames: list[pd.DataFrame]) -> None:
    """Raises ReportError where one seed was evaluated on benchmarks that another was not."""
    found = [(frame.seed.iloc[0], set(frame.benchmark)) for frame in frames]
    for seed, benchmarks in found[1:]:
        if apart := sorted(benchmarks ^ found[0][1]):
            raise ReportError(
                f"row {run.row}: {apart[0]} was read with one of seeds {found[0][0]} and {seed} only; delete both evaluations "
                "and run the command again"
            )


def refuse_other_protocol(run: pd.Series, folder: Path, found: dict) -> None:
    """Raises ReportError where predictions were made under other settings than the row's."""
    for name, wanted in json.loads(run.protocol).items():
        if found.get(name) != wanted:
            raise ReportError(
                f"row {run.row}: {folder} was read with {name} = {found.get(name)!r}, the row asks for {wanted!r}; delete that "
                "folder and run the command again"
            )


def refuse_short(run: pd.Series, path: Path, frame: pd.DataFrame, benchmarks: dict) -> None:
    """Raises ReportError where a benchmark has fewer predictions than readable images."""
    counts = frame.benchmark.value_counts()
    for name, entry in benchmarks.items():
        if "error" in entry:
            continue
        expected = entry["stored"] - sum(left["count"] for why, left in entry["left_out"].items() if why != BEYOND)
        if counts.get(name, 0) != expected:
            raise ReportError(
                f"row {run.row}: {path} holds {counts.get(name, 0)} predictions of {name}, its benchmark has {expected} "
                "images; delete the file and run the command again"
            )


def check_protocols(runs: pd.DataFrame, layout: Layout) -> None:
    """Refuse a table whose rows were scored under different protocols, but for what the table is about.

    Args:
        runs: with `protocol`, the settings as JSON.

    Raises:
        ReportError: naming the setting, and a row of each value.
    """
    settings = {run.row: json.loads(run.protocol) for _, run in runs.iterrows()}
    first_row, first = next(iter(settings.items()))
    for row, other in settings.items():
        for name in sorted(first.keys() | other.keys()):
            here, there = first.get(name), other.get(name)
            if here != there and name not in layout.varies:
                raise ReportError(
                    f"{layout.path}: rows were scored under different protocols: {name} is {here!r} for {first_row} and "
                    f"{there!r} for {row}; list it under 'varies' if the table is about it"
                )


def read_published(layout: Layout, rows: list[str]) -> pd.DataFrame:
    """Published values, indexed by row; `method` names another method's. No rows where the paper has no such table.

    Args:
        rows: the table's own; published rows are one of them, or another method's.

    Raises:
        ReportError: the file lacks a column of the layout, repeats a row, or has a row that is neither.
    """
    names = [entry["name"] for entry in layout.columns]
    path = PUBLISHED / f"{layout.table}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["method", *names])
    frame = read_csv(path)
    frame["method"] = frame.get("method", "")
    for name in names:
        if name not in frame:
            if any("paper" in entry for entry in layout.columns if entry["name"] == name):
                raise ReportError(f"{path}: no column {name!r}, which {layout.path} asks for")
            frame[name] = ""
        frame[name] = numbers(path, frame, name)
    for row in frame.row[frame.row.duplicated()]:
        raise ReportError(f"{path}: row {row!r} stands there twice; keep one")
    for row in frame.row[(frame.method == "") & ~frame.row.isin(rows)]:
        raise ReportError(
            f"{path}: row {row!r} is no gin file of {layout.path.parent}, and its 'method' is empty; correct the name, add "
            "the file, or name the method"
        )
    return frame.set_index("row")


def read_csv(path: Path) -> pd.DataFrame:
    """A published file, its empty cells empty.

    Raises:
        ReportError: it is no CSV with a column `row`.
    """
    try:
        frame = pd.read_csv(path, keep_default_na=False)
    except ValueError as error:
        raise ReportError(f"{path} is no CSV ({error}); its first line names the columns: row,method,...") from error
    if "row" not in frame:
        raise ReportError(f"{path}: no column 'row'; the columns are {', '.join(frame.columns)}")
    return frame


def numbers(path: Path, frame: pd.DataFrame, name: str) -> pd.Series:
    """A column as numbers, nan where it is empty.

    Raises:
        ReportError: a cell is neither.
    """
    found = pd.to_numeric(frame[name], errors="coerce")
    for row, text in zip(frame.row, frame[name], strict=True):
        if text != "" and pd.isna(found[frame.row == row].iloc[0]):
            raise ReportError(f"{path}: row {row!r}, column {name!r} holds {text!r}; write a number like 90.8, or nothing")
    return found


def facts(results: Path, run: pd.Series) -> dict[str, float]:
    """What a row cost, by the names of `reports.layout.FACTS`; means over seeds, nan where it is not known.

    Counts come from the plan; images and hours from what the runs wrote; milliseconds from core.bench, first seed.
    """
    counted = {
        "params_M": run.total,
        "frozen_M": run.frozen,
        "params_M_paper": run.total_paper,
        "frozen_M_paper": run.frozen_paper,
    }
    found = {name: value / 1e6 for name, value in counted.items()} | {"batch": run.batch}
    folders = [results / "runs" / run.run / f"seed{seed}" for seed in run.seeds.split()] if run.run else []
    reading = reading_time(results, run).get("readings", {}).get(run.evaluation)
    found |= {"milliseconds": reading["outputs"][run.output]["ms_per_image"]} if reading else {}
    trained = [training_facts(folder, run.batch) for folder in folders if (folder / "model.safetensors").is_file()]
    return found | pd.DataFrame(trained).mean().to_dict()


def reading_time(results: Path, run: pd.Series) -> dict:
    """What core.bench measured of the run's first seed; empty where it was not asked for."""
    path = results / "runs" / run.run / f"seed{run.seeds.split()[0]}" / "reading_time.json"
    return json.loads(path.read_text()) if run.run and path.is_file() else {}


def training_facts(folder: Path, batch: int) -> dict[str, float]:
    """Images, epochs and hours of one training run."""
    train = json.loads((folder / "provenance.json").read_text()).get("train", {})
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    hours = sum(line.get("seconds", 0) for line in lines) / 3600
    return {"train_images": train["images"], "epochs": train["steps"] * batch / train["images"], "hours": hours}


def precisions(results: Path, run: pd.Series) -> set[str]:
    """What the row's trainings computed in, as they wrote it; more than one where seeds were trained on several machines."""
    records = (results / "runs" / run.run / f"seed{seed}" / "provenance.json" for seed in run.seeds.split())
    found = [json.loads(path.read_text()) for path in records if run.run and path.is_file()]
    return {record["precision"] for record in found if "precision" in record}


def measured_benchmarks(scored: dict[str, pd.DataFrame]) -> list[str]:
    """Every benchmark that some row was evaluated on, sorted."""
    return sorted(set().union(*(set(frame.benchmark) for frame in scored.values())))


def absent(column: Column, found: Collection[str], problems: Mapping[str, str]) -> str:
    """Why a column has no numbers; the plan says it before anything runs, a table of its empty cells.

    Args:
        found: benchmarks that were evaluated, or can be.
        problems: what is wrong with benchmarks that are there and cannot be read or scored.
    """
    if not column.benchmarks:
        return "no family of the micro world stands for it"
    missing = [name for name in column.benchmarks if name not in found]
    return "; ".join(f"{name}: {problems[name]}" if name in problems else absence(name) for name in missing)


def problems_of(results: Path, run: pd.Series) -> dict[str, str]:
    """Benchmarks that the row's evaluation could not open, or that have no labels of the table's own, and why."""
    metrics = json.loads((evaluation_folder(results, run, run.seeds.split()[0]) / "metrics.json").read_text())
    unread = {name: entry["error"] for name, entry in metrics["benchmarks"].items() if "error" in entry}
    return (unlabelled(Path(run.labels), metrics["benchmarks"]) if run.labels else {}) | unread
