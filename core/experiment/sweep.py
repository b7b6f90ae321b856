"""The `sweep` of a table.yaml, which defines rows without gin files: points of a grid, with the names of their rows.

    sweep: {DROPOUT: [0.0, 0.1, 0.3]}
    sweep: {PERMUTATIONS: {from: 2, to: 16, steps: 4, log: true}, MIRRORED: [true, false], sample: 5}
    sweep: [{DROPOUT: [0.0, 0.3]}, {ENCODER_LR: {times: [0.5, 2]}}]      # the rows of both

Errors that the YAML alone shows are raised here (ReportError, naming file, key and value). `ablations.sweeps` writes the
points as gin files and checks that the starting row has the knobs.
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.charset import SUFFIX
from core.errors import ConfigError, ReportError
from core.files import ROOT

CLIP4STR_B = "ablations/base.gin"
OPTIONS = ("from", "sample", "seed", "share", "without")  # keys of a sweep that are not knobs
RANGE = ("from", "to", "steps", "log")
MOST_ROWS = 500  # of one sweep; a typing error in `steps` must not write a million files
ROW = ".gin"
NAME_DIGITS = 6  # significant digits of values inside a range


@dataclass(frozen=True)
class Times:
    """A value as a multiple of the starting row's own."""

    factor: float


@dataclass(frozen=True)
class Sweep:
    """One grid.

    Args:
        start: the row that every point starts from: one beside table.yaml, or a gin file counted from the repository root;
            empty for the table's baseline, or CLIP4STR-B where the baseline is not a file.
        points: by the name of the row, the values of the knobs.
        share: share of the starting row's training length that each row gets; the schedule is shortened with it.
    """

    start: str
    points: dict[str, dict[str, object]]
    share: float = 1.0


def read_sweeps(path: Path, content: object) -> tuple[Sweep, ...]:
    """The sweeps of a table.yaml.

    Args:
        path: the table.yaml.
        content: the value of its `sweep`.

    Raises:
        ReportError: naming file, key and value.
    """
    sweeps = tuple(one_sweep(path, entry) for entry in (content if isinstance(content, list) else [content]))
    taken = {file.stem: file.name for file in path.parent.glob("[!.]*.gin")}
    for name, point in (item for sweep in sweeps for item in sweep.points.items()):
        if name in taken:
            raise ReportError(
                f"{path}: sweep: {as_text(point)} makes a row named {name!r}, as {taken[name]} does; rename the file, or "
                "take the value out"
            )
        taken[name] = f"the sweep's {as_text(point)}"
    return sweeps


def start_of(path: Path, sweep: Sweep, baseline: str) -> Path:
    """The gin file that a sweep starts from: one beside `path`, its table.yaml, or one counted from the repository root.

    Args:
        baseline: of the table; empty where it has none.

    Raises:
        ConfigError: there is no such file.
    """
    for name in (sweep.start, "" if sweep.start else baseline):
        if name and (beside := path.parent / f"{name}.gin").is_file():
            return beside
    start = Path(sweep.start or CLIP4STR_B)
    if not (ROOT / start).is_file():
        raise ConfigError(f"{path}: sweep: from is {sweep.start!r}, which is neither a row beside it nor a file")
    return start


class Turned(NamedTuple):
    """A row of a sweep that sets `knob` to a number; `others` are its other knobs, as text."""

    knob: str
    value: float | Times
    others: str
    row: str


def swept_numbers(sweeps: Sequence[Sweep]) -> list[Turned]:
    """Every row of sweeps with every knob of numbers in it, except knobs that have one number everywhere."""
    found = [
        Turned(knob, value, as_text({name: other for name, other in point.items() if name != knob}), row)
        for sweep in sweeps
        for row, point in sweep.points.items()
        for knob, value in point.items()
        if is_number(value) or isinstance(value, Times)
    ]
    several = {one.knob for one in found if any(one.value != other.value for other in found if other.knob == one.knob)}
    return [one for one in found if one.knob in several]


def one_sweep(path: Path, entry: object) -> Sweep:
    if not isinstance(entry, dict) or not (knobs := [key for key in entry if key not in OPTIONS]):
        raise ReportError(f"{path}: sweep is {entry!r}; expected knobs with their values, like {{DROPOUT: [0.0, 0.1, 0.3]}}")
    axes = {str(knob): values_of(path, str(knob), entry[knob]) for knob in knobs}
    size = math.prod(map(len, axes.values()))
    count, seed = entry.get("sample", size), entry.get("seed", 0)
    if type(count) is not int or not 1 <= count <= size:
        raise ReportError(f"{path}: sweep: sample is {count!r}; expected a whole number from 1 to {size}, the whole product")
    if type(seed) is not int:
        raise ReportError(f"{path}: sweep: seed is {seed!r}; expected a whole number")
    if count > MOST_ROWS:
        raise ReportError(f"{path}: sweep: {count} rows; at most {MOST_ROWS}: give fewer values, or a `sample` of them")
    chosen, generator = set(range(size)) if count == size else set(), random.Random(seed)
    while len(chosen) < count:  # random.sample takes no product above 2^63
        chosen.add(generator.randrange(size))
    points: dict[str, dict[str, object]] = {}
    for number in sorted(chosen):
        point = {}
        for knob, values in reversed(axes.items()):  # the last knob turns fastest, as in nested loops
            number, place = divmod(number, len(values))
            point[knob] = values[place]
        point = dict(reversed(point.items()))
        name = "-".join(part_of_name(knob, value) for knob, value in point.items())
        if name in points:
            raise ReportError(f"{path}: sweep: {as_text(points[name])} and {as_text(point)} would both be named {name!r}")
        points[name] = point
    for name in listed(path, entry, "without"):
        if points.pop(name, None) is None:
            raise ReportError(
                f"{path}: sweep: 'without' names {name!r}, which is not a row of the sweep; its rows are {', '.join(points)}"
            )
    start, share = entry.get("from", ""), entry.get("share", 1.0)
    if not isinstance(start, str):
        raise ReportError(f"{path}: sweep: from is {start!r}; expected a row of this table or a gin file")
    if not is_number(share) or not 0 < share <= 1:
        raise ReportError(f"{path}: sweep: share is {share!r}; expected a share of the row's training, above 0 and at most 1")
    return Sweep(start, points, float(share))


