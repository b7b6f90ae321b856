"""Writes the rows of a table's sweep as gin files below the results folder; they are used like rows written by hand.

results/sweeps/<scale>/<table>/<row>.gin includes the row that the sweep starts from and sets the knobs. It holds what a
hand-written row would hold, so it has the same digest and shares its run. `python -m core.train` takes it like any other.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from ablations.row_config import PlanCache, in_root
from ablations.rows import Row
from core.config.gin_text import bindings_of
from core.errors import ConfigError
from core.experiment.sweep import OPTIONS, Sweep, Times, as_text, is_number, start_of
from core.files import ROOT, write_if_changed

SWEEP_HEADER = "# Made by the sweep of"
LENGTHS = ("TRAIN_STEPS", "EPOCHS")  # a row gives exactly one
DECODING = {"DECODE", "REFINE_STEPS", "FAST_CROSS", "OUTPUT"}  # knobs that train nothing


def write_sweep_rows(
    path: Path, sweeps: Sequence[Sweep], baseline: str, folder: Path, scale: str, cache: PlanCache, shared: bool = False
) -> dict[str, Path]:
    """Write the rows of sweeps at a scale; files of rows that they span no more are deleted.

    Args:
        path: the YAML file that the sweeps are in.
        baseline: of its table; empty where it has none.
        folder: for the gin files.
        shared: another workflow is at work with these files: none is deleted.

    Raises:
        ConfigError: a sweep starts from no file, names a knob that its row does not have, or gives a value that its model
            refuses; naming file, key and value. Or a file that is shared would have to change.
    """
    files: dict[str, Path] = {}
    for sweep in sweeps:
        start = in_root(start_of(path, sweep, baseline))
        own = own_values(start, scale, cache)
        for name, point in sweep.points.items():
            values = {knob: value_here(path, start, own, knob, value) for knob, value in point.items()}
            files[name] = folder / f"{name}.gin"
            text = gin_text(path, sweep, start, point, values | length_of(path, sweep, point, own))
            if shared and files[name].is_file() and files[name].read_text() != text:
                raise ConfigError(
                    f"{files[name]}: the workflow that is at work there has another sweep than {path}: wait until it has "
                    "ended, or work in another folder with --config results=DIR"
                )
            write_if_changed(files[name], text)
            try:
                cache.row(files[name], scale)
            except ConfigError as error:
                raise ConfigError(f"{path}: sweep: {as_text(point)}: {error}") from error
    for file in () if shared else folder.glob("*.gin"):
        if file not in files.values() and SWEEP_HEADER in file.read_text():  # of an earlier version of the sweep
            file.unlink()
    return files


def own_values(start: str, scale: str, cache: PlanCache) -> dict[str, object]:
    """The knobs that a row has, and its values of them."""
    values = bindings_of(cache.row(ROOT / start, scale).operative)
    return {name: value for name, value in values.items() if "." not in name}


def value_here(path: Path, start: str, macros: dict, knob: str, value: object) -> object:
    """A knob's value as the row is to have it: a whole number or a float, as in the starting row."""
    if knob not in macros:
        near = get_close_matches(knob, [*macros, *OPTIONS], 1, 0.5) or get_close_matches(knob.upper(), [*macros], 1, 0)
        raise ConfigError(
            f"{path}: sweep: {knob} is not a knob of {start} ({as_text({knob: value})})" + "".join(f"; {n}?" for n in near)
        )
    own = float(macros[knob]) if knob == "EPOCHS" and macros[knob] else macros[knob]  # may be a fraction
    if isinstance(value, Times):
        if not is_number(own):
            other = next((name for name in LENGTHS if name != knob and knob in LENGTHS and macros.get(name)), "")
            hint = f"; at this scale it counts in {other}: name a length by `share`" if other else ""
            raise ConfigError(f"{path}: sweep: {knob} has `times`, but {start} sets it to {own!r}, which is not a number{hint}")
        if value.factor == 1:
            return own
        scaled = own * value.factor
        value = round(scaled) if isinstance(own, int) else float(f"{scaled:.6g}")
    if isinstance(own, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(own) is int and isinstance(value, float):
        if not value.is_integer():
            raise ConfigError(f"{path}: sweep: {knob} = {value!r} is not a whole number, as {start} has it ({own})")
        return int(value)
    return value


def length_of(path: Path, sweep: Sweep, point: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    """A row's bindings of its training length: a share of the starting row's, or None for the unit that is not swept.

    Raises:
        ConfigError: the sweep shortens what it varies.
    """
    swept = [knob for knob in LENGTHS if knob in point]
    if sweep.share < 1 and swept:
        raise ConfigError(f"{path}: sweep: share is {sweep.share:g}, and {swept[0]} is a knob of it; leave one out")
    if len(swept) == 1:
        return {knob: None for knob in LENGTHS if knob not in swept}
    if sweep.share == 1:
        return {}
    if own.get("TRAIN_STEPS") is not None:
        return {"TRAIN_STEPS": max(1, round(sweep.share * own["TRAIN_STEPS"]))}
    return {"EPOCHS": sweep.share * own["EPOCHS"]}


def gin_text(path: Path, sweep: Sweep, start: str, point: dict, values: dict) -> str:
    """A row as a person would write it: its question, where it is from, what it costs, and its values."""
    knobs = list(point)
    question = f"Which {', '.join(knobs[:-1])}{' and ' * (len(knobs) > 1)}{knobs[-1]}?"
    cost = "none, it decodes the starting row's model in another way" if set(values) <= DECODING else "one training"
    part = f" (here {sweep.share:g} of its length)" if sweep.share < 1 else ""
    return (
        f"# {question} Here: {as_text(point)}.\n"
        f"{SWEEP_HEADER} {in_root(path)}, which starts from {start}; change the sweep, not this file.\n"
        f"# Paper: not in the paper. Cost: {cost}{part}.\n"
        f"include '{start}'\n\n" + "".join(f"{knob} = {value!r}\n" for knob, value in values.items())
    )


def distinct(rows: list[Row], generated: Collection[str]) -> tuple[list[Row], dict[str, str]]:
    """Rows without those of a sweep that are another row already, by value: the baseline's own value is the baseline.

    Returns:
        The rows, and for each that was left out the row that it is.
    """
    names: dict[tuple, str] = {}
    for row in sorted(rows, key=lambda row: row.name in generated):  # a file keeps its place before a generated row
        names.setdefault(experiment_of(row), row.name)
    same = {row.name: name for row in rows if (name := names[experiment_of(row)]) != row.name and row.name in generated}
    return [row for row in rows if row.name not in same], same


def experiment_of(row: Row) -> tuple[str, str, str, str]:
    return row.config.identity, row.start, row.config.protocol_digest, row.config.output
