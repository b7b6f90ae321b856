"""Which of the paper's tables a data folder can reproduce, and what is missing for the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from core import config
from core.data.benchmarks import AVERAGES, MICRO_WORLD, Size
from core.data.micro import World
from core.errors import ConfigError, DataError
from core.experiment.sweep import read_sweeps, start_of

ANSWERS = {
    "yes": "can be reproduced",
    "in part": "can be reproduced in part",
    "no": "cannot be reproduced",
    "rendered": "runs at micro scale, its published values cannot be reproduced",
}


@dataclass(frozen=True)
class Needs:
    """The data that one table needs.

    Args:
        columns: benchmarks of each column, by its name; a column of several is their average.
        rows: training sets of each row, by its name.
        labels: folder below labels/ whose labels the scores are counted with.
        rendered: benchmark families that take the benchmarks' place at micro scale.
    """

    table: str
    title: str
    columns: dict[str, tuple[str, ...]]
    rows: dict[str, tuple[str, ...]]
    labels: str | None
    rendered: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether one table can be reproduced: `answer` is a key of ANSWERS, `reasons` say what is missing or different."""

    table: str
    title: str
    answer: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    reasons: tuple[str, ...]


def read_needs(tables: Path) -> list[Needs]:
    """The data that each `<table>/table.yaml` below a folder needs; its rows, files and sweeps, are read at paper scale.

    Raises:
        DataError: there is no table.
        ConfigError: a row does not parse, or its TRAIN_DATA names no folders.
        ReportError: a sweep makes no sense.
    """
    paths = sorted(tables.glob("table_*/table.yaml"), key=lambda path: (roman(path.parent.name), path.parent.name))
    if not paths:
        raise DataError(f"{tables}: no table_*/table.yaml here; expected the repository's ablations/")
    rendered = config.build(World, MICRO_WORLD).names
    return [needs_of(path, rendered) for path in paths]


def needs_of(path: Path, rendered: tuple[str, ...]) -> Needs:
    content = yaml.safe_load(path.read_text())
    columns, rows = {}, {}
    for column in content["columns"]:
        benchmarks = AVERAGES[column["average"]] if "average" in column else column.get("paper", ())
        if benchmarks:
            columns[column["name"]] = (benchmarks,) if isinstance(benchmarks, str) else tuple(benchmarks)
    for row in sorted(path.parent.glob("*.gin")):
        rows[row.stem] = training_sets(row)
    for sweep in read_sweeps(path, content["sweep"]) if "sweep" in content else ():
        own = training_sets(start_of(path, sweep, content.get("baseline") or ""))
        for row, point in sweep.points.items():
            rows[row] = folders(f"{path}: sweep: {row}", point["TRAIN_DATA"]) if "TRAIN_DATA" in point else own
    return Needs(path.parent.name, content["title"], columns, rows, content.get("labels"), rendered)


def training_sets(row: Path) -> tuple[str, ...]:
    """The training sets of a gin file."""
    config.parse(row, "paper")
    return folders(str(row), config.macro("TRAIN_DATA"))


def folders(where: str, value: object) -> tuple[str, ...]:
    """TRAIN_DATA as a row or a sweep gives it, checked as an experiment would."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{where}: TRAIN_DATA = {value!r}: expected folders below DATA/train, e.g. ('real',)")
    return tuple(value)


def roman(table: str) -> int:
    """The number of table_IX; 1,000 for tables that have none."""
    digits = {"I": 1, "V": 5, "X": 10}
    values = [digits.get(letter) for letter in table.removeprefix("table_")]
    if None in values:
        return 1000
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def judge(
    needs: Needs,
    benchmarks: Mapping[str, Size],
    training: Mapping[str, Size],
    label_files: Mapping[str, set[str]],
    overlap: Mapping[tuple[str, str], int],
) -> Verdict:
    """The verdict on one table.

    Args:
        benchmarks: sizes of the sets below data/test, by benchmark.
        training: sizes of the sets below data/train, by folder.
        label_files: benchmarks with a label file, by folder below data/labels.
        overlap: images that a benchmark (second) shares with a training set (first).
    """
    columns, reasons = usable_columns(needs, benchmarks, label_files)
    rows, reason_not_graphed = usable_rows(needs, training)
    trained, tested = set().union(*needs.rows.values()), set().union(*needs.columns.values())
    shared = [
        f"{count} images of {test} have a copy or near copy in train/{train}"
        for (train, test), count in sorted(overlap.items())
        if train in trained and test in tested
    ]
    if len(columns) == len(needs.columns) and len(rows) == len(needs.rows):
        answer = "yes"
    elif rows and (columns or not needs.columns):
        answer = "in part"
    else:
        answer = "rendered" if training and set(benchmarks).issuperset(needs.rendered) else "no"
    return Verdict(needs.table, needs.title, answer, columns, rows, (*reasons, *reason_not_graphed, *shared))


def usable_columns(
    needs: Needs, benchmarks: Mapping[str, Size], label_files: Mapping[str, set[str]]
) -> tuple[tuple[str, ...], list[str]]:
    """The columns whose benchmarks are all as published and labelled, and what is wrong with the other benchmarks."""
    needed = dict.fromkeys(name for names in needs.columns.values() for name in names)
    present = [name for name in needed if name in benchmarks]
    usable = {name for name in present if benchmarks[name].as_published}
    reasons = []
    if absent := [name for name in needed if name not in benchmarks]:
        reasons.append(f"no benchmark {', '.join(absent)}")
    reasons += [f"{name}: {benchmarks[name].note}" for name in present if name not in usable]
    if needs.labels:
        labelled = label_files.get(needs.labels, set())
        if bare := [name for name in present if name not in labelled]:
            reasons.append(f"no label file labels/{needs.labels}/<name>.csv for {', '.join(bare)}")
        usable &= labelled
    return tuple(column for column, names in needs.columns.items() if usable.issuperset(names)), reasons


def usable_rows(needs: Needs, training: Mapping[str, Size]) -> tuple[tuple[str, ...], list[str]]:
    """The rows whose training sets are all as published, and what is wrong with the other sets."""
    usable, reasons = set(), []
    for name in dict.fromkeys(name for names in needs.rows.values() for name in names):
        used_by = f"{sum(name in names for names in needs.rows.values())} of {len(needs.rows)} rows"
        if name not in training:
            reasons.append(f"no training set train/{name} ({used_by})")
        elif training[name].as_published:
            usable.add(name)
        else:
            reasons.append(f"train/{name} ({used_by}): {training[name].note}")
    return tuple(row for row, names in needs.rows.items() if usable.issuperset(names)), reasons