def values_of(path: Path, knob: str, given: object) -> list[object]:
    """The values of one knob, each once: 0.1, 0.10 and 1e-1 are one value.

    Raises:
        ReportError: none, or what is neither a list nor a range.
    """
    where = f"{path}: sweep: {knob} is {given!r}"
    relative = isinstance(given, dict) and set(given) == {"times"}
    if relative:
        given = given["times"]
    if isinstance(given, dict):
        values = range_of(where, given)
    elif isinstance(given, list) and given:
        values = [plain(where, value) for value in given]
    else:
        raise ReportError(f"{where}; expected a list of values, like [0.0, 0.1], or {{from: 0.0, to: 0.3, steps: 4}}")
    if relative and not all(is_number(value) and value > 0 for value in values):
        raise ReportError(f"{where}; `times` takes positive numbers, which the row's own value is multiplied by")
    once: dict[tuple, object] = {}
    for value in values:
        once.setdefault((isinstance(value, bool), value), value)  # True == 1 in Python, but not as a value of a knob
    return [Times(value) if relative else value for value in once.values()]


def range_of(where: str, given: Mapping) -> list[float]:
    """Evenly spaced numbers with both ends, on a logarithmic scale with `log`; whole numbers where both ends are."""
    numbers = {key: plain(where, value) for key, value in given.items() if key != "log"}
    first, last, steps, log = *(numbers.get(key) for key in RANGE[:3]), given.get("log", False)
    if set(given) - set(RANGE) or not is_number(first) or not is_number(last) or not isinstance(log, bool):
        raise ReportError(f"{where}; expected numbers as in {{from: 0.0, to: 0.3, steps: 4}}, and `log: true` for powers")
    if type(steps) is not int or steps < 2 or first == last:
        raise ReportError(f"{where}; a range has two ends that differ and 2 or more `steps`")
    if log and min(first, last) <= 0:
        raise ReportError(f"{where}; a logarithmic range lies above 0")
    if log:
        spaced = [first * (last / first) ** (k / (steps - 1)) for k in range(1, steps - 1)]
    else:
        spaced = [first + (last - first) * k / (steps - 1) for k in range(1, steps - 1)]
    inner = [float(f"{value:.{NAME_DIGITS}g}") for value in spaced]  # the ends stay as they are given
    values = [first, *inner, last]
    if type(first) is int and type(last) is int and all(float(value).is_integer() for value in values):
        return [int(value) for value in values]
    return [float(value) for value in values]


def plain(where: str, value: object) -> object:
    """A value as gin takes it: lists as tuples, and numbers that YAML reads as text (1e-4) as numbers."""
    if isinstance(value, list):
        return tuple(plain(where, entry) for entry in value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ReportError(f"{where}; {value} is not a finite number")
    if value is not None and not isinstance(value, str | int | float):
        raise ReportError(f"{where}; {value!r} is not a number, text, true, false, null or a list of them")
    return value


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def listed(path: Path, entry: Mapping, key: str) -> Sequence[str]:
    names = entry.get(key, [])
    if not isinstance(names, list):
        raise ReportError(f"{path}: sweep: {key} is {names!r}; expected a list of rows")
    return names


def part_of_name(knob: str, value: object) -> str:
    """dropout0.1, permutations6, mirrored, not-mirrored, decode-cloze, charset94, charset-greek, encoder-lr-x0.5."""
    name = knob.lower().replace("_", "-")
    if isinstance(value, bool):
        return name if value else f"not-{name}"
    if isinstance(value, Times):
        return f"{name}-x{number_text(value.factor)}"
    if is_number(value):
        return f"{name}{number_text(value)}"
    if isinstance(value, str) and value.endswith((SUFFIX, ROW)):  # a charset's or a row's file, whose folder tells nothing
        stem = Path(value).stem.lower()
        return f"{name}{stem}" if stem.isdecimal() else f"{name}-{stem}"
    entries = value if isinstance(value, tuple) else (value,)
    texts = [number_text(entry) if is_number(entry) else re.sub(r"[^a-z0-9.]+", "-", str(entry).lower()) for entry in entries]
    return "-".join([name, *(text.strip("-.") for text in texts)])


def number_text(value: float) -> str:
    """A number in the shortest text that identifies it."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def as_text(point: Mapping[str, object]) -> str:
    """A point as gin lines in one: DROPOUT = 0.1, MIRRORED = True."""
    return ", ".join(f"{knob} = {written(value)}" for knob, value in point.items())


def written(value: object) -> str:
    return f"{number_text(value.factor)} times the row's own" if isinstance(value, Times) else repr(value)
