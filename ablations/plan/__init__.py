"""From rows to runs: what each gin file trains, where it lies, and which rows share it.

    python -m ablations.plan table_VI
    python -m ablations.plan --all --scale paper --gpus 8 --price 2.5

A run is identified by what it trains: the values its training reads, and the data. A row that changes only decoding
shares its run, and tables share runs; editing a comment changes nothing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import yaml

from ablations.reading import Memory, Reading
from ablations.rows import TABLES, Row, plan_row, row_files, table_names
from ablations.source import Source, data_source
from core import config
from core.data.micro import PARTS
from core.files import ROOT, atomic_file
from reports.layout import Layout, drawable, read_layout

MICRO_TOWERS = ("clip", "clip_large", "clip_more", "classes_50", "classes_1000")  # made by ablations/micro/<name>.gin
SCHEMA = yaml.safe_load((TABLES / "workflow.schema.yaml").read_text())
PEERS = tuple(SCHEMA["properties"]["peers"]["items"]["enum"])  # those of core.peers, which needs torch to say so


@dataclass(frozen=True)
class Plan:
    """All rows of the wanted tables under one workflow configuration."""

    tables: dict[str, list[Row]]
    layouts: dict[str, Layout]
    source: Source
    results: Path
    scale: str
    seeds: list[int]
    rendered: bool  # the data root is made by a rule of ours
    wanted_peers: list[str]  # outside readers to check the harness with
    replicates: list[int]  # seeds that the baseline of each table is trained with, to measure noise; empty: no more than others

    @property
    def data(self) -> Path:
        return self.source.root

    def data_of(self, *parts: str) -> list[Path]:
        """What a job reads of the data: parts of the rendered world, which are made apart, or the folder of real data."""
        return [self.data / part for part in parts] if self.rendered else [self.data]

    @property
    def everything(self) -> list[Path]:
        """All of the data."""
        return self.data_of(*PARTS, "labels")

    def trained_on(self, run: str) -> list[Path]:
        """The data that a training reads: all of it for a run that this plan does not know."""
        if run not in self.asked:
            return self.everything
        sets = self.asked[run][0][1].reading.train_data
        return self.data_of(*(f"train/{name}" for name in sets), "val")

    @property
    def peers_folder(self) -> Path:
        return self.results / "peers" / (self.study or self.scale)

    def peers(self, table: str) -> list[Path]:
        """Predictions of outside readers, which stand in Table III."""
        return [self.peers_folder / peer / "predictions.parquet" for peer in self.wanted_peers if table == "table_III"]

    @property
    def study(self) -> str:
        """Names the results of other studies than micro scale on the rendered world, whose name is empty."""
        if self.rendered:
            return "" if self.scale == "micro" else self.scale
        return f"{self.scale}-{self.data.resolve().name}"

    @property
    def tables_folder(self) -> Path:
        """Where tables go: those of other studies into a folder of their own."""
        return self.results / "tables" / self.study

    @property
    def figures_folder(self) -> Path:
        return self.results / "figures" / self.study

    @property
    def report(self) -> Path:
        """Where the report goes, without its suffix."""
        return self.results / "-".join(filter(None, ("report", self.study)))

    @property
    def figures(self) -> list[str]:
        """What is drawn of the tables, as <figure>_<table>."""
        drawn = []
        for table, layout in self.layouts.items():
            measured = [row.name for row in self.tables[table] if not row.reason]
            drawn += [f"{figure}_{table}" for figure in drawable(layout, measured)]
        return drawn

    @property
    def rows(self) -> list[Row]:
        """Every row that can be run."""
        return [row for rows in self.tables.values() for row in rows if not row.reason]

    @property
    def asked(self) -> dict[str, list[tuple[str, Row]]]:
        """Every run, and the rows that ask for it, each with its table."""
        found: dict[str, list[tuple[str, Row]]] = {}
        for table, rows in self.tables.items():
            for row in rows:
                if not row.reason:
                    found.setdefault(row.run, []).append((table, row))
        return found

    def seed_folder(self, run: str, seed: int) -> Path:
        return self.results / "runs" / run / f"seed{seed}"

    def replicated(self, table: str) -> Row | None:
        """The row that is trained with the seeds of `replicates`: the table's baseline, where it can be run."""
        baseline = self.layouts[table].baseline
        rows = [row for row in self.tables[table] if row.name == baseline and not row.reason]
        return rows[0] if rows and self.replicates else None

    def seeds_of(self, run: str) -> list[int]:
        """Every seed that some table asks of a run."""
        rows = [row for table in self.tables if (row := self.replicated(table))]
        return list(dict.fromkeys([*self.seeds, *(self.replicates if run in {row.run for row in rows} else [])]))

    def drawn_from(self, figure: str, table: str) -> list[Path]:
        """Every file a figure of a table needs."""
        return self.models(table) if figure == "curves" else self.inputs(table)

    def models(self, table: str) -> list[Path]:
        """The trained models of a table, one a run and seed."""
        runs = dict.fromkeys(row.run for row in self.tables[table] if not row.reason)
        return [self.seed_folder(run, seed) / "model.safetensors" for run in runs for seed in self.seeds]

    def predictions(self, row: Row, seed: int) -> Path:
        return self.seed_folder(row.run, seed) / "evaluations" / row.evaluation / "predictions.parquet"

    def inputs(self, table: str) -> list[Path]:
        """Every predictions file the table is counted from, and every timing it shows."""
        rows = [row for row in self.tables[table] if not row.reason]
        predictions = [self.predictions(row, seed) for row in rows for seed in self.seeds]
        if row := self.replicated(table):
            predictions += [self.predictions(row, seed) for seed in self.replicates if seed not in self.seeds]
        made = predictions if self.layouts[table].baseline else self.models(table)
        times = {self.seed_folder(row.run, self.seeds[0]) / "reading_time.json" for row in rows if self.is_timed(table)}
        return made + sorted(times)

    def words_of(self, table: str) -> list[Path]:
        """Published values and label files that the table is made with, where there are some."""
        published = Path("reports/published") / f"{table}.csv"
        labels = self.layouts[table].labels
        files = sorted((self.data / "labels" / labels).glob("*.csv")) if labels and not self.rendered else []
        return [path for path in (published, *files) if (ROOT / path).is_file()]

    def is_timed(self, table: str) -> bool:
        return any(entry.get("fact") == "milliseconds" for entry in self.layouts[table].columns)

    @property
    def timed(self) -> dict[str, list[str]]:
        """Runs whose reading is timed, and the evaluations (ways of decoding) of each."""
        return evaluations_of(row for table in self.tables if self.is_timed(table) for row in self.tables[table])

    @property
    def decoded_together(self) -> dict[str, list[str]]:
        """Runs that rows decode in several ways, and the evaluations of each."""
        return {run: evaluations for run, evaluations in evaluations_of(self.rows).items() if len(evaluations) > 1}

    def write(self) -> None:
        """Put down what the jobs are called with: each run's flat gin files and each table's list of runs.

        A file whose content would not change is left alone, so nothing is remade because of it.
        """
        trained: set[str] = set()
        for row in sorted(self.rows, key=unlike_a_validation):
            folder = self.results / "runs" / row.run
            if row.run not in trained:  # written again where DEVICE_BATCH and its like changed, which make no other run
                keep(folder / "train.gin", row.reading.operative)
            trained.add(row.run)
            keep(folder / f"{row.evaluation}.gin", row.reading.operative, overwrite=False)
        for run, asking in self.asked.items():
            keep(self.results / "runs" / run / "rows.json", json.dumps(named_after(asking), indent=2) + "\n")
        for table, rows in self.tables.items():
            keep(self.tables_folder / f"{table}.runs.csv", self.listed(table, rows).to_csv(index=False))

    def listed(self, table: str, rows: list[Row]) -> pd.DataFrame:
        """What reports read of a table's rows (`<table>.runs.csv`)."""
        labels, replicated = self.layouts[table].labels, self.replicated(table)
        return pd.DataFrame(
            {
                "row": row.name,
                "gin": row.gin,
                "run": row.run,
                "reason": row.reason,
                "protocol": row.reading.protocol,
                "output": row.reading.output,
                "evaluation": row.evaluation,
                "params": row.counts.encoders_trainable,
                "params_paper": row.counts_paper.encoders_trainable,
                "total": row.counts.total,
                "frozen": row.counts.frozen,
                "total_paper": row.counts_paper.total,
                "frozen_paper": row.counts_paper.frozen,
                "layers": row.reading.layers,
                "batch": row.reading.batch,
                "scale": self.scale,
                "seeds": " ".join(map(str, self.seeds)),
                "replicates": " ".join(map(str, self.replicates)) if row == replicated else "",
                "data": "rendered micro world" if self.rendered else self.data.as_posix(),
                "data_root": self.data.as_posix(),
                "peers": self.peers_folder.as_posix() if self.peers(table) else "",
                "labels": (self.data / "labels" / labels).as_posix() if labels else "",
            }
            for row in rows
        )


