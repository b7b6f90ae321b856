"""The columns of a table: what the paper prints, and the benchmarks or families that fill it here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from core.data.benchmarks import AVERAGES, FAMILIES, MICRO_AVERAGES, PUBLISHED_SIZES, absent_message
from reports.layout import FACTS, Layout, filled


@dataclass(frozen=True)
class Column:
    """One column of a table and the benchmark, or pooled benchmarks, that fill it here.

    Args:
        name: the column's name as the paper prints it.
        benchmarks: pooled image by image; empty where nothing here stands for the paper's column, and for facts.
        published: False for what we show beside the paper's columns.
        average: the name of the formula, for columns that average the others.
        fact: a key of FACTS, for columns that are not an accuracy.
        higher_is_better: which end is marked best; None marks nothing.
    """

    name: str
    benchmarks: tuple[str, ...] = ()
    published: bool = True
    average: str | None = None
    fact: str | None = None
    higher_is_better: bool | None = True

    @property
    def heading(self) -> str:
        """The name, with what fills it where that is not the same."""
        if self.fact or not self.benchmarks:
            return self.name
        if self.average:
            return f"{self.name} ({self.average if self.benchmarks == AVERAGES[self.average] else 'families'})"
        filled = self.benchmarks[0] if len(self.benchmarks) == 1 else f"{len(self.benchmarks)} sets pooled"
        return self.name if filled in self.name.split() else f"{self.name} ({filled})"

    @property
    def decimals(self) -> int:
        return FACTS[self.fact] if self.fact else 1


def columns_of(layout: Layout, rendered: bool, evaluated: list[str]) -> list[Column]:
    """The published columns under the data in use, then whatever else was evaluated, families of the rendered world aside.

    So photographs beside a rendered world are columns of every table, and take no part in means and comparisons.

    On the rendered world a column is filled by its stand-in family (or families; `micro` may be left out: there is
    none), on real data by the benchmark itself (or several, image by image). A column of `micro` alone is one of our own: it is
    shown on the rendered world, and takes no part in means and comparisons. Families that stand for benchmarks of other tables
    are left to those.

    Args:
        evaluated: benchmarks that were evaluated.
    """
    by_families = rendered and not layout.only_with
    entries = [entry for entry in layout.columns if by_families or "micro" not in entry or "paper" in entry]
    columns = [one_column(entry, by_families) for entry in entries]
    if all(column.fact for column in columns):
        return columns
    taken = {column.benchmarks[0] for column in columns if len(column.benchmarks) == 1}
    names = {column.name for column in columns}
    others = [name for name in evaluated if name not in taken and not (rendered and name in FAMILIES)]
    where, named = ("photographs", {*PUBLISHED_SIZES, *names}) if rendered else ("here", names)
    called = {name: f"{name} ({where})" if name in named else name for name in others}
    return columns + [Column(called[name], (name,), published=False) for name in others]


def one_column(entry: dict, rendered: bool) -> Column:
    """A checked entry of table.yaml as a column."""
    name, better = entry["name"], entry.get("higher_is_better", None if "fact" in entry else True)
    if "fact" in entry:
        return Column(name, fact=entry["fact"], higher_is_better=better)
    if "average" in entry:
        sets = MICRO_AVERAGES[entry["average"]] if rendered else AVERAGES[entry["average"]]
        return Column(name, sets, average=entry["average"], higher_is_better=better)
    sets = filled(entry.get("micro", []) if rendered else entry["paper"])
    return Column(name, sets, published="paper" in entry, higher_is_better=better)


def absent(column: Column, evaluated: Collection[str], problems: Mapping[str, str]) -> str:
    """Why a column has no numbers; the plan prints this before anything runs, and tables give it for empty cells.

    Args:
        evaluated: benchmarks that were evaluated, or can be.
        problems: by benchmark, why one that is there cannot be read or scored.
    """
    if not column.benchmarks:
        return "no family of the rendered world stands for it"
    missing = [name for name in column.benchmarks if name not in evaluated]
    return "; ".join(f"{name}: {problems[name]}" if name in problems else absent_message(name) for name in missing)


def mean_columns(columns: list[Column], measured: set[str] | None = None) -> list[Column]:
    """The columns that a table's mean and differences are over: the paper's benchmarks that were measured.

    Where there are none, the paper's own averages; where there are none of these either, every measured benchmark.

    Args:
        measured: benchmarks that there are numbers of; every one where left out.
    """
    scored = [column for column in columns if not column.fact]
    filled = [column for column in scored if measured is None or (column.benchmarks and measured >= set(column.benchmarks))]
    published = [column for column in filled if column.published]
    return [column for column in published if not column.average] or published or filled
