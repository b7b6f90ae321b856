"""From rows to runs: what each gin file trains, where its results go, and which rows share a run.

    python -m ablations.plan table_VI
    python -m ablations.plan --all --scale paper --gpus 8 --price 2.5

A run is identified by what it trains: the values that its training reads (core/experiment/identity.py) and the data. Rows that
differ only in decoding share a run, and tables share runs; editing a comment changes nothing.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from ablations.photos import ADDED
from ablations.plan.plan import Plan
from ablations.plan.targets import own_world, replicate_seeds, tables_for, usual_seeds
from ablations.row_config import PlanCache, RowConfig
from ablations.rows import Row, plan_row, refuse_baseline, refuse_name, row_files, with_starts
from ablations.source import Source, data_source
from ablations.sweeps import distinct, write_sweep_rows
from core.errors import ConfigError
from core.files import no_folder
from reports.layout import Layout, read_layout


def make(
    settings: dict,
    wanted: Sequence[str] | None = None,
    published: bool = False,
    targets: Collection[str] = (),
    shared: bool = False,
) -> Plan:
    """The plan of a workflow configuration (see ablations/workflow.schema.yaml).

    Args:
        wanted: tables; where left out, those for `targets`, what Snakemake is asked for (`ablations.plan.targets`).
        published: see `ablations.source.data_source`.
        shared: another workflow is at work in these results, see `ablations.sweeps.write_sweep_rows`.

    Raises:
        ConfigError, ReportError, DataError: naming file, key and fix.
    """
    scale, results = settings["scale"], Path(settings["results"])
    if results.is_file():
        raise ConfigError(f"results: {results} {no_folder(results)}; name another")
    layouts = read_layouts(list(wanted) if wanted else tables_for(targets))
    photos, trained = settings.get("photos"), settings.get("photos_train", False)
    source = data_source(settings.get("data"), scale, results, published, photos, trained, own_world(layouts))
    layouts = with_data(layouts, source, named=wanted or targets)
    cache = plan_cache(results)
    tables, doubles = {}, {}
    for table, layout in layouts.items():
        rows, generated = planned_rows(layout, results, scale, source, cache, shared)
        tables[table], doubles[table] = distinct(with_starts(rows, source, scale), generated)
        refuse_baseline(layout, tables[table], doubles[table])
    cache.write()
    seeds = settings["seeds"] or usual_seeds(())
    return Plan(
        tables=tables,
        layouts=layouts,
        doubles=doubles,
        source=source,
        results=results,
        scale=scale,
        seeds=seeds,
        rendered=source.world is not None,
        wanted_peers=list(settings.get("peers", [])),
        replicates=replicate_seeds(settings.get("replicates"), seeds, layouts, scale),
    )


def read_layouts(names: Sequence[str]) -> dict[str, Layout]:
    """The layouts of tables, by their names.

    Raises:
        ReportError: there is no such table, or its layout cannot be used.
        ConfigError: a rule has the table's name.
    """
    layouts = {table: read_layout(table) for table in names}
    for table in names:
        refuse_name(table)
    return layouts


def with_data(layouts: dict[str, Layout], source: Source, named: Collection[str]) -> dict[str, Layout]:
    """The layouts whose tables can be made from the data; the others are left out.

    Raises:
        ConfigError: one of the others is among those that were named.
    """
    photographed = source.photos is not None and source.photos.trained
    for table, layout in layouts.items():
        if layout.only_with and not photographed and table in named:
            raise ConfigError(f"{layout.path}: this table is for photographs: add {ADDED}")
    return {table: layout for table, layout in layouts.items() if photographed or not layout.only_with}


def planned_rows(
    layout: Layout, results: Path, scale: str, source: Source, cache: PlanCache, shared: bool
) -> tuple[list[Row], dict[str, Path]]:
    """A table's rows, those of its sweeps included, and the gin files that its sweeps have written, by row."""
    generated, at_paper = (
        write_sweep_rows(
            layout.path, layout.sweeps, layout.baseline or "", results / "sweeps" / at / layout.table, at, cache, shared
        )
        for at in (scale, "paper")
    )
    files = row_files(layout, generated)
    return [plan_row(path, at_paper.get(path.stem, path), layout, scale, source, cache) for path in files], generated


def plan_cache(results: Path) -> PlanCache:
    """The rows that earlier plans of this results folder have read; torch is only needed for other rows."""
    return PlanCache(results / "cache" / "plan.json", read_with_torch)


def read_with_torch(gin: str, scale: str) -> RowConfig:
    from ablations.blueprint import read

    return read(gin, scale)