def unlike_a_validation(row: Row) -> bool:
    """True for rows that ask for other decoding than Algorithm 1's: no run is validated as they say if another shares it."""
    protocol = json.loads(row.reading.protocol)
    return (protocol["decode"], protocol["fast_cross"], protocol["refine_steps"]) != ("ar", False, 1)


def evaluations_of(rows: Iterable[Row]) -> dict[str, list[str]]:
    """The evaluations that rows ask for, by run."""
    wanted: dict[str, list[str]] = {}
    for row in rows:
        if not row.reason and row.evaluation not in wanted.setdefault(row.run, []):
            wanted[row.run].append(row.evaluation)
    return wanted


def named_after(asking: list[tuple[str, Row]]) -> dict:
    """Who asks for a run (`rows.json`), for trackers and people; nothing depends on it."""
    rows = [{"table": table, "row": row.name, "evaluation": row.evaluation} for table, row in asking]
    return {"rows": rows, "name": f"{rows[0]['table']}/{rows[0]['row']}"}


def keep(path: Path, content: str, overwrite: bool = True) -> None:
    """Write a file unless it says the same already (or, without `overwrite`, is there at all)."""
    if path.is_file() and (not overwrite or path.read_text() == content):
        return
    with atomic_file(path) as partial:
        partial.write_text(content)


