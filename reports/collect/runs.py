"""The runs of a table, and what each of them cost.

Raises ReportError for a file that is missing or damaged, or does not fit the others.
"""

import json
from pathlib import Path

import pandas as pd

from core import run_files
from core.errors import ReportError
from core.moved import with_new_settings
from core.run_files import EVALUATIONS, MODEL, PROVENANCE, READING_TIME, RUNS, TRAINING_LOG
from reports.collect.stored import damaged, read_json
from reports.layout import Layout

TEXT_COLUMNS = (
    *("row", "gin", "run", "reason", "protocol", "output", "evaluation"),
    *("seeds", "data_root", "labels", "layers", "peers", "replicates", "also"),
)


def read_runs(tables: Path, table: str) -> pd.DataFrame:
    """The rows of a table with the runs they lead to, one line each."""
    path = tables / f"{table}.runs.csv"
    if not path.is_file():
        raise ReportError(f"{path} is missing; `snakemake -n {table}` writes it")
    with damaged(path, f"delete it, and `snakemake -n {table}` writes it again"):
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False)
        if frame.empty:
            raise ValueError("it lists no row")
        for row in frame.row[frame.row.duplicated()]:
            raise ValueError(f"it lists row {row} twice")
        for column in ("replicates", "also"):  # lists of earlier versions have none
            frame[column] = frame.get(column, "")
        return frame.set_index("row", drop=False)


def seed_folder(results: Path, run: str, seed: str) -> Path:
    return run_files.seed_folder(results / RUNS / run, seed)


def evaluation_folder(results: Path, line: pd.Series, seed: str) -> Path:
    return seed_folder(results, line.run, seed) / EVALUATIONS / line.evaluation


def twins(runs: pd.DataFrame, row: str) -> list[str]:
    """Other rows that are trained and scored exactly as `row` is, so that they cannot differ from it."""
    what = ["run", "evaluation", "output"]
    same = (runs[what] == runs.loc[row, what]).all(axis=1) & (runs.reason == "") & (runs.index != row)
    return runs.index[same].tolist()


def protocol_of(line: pd.Series) -> dict:
    """The settings of the row's protocol, as they are called now."""
    return with_new_settings(json.loads(line.protocol))


def check_protocols(runs: pd.DataFrame, layout: Layout) -> None:
    """Raise ReportError if rows were scored under different protocols, except for the settings that the table `varies`."""
    settings = {line.row: protocol_of(line) for _, line in runs.iterrows()}
    first_row, first = next(iter(settings.items()))
    for row, other in settings.items():
        for name in sorted(first.keys() | other.keys()):
            here, there = first.get(name), other.get(name)
            if here != there and name not in layout.varies:
                raise ReportError(
                    f"{layout.path}: rows were scored under different protocols: {name} is {here!r} for {first_row} and "
                    f"{there!r} for {row}; list it under 'varies' if the table is about it"
                )


def facts(results: Path, line: pd.Series) -> dict[str, float]:
    """The facts of a row (parameters, hours, ...) by the names of `reports.layout.FACTS`; means over seeds, absent if unknown.

    Counts come from the plan; images and hours from what the runs wrote; milliseconds from core.bench, first seed.
    """
    known = {
        "params_M": line.total,
        "frozen_M": line.frozen,
        "params_M_paper": line.total_paper,
        "frozen_M_paper": line.frozen_paper,
    }
    known = {name: value / 1e6 for name, value in known.items()} | {"batch": line.batch}
    if time := reading_cost(results, line):
        known["milliseconds"] = time["ms_per_image"]
    folders = [seed_folder(results, line.run, seed) for seed in line.seeds.split()] if line.run else []
    trained = [training_facts(folder, line.batch) for folder in folders if (folder / MODEL).is_file()]
    return known | pd.DataFrame(trained).mean().to_dict()


def timing_file(results: Path, line: pd.Series) -> Path:
    """Where core.bench leaves what it measured of the run's first seed."""
    return seed_folder(results, line.run, line.seeds.split()[0]) / READING_TIME


def reading_time(results: Path, line: pd.Series) -> dict:
    """The timing of the run's first seed by core.bench; empty if there is none."""
    path = timing_file(results, line)
    return read_json(path) if line.run and path.is_file() else {}


def reading_cost(results: Path, line: pd.Series) -> dict | None:
    """`ms_per_image`, `low_ms`, `high_ms` and `cpu_share` of the row's output; None where it was not timed."""
    time = reading_time(results, line)
    with damaged(timing_file(results, line)):
        measured = time.get("readings", {}).get(line.evaluation)
        return measured["outputs"][line.output] if measured else None


def training_facts(folder: Path, batch: int) -> dict[str, float]:
    """Images, epochs and hours of one training run."""
    path = folder / PROVENANCE
    with damaged(path, "train the run again"):
        train = read_json(path, "train the run again")["train"]
        images, epochs = train["images"], train["steps"] * batch / train["images"]
    path = folder / TRAINING_LOG
    with damaged(path, "train the run again"):
        hours = sum(json.loads(line).get("seconds", 0) for line in path.read_text().splitlines()) / 3600
    return {"train_images": images, "epochs": epochs, "hours": hours}


def precisions(results: Path, line: pd.Series) -> set[str]:
    """The precisions that the row's trainings computed in; several where its seeds were trained on several machines."""
    paths = [seed_folder(results, line.run, seed) / PROVENANCE for seed in line.seeds.split() if line.run]
    records = [read_json(path, "train the run again") for path in paths if path.is_file()]
    return {record["precision"] for record in records if "precision" in record}
