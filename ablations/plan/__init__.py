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
from ablations.rows import plan_row, refuse_baseline, refuse_name, row_files, table_names, with_starts
from ablations.source import data_source
from ablations.sweeps import distinct, write_sweep_rows
from core.errors import ConfigError
from core.files import ABLATIONS, no_folder
from reports.layout import read_layout


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
    names = list(wanted) if wanted else tables_for(targets)
    photos, trained = settings.get("photos"), settings.get("photos_train", False)
    for table in names:
        if not (ABLATIONS / table / "table.yaml").is_file():
            raise ConfigError(f"no table {table!r}: there are {', '.join(table_names())}")
        refuse_name(table)
    layouts = {table: read_layout(table) for table in names}
    source = data_source(settings.get("data"), scale, results, published, photos, trained, own_world(layouts))
    cache = plan_cache(results)
    tables, doubles = {}, {}
    for table in names:
        layout = layouts[table]
        if layout.only_with and not (source.photos and source.photos.trained):
            if wanted or table in targets:
                raise ConfigError(f"{layout.path}: this table is for photographs: add {ADDED}")
            del layouts[table]
            continue
        generated, at_paper = (
            write_sweep_rows(
                layout.path, layout.sweeps, layout.baseline or "", results / "sweeps" / at / table, at, cache, shared
            )
            for at in (scale, "paper")
        )
        rows = [
            plan_row(path, at_paper.get(path.stem, path), layout, scale, source, cache) for path in row_files(layout, generated)
        ]
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


def plan_cache(results: Path) -> PlanCache:
    """The rows that earlier plans of this results folder have read; torch is only needed for other rows."""
    return PlanCache(results / "cache" / "plan.json", read_with_torch)


def read_with_torch(gin: str, scale: str) -> RowConfig:
    from ablations.blueprint import read

    return read(gin, scale)