def make(settings: dict, wanted: Sequence[str] | None = None, published: bool = False) -> Plan:
    """The plan of a workflow configuration (see ablations/workflow.schema.yaml).

    Args:
        wanted: tables; all of them when left out.
        published: see `ablations.source.data_source`.

    Raises:
        ConfigError, ReportError, DataError: naming file, key and fix.
    """
    scale, results = settings["scale"], Path(settings["results"])
    source = data_source(settings.get("data"), scale, results, published)
    memory = remembered(results)
    tables, layouts = {}, {}
    for table in wanted or table_names():
        if not (TABLES / table / "table.yaml").is_file():
            raise config.ConfigError(f"no table {table!r}: there are {', '.join(table_names())}")
        layouts[table] = read_layout(table)
        tables[table] = [plan_row(path, layouts[table], scale, source, memory) for path in row_files(layouts[table])]
        refuse_baseline(layouts[table], tables[table])
    memory.write()
    seeds = [int(seed) for seed in settings["seeds"]]  # the command line gives words
    return Plan(
        tables=tables,
        layouts=layouts,
        source=source,
        results=results,
        scale=scale,
        seeds=seeds,
        rendered=source.world is not None,
        wanted_peers=list(settings.get("peers", [])),
        replicates=replicate_seeds(settings.get("replicates"), seeds, layouts),
    )


def replicate_seeds(wanted: int | str | None, seeds: list[int], layouts: dict[str, Layout]) -> list[int]:
    """The seeds of a baseline that is trained `wanted` times: those of all rows, then the smallest others, sorted.

    Raises:
        ConfigError: they would be no more than the seeds of all rows, or no table has a baseline.
    """
    if wanted is None:
        return []
    where, count = TABLES / "workflow.yaml", int(wanted)
    if count <= len(seeds):
        raise config.ConfigError(
            f"{where}: replicates is {count}, which adds nothing to the {len(seeds)} of seeds; give {len(seeds) + 1} or more, "
            "or null"
        )
    if not any(layout.baseline for layout in layouts.values()):
        path = next(iter(layouts.values())).path
        raise config.ConfigError(f"{where}: replicates is {count}, but {path} has no 'baseline' to train again; name one there")
    others = (seed for seed in range(count) if seed not in seeds)
    return sorted([*seeds, *islice(others, count - len(seeds))])


def remembered(results: Path) -> Memory:
    """What earlier plans of this results folder read; torch is only needed for what they did not."""
    return Memory(results / "cache" / "plan.json", read_with_torch)


def read_with_torch(gin: str, scale: str) -> Reading:
    from ablations.blueprint import read

    return read(gin, scale)


def refuse_baseline(layout: Layout, rows: list[Row]) -> None:
    """Raises ConfigError for a table whose baseline, or a row it says something about, has no gin file."""
    names = [row.name for row in rows]
    for key, said in (("baseline", [layout.baseline] if layout.baseline else []), ("not_at_micro", layout.not_at_micro)):
        for name in said:
            if name not in names:
                raise config.ConfigError(f"{layout.path}: {key} names {name!r}, there is no {name}.gin beside it")
