"""From rows to runs: what each gin file trains, where it lies, and which rows share it.

    python -m ablations.plan table_VI

A run is identified by what it trains: the values its training reads, and the data. A row that changes only decoding
shares its run; editing a comment changes nothing.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table as Grid

from core import config
from core.data.lmdb import fingerprint
from core.data.micro import World
from core.experiment import load
from core.files import ROOT, atomic_file
from core.protocol import evaluation_digest
from core.summary import summarise

WORLD = "ablations/micro/world.gin"
TABLES = ROOT / "ablations"
MICRO_TOWERS = ("clip", "clip_large", "classes_50", "classes_1000")  # pretrained by ablations/micro/<name>.gin


@dataclass(frozen=True)
class Row:
    """One line of a table: its gin file, the run it asks for and how that run is scored."""

    name: str
    gin: str
    run: str
    protocol: str  # how it is read and scored, as JSON
    output: str  # the branch that is scored
    evaluation: str  # digest of the protocol and the test data: the folder of its predictions
    params: int  # learnable parameters of the encoders, at the scale in use
    params_paper: int  # the same at paper scale
    steps: int | None
    epochs: float | None
    batch: int
    layers: str  # of the image and the text tower
    flat: str  # its gin text with every value written out


@dataclass(frozen=True)
class Plan:
    """All rows of the wanted tables under one workflow configuration."""

    tables: dict[str, list[Row]]
    data: Path
    results: Path
    scale: str
    seeds: list[int]
    rendered: bool  # the data root is made by a rule of ours

    @property
    def tables_folder(self) -> Path:
        """Where tables go: micro scale on the rendered world in tables/, every other study in a folder of its own."""
        folder = self.results / "tables"
        if self.rendered:
            return folder if self.scale == "micro" else folder / self.scale
        return folder / f"{self.scale}-{self.data.resolve().name}"

    def seed_folder(self, run: str, seed: int) -> Path:
        return self.results / "runs" / run / f"seed{seed}"

    def predictions(self, table: str) -> list[Path]:
        """Every predictions file the table is counted from."""
        return [
            self.seed_folder(row.run, seed) / "evaluations" / row.evaluation / "predictions.parquet"
            for row in self.tables[table]
            for seed in self.seeds
        ]

    @property
    def decoded_together(self) -> dict[str, list[str]]:
        """Runs that rows decode in several ways, and the evaluations of each."""
        wanted: dict[str, list[str]] = {}
        for row in (row for rows in self.tables.values() for row in rows):
            if row.evaluation not in wanted.setdefault(row.run, []):
                wanted[row.run].append(row.evaluation)
        return {run: evaluations for run, evaluations in wanted.items() if len(evaluations) > 1}

    def write(self) -> None:
        """Put down what the jobs are called with: each run's flat gin files and each table's list of runs.

        A file whose content would not change is left alone, so nothing is remade because of it.
        """
        for table, rows in self.tables.items():
            for row in rows:
                folder = self.results / "runs" / row.run
                keep(folder / "train.gin", row.flat, overwrite=False)
                keep(folder / f"{row.evaluation}.gin", row.flat, overwrite=False)
            listed = pd.DataFrame(
                {
                    "row": row.name,
                    "gin": row.gin,
                    "run": row.run,
                    "protocol": row.protocol,
                    "output": row.output,
                    "evaluation": row.evaluation,
                    "params": row.params,
                    "params_paper": row.params_paper,
                    "layers": row.layers,
                    "scale": self.scale,
                    "seeds": " ".join(map(str, self.seeds)),
                    "data": "rendered micro world" if self.rendered else self.data.as_posix(),
                }
                for row in rows
            )
            keep(self.tables_folder / f"{table}.runs.csv", listed.to_csv(index=False))


def keep(path: Path, content: str, overwrite: bool = True) -> None:
    """Write a file unless it says the same already (or, without `overwrite`, is there at all)."""
    if path.is_file() and (not overwrite or path.read_text() == content):
        return
    with atomic_file(path) as partial:
        partial.write_text(content)


def table_names() -> list[str]:
    """Every folder below ablations/ with a table.yaml."""
    return sorted(path.parent.name for path in TABLES.glob("*/table.yaml"))


def row_files(table: str) -> list[Path]:
    """A table's gin files: those its table.yaml orders, then any others by name.

    Raises:
        ConfigError: table.yaml orders a file that is not there.
    """
    folder = TABLES / table
    order = yaml.safe_load((folder / "table.yaml").read_text()).get("order", [])
    found = {path.stem: path for path in sorted(folder.glob("*.gin"))}
    missing = [name for name in order if name not in found]
    if missing:
        raise config.ConfigError(f"{folder / 'table.yaml'}: order names {missing[0]!r}, there is no {missing[0]}.gin")
    return [found[name] for name in order] + [path for name, path in found.items() if name not in order]


def data_identity(data: str | None, scale: str) -> tuple[str, str]:
    """What the training and the test data are: fingerprints of real LMDBs, or the recipe of the rendered world.

    Raises:
        DataError: the folder holds no training or no test set.
        ConfigError: paper scale without data.
    """
    if data:
        if not Path(data).is_dir():
            raise config.ConfigError(f"data: {data} does not exist; it should hold train/, val/ and test/<benchmark>/")
        return fingerprint(Path(data) / "train"), fingerprint(Path(data) / "test")
    if scale == "paper":
        raise config.ConfigError("scale: paper trains on real data: add --config data=DIR with train/, val/ and test/")
    config.parse(WORLD)
    config.construct(World, WORLD)
    recipe = config.values_of(config.operative())
    return recipe, recipe


def make(settings: dict, wanted: Sequence[str] | None = None) -> Plan:
    """The plan of a workflow configuration (see ablations/workflow.schema.yaml).

    Args:
        wanted: tables; all of them when left out.
    """
    scale, data = settings["scale"], settings.get("data")
    train_data, test_data = data_identity(data, scale)
    results = Path(settings["results"])
    root = Path(data) if data else results / "data" / f"micro-{config.digest(train_data)}"
    tables = {}
    for table in wanted or table_names():
        if not (TABLES / table / "table.yaml").is_file():
            raise config.ConfigError(f"no table {table!r}: there are {', '.join(table_names())}")
        tables[table] = [plan_row(path, scale, train_data, test_data) for path in row_files(table)]
    return Plan(tables, root, results, scale, list(settings["seeds"]), rendered=not data)


def plan_row(path: Path, scale: str, train_data: str, test_data: str) -> Row:
    """Read one gin file at the scale in use, and count it at paper scale too."""
    gin = path.relative_to(ROOT).as_posix()
    params_paper = summarise(load(gin, "paper").blueprint).encoders_trainable
    loaded = load(gin, scale)
    summary = summarise(loaded.blueprint)
    optimisation = loaded.experiment.optimisation
    return Row(
        name=path.stem,
        gin=gin,
        run=f"{scale}-{config.digest(loaded.identity + train_data)}",
        protocol=loaded.protocol.settings,
        output=loaded.protocol.output,
        evaluation=evaluation_digest(loaded.protocol, test_data),
        params=summary.encoders_trainable,
        params_paper=params_paper,
        steps=optimisation.steps,
        epochs=optimisation.epochs,
        batch=optimisation.batch,
        layers=f"{summary.image_layers}/{summary.text_layers}",
        flat=loaded.operative,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Say what tables would train, before anything starts.")
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(table_names())} (default: all)")
    parser.add_argument("--scale", help=f"one of {', '.join(config.SCALES)} (default: the workflow's)")
    parser.add_argument("--data", help="folder of real LMDBs (default: the workflow's, or the rendered micro world)")
    options = parser.parse_args(arguments)
    with config.user_errors():
        settings = yaml.safe_load((TABLES / "workflow.yaml").read_text())
        settings |= {key: value for key in ("scale", "data") if (value := getattr(options, key))}
        plan = make(settings, options.tables or None)
    runs: dict[str, str] = {}
    for table, rows in plan.tables.items():
        grid = Grid("row", "run", "done", "params", "at paper scale", "length", "batch", title=f"{table}, {plan.scale}")
        for column in grid.columns:
            column.no_wrap = column.header != "at paper scale"
        for row in rows:
            done = sum((plan.seed_folder(row.run, seed) / "model.safetensors").is_file() for seed in plan.seeds)
            shared = f" (as {runs[row.run]})" if row.run in runs else ""
            runs.setdefault(row.run, row.name)
            length = f"{row.steps} steps" if row.steps else f"{row.epochs:g} epochs"
            grid.add_row(
                row.name,
                row.run + shared,
                f"{done}/{len(plan.seeds)}",
                f"{row.params / 1e6:.2f} M",
                f"{row.params_paper / 1e6:.1f} M",
                length,
                str(row.batch),
            )
        Console().print(grid)
    rows = sum(map(len, plan.tables.values()))
    print(f"{rows} rows, {len(runs)} unique runs x {len(plan.seeds)} seeds; data: {plan.data}")


if __name__ == "__main__":
    main()
