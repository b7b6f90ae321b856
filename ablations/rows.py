"""The rows of tables: their gin files, the data they need, and the run of each."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ablations.row_config import Counts, PlanCache, RowConfig, in_root
from ablations.source import Source
from core.errors import ConfigError, DataError
from core.experiment.protocol import evaluation_digest
from core.files import ABLATIONS, ROOT, text_digest
from reports.layout import Layout, layout_names

NAMED = re.compile(r"^ *rule (\w+):", re.MULTILINE)
TARGETS = {"table_I", "figure_1", "figure_2", "figure_6", "draw_figure_1", "draw_figure_2"}  # rules that loops name
TABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # Snakemake takes it as a rule's name, a target and a pattern
ROW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,+=-]*")  # stands in Markdown, LaTeX, HTML, CSV and file names as it is


def table_names() -> list[str]:
    """Every folder below ablations/ with a table.yaml: the paper's tables in its order, then others by name.

    Raises:
        ConfigError: a folder's name is a rule's, or has characters that names of tables cannot have.
    """
    found = layout_names()
    for name in found:
        refuse_name(name)
    for name in sorted(rule_names() & set(found)):
        raise ConfigError(f"{ABLATIONS / name}: {name!r} is the name of a rule of the workflow; rename the folder")
    return found


def refuse_name(table: str) -> None:
    """Raise ConfigError if a folder's name has characters that the name of a table cannot have."""
    if not TABLE_NAME.fullmatch(table):
        raise ConfigError(
            f"{ABLATIONS / table}: {table!r} cannot name a table; rename the folder: letters and digits of ASCII, - and _, a "
            "letter or digit first"
        )


def rule_names() -> set[str]:
    """Every rule of the workflow but those that are named after tables."""
    files = (ROOT / "Snakefile", *ABLATIONS.glob("rules/*.smk"))
    return TARGETS.union(*(NAMED.findall(path.read_text()) for path in files))


def row_files(layout: Layout, generated: Mapping[str, Path] = MappingProxyType({})) -> list[Path]:
    """A table's gin files: those its table.yaml orders, then other files beside it by name, then rows of its sweeps.

    Args:
        generated: gin files of its sweeps by row, see `ablations.sweeps`.

    Raises:
        ConfigError: table.yaml orders a row that is not there, or a file's name cannot stand in a table.
    """
    files = {path.stem: path for path in sorted(layout.path.parent.glob("[!.]*.gin"))} | generated
    for name, path in files.items():
        if not ROW_NAME.fullmatch(name):
            raise ConfigError(
                f"{path}: {name!r} cannot name a row, as Markdown and LaTeX would break; rename the file: letters and digits "
                "of ASCII, - _ . , + and =, a letter or digit first"
            )
    missing = [name for name in layout.order if name not in files]
    if missing:
        raise ConfigError(f"{layout.path}: order names {missing[0]!r}, there is no {missing[0]}.gin")
    return [files[name] for name in layout.order] + [path for name, path in files.items() if name not in layout.order]


@dataclass(frozen=True)
class Row:
    """One line of a table: its gin file, the run it asks for and how that run is scored."""

    name: str
    gin: str
    run: str
    evaluation: str  # digest of the protocol and the test data: the folder of its predictions
    config: RowConfig  # what its gin file says at the scale in use
    counts_paper: Counts  # parameters at paper scale
    skip_reason: str  # why it cannot be run here; empty where it can
    start: str = ""  # the run whose model its training begins with, where START names a row

    @property
    def runnable(self) -> bool:
        return not self.skip_reason

    @property
    def counts(self) -> Counts:
        """Parameters at the scale in use."""
        return self.config.counts


