"""Which folder fills each column of the wanted tables, or why none does; printed before anything runs."""

from dataclasses import dataclass

from ablations.source import Source
from core.data.benchmarks import PUBLISHED_SIZES, BenchmarkFolder, unknown
from reports.collect.labels import unlabelled
from reports.columns import Column, absent, columns_of
from reports.layout import Layout


@dataclass(frozen=True)
class Filling:
    """One column of one or more tables.

    Args:
        benchmarks: pooled in it.
        labels: the folder below labels/ that scores it; empty for the stored labels.
        folders: that hold them here, with their stored images.
        reason: why the column stays empty, in the words of the table's empty cells; empty where it is filled.
    """

    column: str
    tables: tuple[str, ...]
    labels: str
    benchmarks: tuple[str, ...]
    folders: tuple[BenchmarkFolder, ...]
    reason: str

    @property
    def filled_by(self) -> str:
        """The folders below the data root, or the reason why there are none."""
        if self.reason:
            return self.reason
        names = [f"test/{folder.path.name}" for folder in self.folders]
        return ", ".join(names) + (f" with labels/{self.labels}" if self.labels else "")

    @property
    def stored(self) -> int:
        return sum(folder.stored for folder in self.folders)

    @property
    def published(self) -> int:
        """Images in the paper; 0 for what the paper does not have."""
        return sum(PUBLISHED_SIZES.get(name, 0) for name in self.benchmarks)


def fillings(layouts: dict[str, Layout], source: Source) -> list[Filling]:
    """Every column that is an accuracy, once for all tables that have it alike."""
    asking: dict[tuple[Column, str], list[str]] = {}
    for table, layout in layouts.items():
        for column in columns_of(layout, source.world is not None, photographed(source)):
            if not column.fact:
                asking.setdefault((column, layout.labels or ""), []).append(table)
    return [filling(column, labels, tables, source) for (column, labels), tables in asking.items()]


def photographed(source: Source) -> list[str]:
    """The benchmarks that are photographs beside a rendered world."""
    return [*source.photos.folders] if source.photos else []


def filling(column: Column, labels: str, tables: list[str], source: Source) -> Filling:
    here = {name: source.benchmarks[name] for name in column.benchmarks if name in source.benchmarks}
    problems = {name: folder.problem for name, folder in here.items() if folder.problem}
    if labels:  # a rendered world comes with them
        real = here if source.world is None else here.keys() & photographed(source)
        problems = unlabelled(source.root / "labels" / labels, real) | problems
    reason = absent(column, here.keys() - problems.keys(), problems)
    return Filling(column.name, tuple(tables), labels, column.benchmarks, tuple(here.values()), reason)


def strangers(layouts: dict[str, Layout], source: Source) -> list[str]:
    """Warnings about folders below test/ that are neither a benchmark of the paper nor named by a column."""
    if source.world is not None:
        return []
    named = {name for layout in layouts.values() for column in columns_of(layout, False, []) for name in column.benchmarks}
    return [
        unknown(name, source.benchmarks[name].stored) for name in source.benchmarks if name not in {*PUBLISHED_SIZES, *named}
    ]
