"""What a plan knows: the rows and runs of the wanted tables, where their results go, and the files that jobs read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ablations.marks import RealInputs, RenderedInputs
from ablations.row_config import content_of, values_digest
from ablations.rows import Row, evaluations_of
from ablations.source import Source
from core.files import ROOT, in_repository
from core.run_files import EVALUATIONS_LIST, MODEL, PREDICTIONS, READING_TIME, RUNS, seed_folder
from core.weights.made import is_made_here, is_outdated, weights_digest
from reports.layout import Layout, drawable, rendered_name

NOISE = ("second_training", "table_III", "table_IV")  # published values that training noise is told from (reports.stats)
TOWERS = ("clip", "clip_large", "clip_more", "classes_50", "classes_1000")  # made by ablations/<micro or small>/<name>.gin


@dataclass(frozen=True)
class Plan:
    """All rows of the wanted tables under one workflow configuration."""

    tables: dict[str, list[Row]]
    layouts: dict[str, Layout]
    doubles: dict[str, dict[str, str]]  # rows of a table's sweeps that are another row already, and that row
    source: Source
    results: Path
    scale: str
    seeds: list[int]
    rendered: bool  # the data root is made by a rule of ours
    wanted_peers: list[str]  # peer readers to check the harness with
    replicates: list[int]  # seeds that the baseline of each table is trained with, to measure noise; empty: no more than others

    @property
    def data(self) -> Path:
        return self.source.root

    @cached_property
    def data_inputs(self) -> RenderedInputs | RealInputs:
        """The data inputs of jobs (`ablations.marks`)."""
        if self.rendered:
            return RenderedInputs(self.data, self.source.world.names, self.source.photos)
        return RealInputs(self.results / "data", self.source)

    @property
    def test_root(self) -> Path:
        """The data root that evaluations read."""
        return self.data_inputs.report_root if self.source.photos else self.data

    def towers(self, named: Sequence[str], checkout: str = "") -> list[str]:
        """Weights among the names of a row's files that are made by a rule when they are missing.

        Args:
            checkout: prefix of paths into the checkout, see `ablations.place.checkout_prefix`.
        """
        return [f"{checkout}{name}" for name in named if is_made_here(in_repository(name))]

    def towers_of(self, run: str, checkout: str = "") -> list[str]:
        """`towers` of a run; none for one that this plan does not know."""
        return self.towers(self.first_rows[run].config.named, checkout) if run in self.first_rows else []

    @property
    def shown_towers(self) -> list[str]:
        """The towers that figures show: those of the scale's world; none of our own where data is real."""
        world = Path(self.source.world_file).parent
        return [f"{world.as_posix()}/{TOWERS[0]}.safetensors"] if self.rendered else []

    def figure_towers(self, checkout: str = "") -> list[str]:
        """`towers` of figures."""
        return self.towers(self.shown_towers, checkout)

    def figure_identity(self, gin: str) -> str:
        """Changes with what a figure's gin file says and with the towers that it shows.

        Args:
            gin: the file, as counted from the repository root.
        """
        return values_digest([content_of(ROOT / gin, self.scale), weights_digest(self.shown_towers)])

    def outdated_towers(self) -> Iterator[str]:
        """A line for each weights file that was made from an earlier recipe or world; rows use it as it is."""
        for name in sorted({name for row in self.rows for name in row.config.named if is_outdated(in_repository(name))}):
            yield f"note: {name} was made from an earlier recipe or world, and is used as it is: delete it to have it made anew"

    def trained_on(self, run: str) -> list[Path]:
        """The data that a training reads: all of it for a run that this plan does not know."""
        if run not in self.first_rows:
            return self.data_inputs.all_inputs
        return self.data_inputs.train_inputs(self.first_rows[run].config.train_data)

    def start_of(self, run: str, seed: str) -> list[Path]:
        """The model that a training begins with, of its own seed; none for most."""
        start = self.first_rows[run].start if run in self.first_rows else ""
        return [self.seed_folder(start, int(seed)) / MODEL] if start else []

    @property
    def peers_folder(self) -> Path:
        return self.results / "peers" / self.test_study

    def peers(self, table: str) -> list[Path]:
        """Predictions of peer readers, which stand in Table III."""
        return [self.peers_folder / peer / PREDICTIONS for peer in self.wanted_peers if table == "table_III"]

    @property
    def study(self) -> str:
        """Names the results of other studies than micro scale on its rendered world, whose name is empty."""
        if self.rendered:
            photos = self.source.photos
            return "-".join(filter(None, ["" if self.scale == "micro" else self.scale, photos.name if photos else ""]))
        return f"{self.scale}-{self.data.name if self.source.published else self.data_inputs.study}"

    @property
    def test_study(self) -> str:
        """Names the results that only test words decide: predictions of peer readers, attention maps."""
        if self.rendered or self.source.published:
            return self.study or self.scale
        return f"{self.scale}-{self.data_inputs.name}"

    @property
    def tables_folder(self) -> Path:
        """Where tables go: those of other studies into a folder of their own."""
        return self.results / "tables" / self.study

    @property
    def figures_folder(self) -> Path:
        return self.results / "figures" / self.study

    @property
    def searches(self) -> Path:
        """Where a search keeps its trials: for real data by what they learn from and val/; other test words change nothing."""
        marks = [] if self.rendered else self.data_inputs.search_inputs
        return self.results / "searches" / "-".join([self.scale, *(mark.stem for mark in marks)])

    @property
    def report_stem(self) -> Path:
        """Where the report goes, without its suffix."""
        return self.results / "-".join(filter(None, ("report", self.study)))

    @property
    def figures(self) -> list[str]:
        """Names of the tables' figures, as <figure>_<table>."""
        drawn = []
        for table, layout in self.layouts.items():
            measured = [row.name for row in self.tables[table] if row.runnable]
            drawn += [f"{figure}_{table}" for figure in drawable(layout, measured)]
        return drawn

    @property
    def rows(self) -> list[Row]:
        """Every row that can be run."""
        return [row for rows in self.tables.values() for row in rows if row.runnable]

    @property
    def rows_by_run(self) -> dict[str, list[tuple[str, Row]]]:
        """Every run, and the rows that ask for it, each with its table."""
        found: dict[str, list[tuple[str, Row]]] = {}
        for table, rows in self.tables.items():
            for row in rows:
                if row.runnable:
                    found.setdefault(row.run, []).append((table, row))
        return found

    @property
    def first_rows(self) -> dict[str, Row]:
        """Every run, and the first row that asks for it."""
        return {run: asking[0][1] for run, asking in self.rows_by_run.items()}

    def run_folder(self, run: str) -> Path:
        return self.results / RUNS / run

    def seed_folder(self, run: str, seed: int) -> Path:
        return seed_folder(self.run_folder(run), seed)

    def replicated(self, table: str) -> Row | None:
        """The row that is trained with the seeds of `replicates`: the table's baseline, where it can be run."""
        baseline = self.layouts[table].baseline
        rows = [row for row in self.tables[table] if row.name == baseline and row.runnable]
        return rows[0] if rows and self.replicates else None

    def seeds_of(self, run: str) -> list[int]:
        """Every seed that some table asks of a run."""
        return list(dict.fromkeys([*self.seeds, *(self.replicates if run in self.replicated_runs else [])]))

    @cached_property
    def replicated_runs(self) -> set[str]:
        """The runs that are trained with the seeds of `replicates`: those of baselines, and what these begin with."""
        found, first_rows = set(), self.first_rows
        for row in filter(None, map(self.replicated, self.tables)):
            run = row.run
            while run:
                found.add(run)
                run = first_rows[run].start
        return found

    def drawn_from(self, figure: str, table: str) -> list[Path]:
        """Every file a figure of a table needs."""
        return self.models(table) if figure == "curves" else self.inputs(table)

    def models(self, table: str) -> list[Path]:
        """The trained models of a table, one per run and seed."""
        runs = dict.fromkeys(row.run for row in self.tables[table] if row.runnable)
        return [self.seed_folder(run, seed) / MODEL for run in runs for seed in self.seeds]

    def inputs(self, table: str) -> list[Path]:
        """Every list of evaluations the table is counted from, and every timing it shows."""
        rows = [row for row in self.tables[table] if row.runnable]
        folders = [self.seed_folder(row.run, seed) for row in rows for seed in self.seeds]
        if row := self.replicated(table):
            folders += [self.seed_folder(row.run, seed) for seed in self.replicates if seed not in self.seeds]
        evaluated = list(dict.fromkeys(folder / EVALUATIONS_LIST for folder in folders))
        made = evaluated if self.layouts[table].baseline else self.models(table)
        times = {self.seed_folder(row.run, self.seeds[0]) / READING_TIME for row in rows if self.is_timed(table)}
        return made + sorted(times)

    def published_inputs(self, table: str, checkout: str = "") -> list[Path]:
        """Published values, second trainings and the mark of label files that the table is made with, where there are some.

        Args:
            checkout: prefix of paths into the checkout, see `ablations.place.checkout_prefix`.
        """
        folder = Path(f"{checkout}reports/published")
        files = [folder / f"{name}.csv" for name in dict.fromkeys((table, *NOISE))]
        labels = self.data_inputs.label_inputs if self.layouts[table].labels else []
        return [*(file for file in files if (ROOT / file).is_file()), *labels]

    def is_timed(self, table: str) -> bool:
        return any(entry.get("fact") == "milliseconds" for entry in self.layouts[table].columns)

    @property
    def timed(self) -> dict[str, list[str]]:
        """Runs whose reading is timed, and the evaluations of each."""
        return evaluations_of(row for table in self.tables if self.is_timed(table) for row in self.tables[table])

    @property
    def evaluations(self) -> dict[str, list[str]]:
        """Runs whose predictions some table is counted from, and the evaluations (ways of decoding) of each."""
        return evaluations_of(row for table in self.tables if self.layouts[table].baseline for row in self.tables[table])

    def runs_csv(self, table: str) -> Path:
        """The file that says which run is behind each row of a table."""
        return self.tables_folder / f"{table}.runs.csv"

    @property
    def data_name(self) -> str:
        """The name of the data in tables: the rendered world's, or the folder's."""
        return rendered_name(self.source.world_file) if self.rendered else self.data_inputs.report_root.name