def plan_row(path: Path, at_paper: Path, layout: Layout, scale: str, source: Source, cache: PlanCache) -> Row:
    """Read one gin file at the scale in use, and count it at paper scale too.

    Args:
        at_paper: the same row's file at paper scale; another one where a sweep made it.
        cache: rows read earlier; most never change, and many share a model.

    Raises:
        ConfigError: naming file and binding; or the row can be run but for its START.
    """
    row_config = cache.row(path, scale)
    run, skip_reason = "", layout.not_at_micro.get(path.stem, "") if scale != "paper" else ""
    if not skip_reason:
        run, skip_reason = run_of(row_config, scale, source)
    if run:
        refuse_start(path, row_config)
    return Row(
        name=path.stem,
        gin=in_root(path),
        run=run,
        evaluation=evaluation_digest(row_config.protocol_digest, source.test_digest),
        config=row_config,
        counts_paper=cache.row(at_paper, "paper").counts,
        skip_reason=skip_reason,
    )


def with_starts(rows: list[Row], source: Source, scale: str) -> list[Row]:
    """The rows of a table; those whose START names one of them have runs of their own for every run of it.

    Raises:
        ConfigError: a START names no row of the table, or rows that start from each other.
    """
    by_gin = {row.gin: row for row in rows}
    done: dict[str, Row] = {}

    def settled(row: Row, above: tuple[str, ...] = ()) -> Row:
        name = row.config.start_row
        if not name or row.gin in done:
            return done.setdefault(row.gin, row)
        if name in above or name == row.gin:
            raise ConfigError(f"{row.gin}: START = {name!r} starts from this row itself; name another")
        if name not in by_gin:
            raise ConfigError(
                f"{row.gin}: START = {name!r} is no row of its table; name a gin file beside table.yaml, or a model"
            )
        start = settled(by_gin[name], (*above, row.gin))
        if not start.runnable:
            return done.setdefault(
                row.gin, replace(row, run="", skip_reason=row.skip_reason or f"its START: {start.skip_reason}")
            )
        run = run_of(row.config, scale, source, start.run)[0] if row.run else ""
        return done.setdefault(row.gin, replace(row, run=run, start=start.run))

    return [settled(row) for row in rows]


def run_of(row_config: RowConfig, scale: str, source: Source, start: str = "") -> tuple[str, str]:
    """The name of the run, and why there is none (one of them is empty).

    Args:
        start: the run whose model it begins with.
    """
    try:
        train_data = source.train_identity(row_config.train_data)
    except DataError as error:
        return "", f"not run: {error}"
    return f"{scale}-{text_digest(row_config.identity + train_data + (start and f' after {start}'))}", ""


def refuse_start(path: Path, row_config: RowConfig) -> None:
    """Raise ConfigError if the START of a row that is to be trained cannot be used."""
    if row_config.start_problem:
        raise ConfigError(f"{path}: {row_config.start_problem}")


def decoding_differs_from_validation(row: Row) -> bool:
    """True for a row with other decoding than Algorithm 1's: it decides a run's validation only if no other shares the run."""
    protocol = json.loads(row.config.protocol)
    return (protocol["decode"], protocol["fast_cross"], protocol["refine_steps"]) != ("ar", False, 1)


def evaluations_of(rows: Iterable[Row]) -> dict[str, list[str]]:
    """The evaluations that rows ask for, by run."""
    wanted: dict[str, list[str]] = {}
    for row in rows:
        if row.runnable and row.evaluation not in wanted.setdefault(row.run, []):
            wanted[row.run].append(row.evaluation)
    return wanted


def refuse_baseline(layout: Layout, rows: list[Row], doubles: Mapping[str, str] = MappingProxyType({})) -> None:
    """Raises ConfigError for a table whose baseline, or a row it says something about, has no gin file.

    Args:
        doubles: rows of its sweeps that are left out as another row already is what they are.
    """
    names = [row.name for row in rows]
    for key, used in (("baseline", [layout.baseline] if layout.baseline else []), ("not_at_micro", layout.not_at_micro)):
        for name in used:
            if name in doubles:
                raise ConfigError(f"{layout.path}: {key} names {name!r}, which is the row {doubles[name]} here; name that")
            if name not in names:
                raise ConfigError(f"{layout.path}: {key} names {name!r}, there is no {name}.gin beside it")
