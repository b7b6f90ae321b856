"""What a command asks for: tables, the world they are made on, seeds."""

from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path

from ablations.plan.settings import WORKFLOW_FILE
from ablations.rows import table_names
from core.errors import ConfigError
from core.files import ABLATIONS
from reports.figures import FIGURES
from reports.layout import Layout, read_layout

WHOLE = ("report", "claims")  # targets that weigh all tables together, and have more seeds for it
EVERY = ("all", "figures")  # targets that are made of every table
OTHERS = {"figure_6": "table_III"}  # targets with names of their own, and the table that each is made of
REPLICATES = 3  # trainings of a baseline where rows have one seed: noise that tables state is of the paper's scale


def tables_for(targets: Collection[str]) -> list[str]:
    """The tables to plan for targets of the workflow: all but those that are made alone, or some of these that targets name.

    Args:
        targets: of Snakemake's command line, such as table_VI or results/tables/cyrillic.wide.csv.
    """
    alone = [table for table in table_names() if read_layout(table).alone]
    stems = [OTHERS.get(stem, stem) for stem in stems_of(targets)]
    named = [table for table in alone if is_named(table, stems)]
    common = [table for table in table_names() if table not in alone]
    whole = not named or asks_for_all(targets) or any(stem in EVERY for stem in stems)
    return named + [table for table in common if whole or is_named(table, stems)]


def own_world(layouts: Mapping[str, Layout]) -> str | None:
    """The gin file of the rendered world that tables are made on, where they name one.

    Raises:
        ConfigError: they are of different worlds.
    """
    worlds = {layout.world: table for table, layout in reversed(layouts.items())}
    if len(worlds) > 1:
        raise ConfigError(f"tables {', '.join(worlds.values())} are of different words: ask for one of them at a time")
    return next(iter(worlds), None)


def asks_for_all(targets: Collection[str]) -> bool:
    """Whether a target weighs all tables together, by its own name or as a file such as results/report-small.html."""
    return any(stem == whole or stem.startswith(f"{whole}-") for stem in stems_of(targets) for whole in WHOLE)


def tables_made(targets: Collection[str], tables: Collection[str]) -> list[str]:
    """The tables that targets are made of, of those that are planned for them; no target is `all`."""
    stems = stems_of(targets)
    if not targets or asks_for_all(targets) or any(stem in EVERY for stem in stems):
        return list(tables)
    return [table for table in tables if is_named(table, [OTHERS.get(stem, stem) for stem in stems])]


def is_named(table: str, stems: Collection[str]) -> bool:
    """Whether a target is a table or a figure of it."""
    return any(stem in (table, *(f"{figure}_{table}" for figure in FIGURES)) for stem in stems)


def stems_of(targets: Collection[str]) -> list[str]:
    """The names of targets without folders and suffixes: cyrillic of results/tables/cyrillic.wide.csv."""
    return [Path(target).name.split(".")[0] for target in targets]


def usual_seeds(targets: Collection[str]) -> list[int]:
    """The seeds of every row where the configuration names none."""
    return [0, 1, 2] if asks_for_all(targets) else [0]


def replicate_seeds(wanted: int | str | None, seeds: list[int], layouts: dict[str, Layout], scale: str) -> list[int]:
    """The seeds of a baseline that is trained `wanted` times: that of all rows, then the smallest others, sorted.

    None wants REPLICATES at micro and small scale where rows have one seed, and no others elsewhere; so does 1 everywhere.

    Raises:
        ConfigError: rows have several seeds, whose own spread is used then; or no table has a baseline.
    """
    with_baseline = any(layout.baseline for layout in layouts.values())
    if wanted is None:
        wanted = REPLICATES if (ABLATIONS / scale / "world.gin").is_file() and len(seeds) == 1 and with_baseline else 1
    count = int(wanted)
    if count == 1:
        return []
    if len(seeds) > 1:
        raise ConfigError(
            f"{WORKFLOW_FILE}: replicates is {count}, and every row has {len(seeds)} seeds, whose own spread is used: "
            "leave it out"
        )
    if not with_baseline:
        path = next(iter(layouts.values())).path
        raise ConfigError(
            f"{WORKFLOW_FILE}: replicates is {count}, but {path} has no 'baseline' to train again; name one there"
        )
    others = (seed for seed in range(count) if seed not in seeds)
    return sorted([*seeds, *islice(others, count - 1)])
