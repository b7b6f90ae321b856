"""Which of the paper's tables a folder of data can reproduce, and what is missing for the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from core import config
from core.data.benchmarks import AVERAGES
from core.data.doctor.counts import Size
from core.data.micro import WORLD, World
from core.errors import DataError

ANSWERS = {
    "yes": "can be reproduced",
    "in part": "can be reproduced in part",
    "no": "cannot be reproduced",
    "rendered": "runs at micro scale, its published values cannot be reproduced",
}


@dataclass(frozen=True)
class Needs:
    """What one table asks of the data.

    Args:
        columns: benchmarks of each, by its name; those of several make an average.
        rows: the training sets of each, by its name.
        labels: a folder below labels/ that its scores are counted with.
        rendered: benchmarks that stand for them all at micro scale.
    """

    table: str
    title: str
    columns: dict[str, tuple[str, ...]]
    rows: dict[str, tuple[str, ...]]
    labels: str | None
    rendered: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What can be said of one table; `answer` is a key of ANSWERS, `reasons` say what is missing or different."""

    table: str
    title: str
    answer: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    reasons: tuple[str, ...]


def read_needs(tables: Path) -> list[Needs]:
    """What each `<table>/table.yaml` below a folder asks for, its rows read from the gin files beside it at paper scale.

    Raises:
        DataError: there is no table.
        ConfigError: a row does not parse.
    """
    found = sorted(tables.glob("table_*/table.yaml"), key=lambda path: (roman(path.parent.name), path.parent.name))
    if not found:
        raise DataError(f"{tables}: no table_*/table.yaml here; expected the repository's ablations/")
    rendered = config.build(World, WORLD).names
    return [needs_of(path, rendered) for path in found]


def needs_of(path: Path, rendered: tuple[str, ...]) -> Needs:
    content = yaml.safe_load(path.read_text())
    columns, rows = {}, {}
    for column in content["columns"]:
        filled = AVERAGES[column["average"]] if "average" in column else column.get("paper", ())
        if filled:
            columns[column["name"]] = (filled,) if isinstance(filled, str) else tuple(filled)
    for row in sorted(path.parent.glob("*.gin")):
        config.parse(row, "paper")
        rows[row.stem] = tuple(config.macro("TRAIN_DATA"))
    return Needs(path.parent.name, content["title"], columns, rows, content.get("labels"), rendered)


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
        benchmarks: of data/test, by benchmark. training: of data/train, by folder.
        label_files: benchmarks with a file, by folder below data/labels.
        overlap: images of a benchmark (second) that a training set (first) holds as well.
    """
    reasons = []
    wanted = dict.fromkeys(name for names in needs.columns.values() for name in names)
    here = {name for name in wanted if name in benchmarks and benchmarks[name].as_published}
    if absent := [name for name in wanted if name not in benchmarks]:
        reasons.append(f"no benchmark {', '.join(absent)}")
    reasons += [f"{name}: {benchmarks[name].note}" for name in wanted if name in benchmarks and name not in here]
    if needs.labels:
        labelled = label_files.get(needs.labels, set())
        if bare := [name for name in wanted if name in benchmarks and name not in labelled]:
            reasons.append(f"no label file labels/{needs.labels}/<name>.csv for {', '.join(bare)}")
        here &= labelled
    columns = tuple(column for column, names in needs.columns.items() if here.issuperset(names))

    sets = dict.fromkeys(name for names in needs.rows.values() for name in names)
    trained = {name for name in sets if name in training and training[name].as_published}
    for name in sets:
        count = sum(name in names for names in needs.rows.values())
        asked = f"{count} of {len(needs.rows)} rows"
        if name not in training:
            reasons.append(f"no training set train/{name} ({asked})")
        elif name not in trained:
            reasons.append(f"train/{name} ({asked}): {training[name].note}")
    rows = tuple(row for row, names in needs.rows.items() if trained.issuperset(names))
    reasons += [
        f"{count} images of {test} have a copy or near copy in train/{train}"
        for (train, test), count in sorted(overlap.items())
        if train in sets and test in wanted
    ]
    answer = decide(needs, columns, rows, set(benchmarks), set(training))
    return Verdict(needs.table, needs.title, answer, columns, rows, tuple(reasons))


def decide(needs: Needs, columns: tuple, rows: tuple, benchmarks: set[str], training: set[str]) -> str:
    whole = len(columns) == len(needs.columns) and len(rows) == len(needs.rows)
    if whole:
        return "yes"
    if rows and (columns or not needs.columns):
        return "in part"
    return "rendered" if training and benchmarks.issuperset(needs.rendered) else "no"
