"""What is recorded of a run with wandb, read from the run's folder, so it can be recorded during training or afterwards."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import gin_text
from core.errors import DataError
from core.files import read_json_object, text_digest, write_json
from core.run_files import METRICS, OPERATIVE_GIN, PROVENANCE, ROWS, TRACKING

PROJECT = "clip4str-ablations"  # unless WANDB_PROJECT says otherwise
LONGEST_TAG = 64  # wandb refuses longer ones


@dataclass(frozen=True)
class RunInfo:
    """One run as wandb knows it.

    Args:
        folder: where tracking.json is kept: the run's, or the evaluation's.
        run_identity: digest of what was trained; another digest in the same folder is another run.
        rows: table/row, in the tables' order; the first names the run and its group.
    """

    folder: Path
    id: str
    run_identity: str
    job_type: str
    rows: tuple[str, ...]
    name: str
    tags: tuple[str, ...]
    config: dict[str, Any]

    @property
    def project(self) -> str:
        return os.environ.get("WANDB_PROJECT") or PROJECT

    @property
    def group(self) -> str | None:
        return self.rows[0].split("/")[0] if self.rows else None

    def write_record(self, mode: str, folder: str | None = None, url: str | None = None) -> None:
        """Write tracking.json: the id that a resumed run keeps, and where reports find the recording."""
        record = {"id": self.id, "run_identity": self.run_identity, "project": self.project, "group": self.group}
        record |= {"name": self.name, "job_type": self.job_type, "mode": mode, "url": url, "folder": folder}
        write_json(self.folder / TRACKING, record)


def of_training(run: Path, row: str = "") -> RunInfo:
    """A training run, from operative.gin and provenance.json.

    Args:
        row: table/row of a run started by hand; the workflow leaves rows.json beside the run's gin files.

    Raises:
        DataError, OSError: `run` is not a run directory.
    """
    provenance, gin = read_json_object(run / PROVENANCE), (run / OPERATIVE_GIN).read_text()
    rows = tuple(rows_of(run, row))
    seed, data = provenance.get("seed"), provenance.get("data_fingerprint")
    run_identity = text_digest(f"{gin_text.without_comments(gin)}{seed}{data}")
    known = {name: provenance.get(name) for name in ("seed", "data", "data_fingerprint", "commit", "device", "packages")}
    return RunInfo(
        folder=run,
        id=kept_id(run, run_identity),
        run_identity=run_identity,
        job_type="train",
        rows=rows,
        name=f"{title(run, rows)}-seed{seed}",
        tags=tags(rows, seed),
        config={"gin": nested(gin_text.bindings_of(gin)), **known, "rows": list(rows), "run": "/".join(run.parts[-2:])},
    )


def of_evaluation(run: Path, folder: Path, row: str = "") -> RunInfo:
    """One evaluation of a run, in the run's group under a name and an id made from the run's."""
    trained = of_training(run, row)
    rows = tuple(rows_of(run, row, folder.name)) or trained.rows
    settings = {"protocol": read_json_object(folder / METRICS).get("protocol"), "evaluation": folder.name}
    return RunInfo(
        folder=folder,
        id=f"{trained.id}-{folder.name}",
        run_identity=trained.run_identity,
        job_type="evaluate",
        rows=rows,
        name=f"{title(run, rows)}-seed{trained.config['seed']}-test",
        tags=tags(rows, trained.config["seed"]),
        config={**trained.config, **settings, "rows": list(rows), "trained_as": trained.id},
    )


def scores(folder: Path) -> dict[str, float]:
    """Every number of an evaluation's metrics.json as benchmark/output/score and benchmark/cost."""
    values = {}
    for benchmark, entry in read_json_object(folder / METRICS).get("benchmarks", {}).items():
        for name, value in entry.items():
            inner = {f"{name}/{score}": number for score, number in value.items()} if isinstance(value, dict) else {name: value}
            values |= {f"{benchmark}/{key}": number for key, number in numbers(inner).items()}
    return values


def numbers(entry: dict[str, Any]) -> dict[str, float]:
    """The numbers of a JSON object; wandb plots nothing else."""
    return {key: value for key, value in entry.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def rows_of(run: Path, row: str = "", evaluation: str = "") -> list[str]:
    """The rows that ask for a run (or for one evaluation of it), as the workflow wrote them; else the one given."""
    path = run.parent / ROWS
    if not path.is_file():
        return [row] if row else []
    asking = read_json_object(path).get("rows", [])
    return [f"{entry['table']}/{entry['row']}" for entry in asking if evaluation in ("", entry.get("evaluation"))]


def title(run: Path, rows: tuple[str, ...]) -> str:
    """The first row's name; without rows, the name of the folder that holds the seeds."""
    return rows[0].split("/")[-1] if rows else run.resolve().parent.name


def tags(rows: tuple[str, ...], seed: int | None) -> tuple[str, ...]:
    """Every table, every row, and the seed."""
    names = [*(row.split("/")[0] for row in rows), *rows, f"seed{seed}"]
    return tuple(dict.fromkeys(name[:LONGEST_TAG] for name in names))


def nested(bindings: dict[str, object]) -> dict[str, Any]:
    """Bindings as wandb shows them: nested, one level per dot."""
    tree: dict[str, Any] = {}
    for name, value in bindings.items():
        *path, last = name.split(".")
        level = tree
        for part in path:
            level = level.setdefault(part, {})
        level[last] = value
    return tree


def kept_id(folder: Path, run_identity: str) -> str:
    """The id under which this run was recorded before; a new one if the folder has none, or another run's."""
    try:
        record = read_json_object(folder / TRACKING)
    except DataError:
        record = {}
    return record["id"] if record.get("run_identity") == run_identity else secrets.token_hex(4)
