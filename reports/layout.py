"""table.yaml as Python objects: baseline, order of rows, columns as written, protocol settings that rows may differ in."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import yaml

from core.choices import SCALES
from core.data.benchmarks import AVERAGES, FAMILIES, MICRO_WORLD, PUBLISHED_SIZES, SPELLINGS, members, plain
from core.errors import ReportError
from core.experiment.sweep import Sweep, read_sweeps, swept_numbers
from core.files import ABLATIONS, ROOT, read_utf8
from reports.figures import FIGURES

PAPER = [f"table_{numeral}" for numeral in ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI")]
WORLDS = sorted(path.parent.name for path in ABLATIONS.glob("*/world.gin"))
FACTS = {  # columns that are not an accuracy, and how many decimals they show
    "params_M": 1,  # all parameters of the model, millions
    "frozen_M": 1,
    "params_M_paper": 1,  # the same at paper scale
    "frozen_M_paper": 1,
    "batch": 0,
    "epochs": 1,  # as trained: steps x batch / images
    "train_images": 0,
    "hours": 3,  # wall time of the training steps on the device they ran on
    "milliseconds": 2,  # to read an image, see core.bench
}
DEFAULT_FIGURES = ("forest", "curves")
PROTOCOL_SETTINGS = ("normalisation", "decode", "refine_steps", "fast_cross", "scoring_charset", "precision")
KEYS = {  # of table.yaml, with the type of each value
    "title": (str, "text"),
    "about": (str, "text"),
    "columns": (list, "a list of columns"),
    "baseline": (str, "the name of a row"),
    "order": (list, "a list of rows"),
    "varies": (list, "a list of protocol settings"),
    "figures": (list, "a list of figures"),
    "labels": (str, "the name of a folder below DATA/labels"),
    "not_at_micro": (dict, "rows, each with its reason"),
    "noise_sd": (dict, "points, df, source"),
    "world": (str, "the path of a gin file"),
    "alone": (bool, "true or false"),
    "only_with": (str, "a setting of the workflow: photos_train"),
    "sweep": ((dict, list), "knobs with their values, like {DROPOUT: [0.0, 0.1, 0.3]}"),
}
PHOTOS_TRAIN = "photos_train"  # what `only_with` may name
REQUIRED = {"title", "about", "columns"}
RESERVED = {  # names of the columns that every table has
    *("row", "method", "output", "layers", "#Params", "params", "params_paper", "mean", "pooled"),
    *("difference", "p", "p (Holm)", "seeds (to decide)", "seeds_needed"),
}
COLUMN_KEYS = {"name", "paper", "micro", "average", "fact", "higher_is_better"}


@dataclass(frozen=True)
class StatedNoise:
    """Training noise that is known from elsewhere, for the rows of studies at one scale.

    Args:
        points: standard deviation of one training of the mean that the table prints.
        df: degrees of freedom of that value: the number of independent pairs of trainings it comes from.
        source: where it is from.
    """

    points: float
    df: float
    source: str
    scale: str = "paper"


@dataclass(frozen=True)
class Layout:
    """A table.yaml.

    Args:
        baseline: the row all others are compared with; None where the table compares nothing (costs).
        varies: protocol settings that rows may differ in.
        labels: a folder below DATA/labels whose labels replace the stored ones.
        not_at_micro: rows that have no stand-in at micro scale, and why.
        figures: the table's figures, keys of FIGURES.
        noise_sd: training noise known from elsewhere; None where nothing is stated.
        world: gin file of a rendered world of its own, such as words of another language, with {scale} for the scale's name;
            None is the one of all other tables.
        alone: made only where it is asked for by name, and part of no report; a table with a world of its own always is.
        sweeps: rows that table.yaml spans itself, beside those that are files.
        only_with: "photos_train" for a table of photographs: it is there with that setting alone, and its columns are real test
            sets at every scale.
    """

    table: str
    path: Path
    title: str
    about: str
    baseline: str | None
    columns: tuple[dict, ...]
    order: tuple[str, ...]
    varies: tuple[str, ...]
    labels: str | None
    not_at_micro: dict[str, str]
    figures: tuple[str, ...]
    noise_sd: StatedNoise | None = None
    world: str | None = None
    alone: bool = False
    sweeps: tuple[Sweep, ...] = ()
    only_with: str = ""

    @property
    def rows(self) -> list[str]:
        """Names of the table's gin files, sorted, then of the rows of its sweeps."""
        files = sorted(path.stem for path in self.path.parent.glob("[!.]*.gin"))
        return [*files, *(name for sweep in self.sweeps for name in sweep.points)]


def rendered_name(world_file: str) -> str:
    """The name of the data of a rendered world, by its gin file."""
    return f"rendered {Path(world_file).parent.name} world"


def is_rendered(data: str) -> bool:
    """Whether a name of data is that of a world that the plan renders itself."""
    return data in {rendered_name(f"{world}/world.gin") for world in WORLDS}


def layout_names() -> list[str]:
    """Every folder below ablations/ with a table.yaml: the paper's tables in its order, then others by name."""
    found = [path.parent.name for path in ABLATIONS.glob("[!.]*/table.yaml")]
    return sorted(found, key=lambda name: (PAPER.index(name) if name in PAPER else len(PAPER), name))


def read_layout(table: str) -> Layout:
    """The layout of ablations/<table>/table.yaml.

    Raises:
        ReportError: there is none, or a key or a value of it is wrong.
    """
    path = ABLATIONS / table / "table.yaml"
    if not path.is_file():
        raise ReportError(f"no table {table!r}: there are {', '.join(layout_names())}")
    try:
        content = yaml.safe_load(read_utf8(path))
    except yaml.YAMLError as error:
        raise ReportError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path}: expected keys and values; the keys are {', '.join(sorted(KEYS))}")
    check_keys(f"{path}: ", content, KEYS.keys(), REQUIRED)
    check_values(path, content)
    for number, entry in enumerate(content["columns"], 1):
        if not isinstance(entry, dict):
            raise ReportError(f"{path}: column {number}: expected keys and values, got {entry!r}")
        check_column(f"{path}: column {entry.get('name', number)!r}: ", entry)
    names = [entry["name"] for entry in content["columns"]]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ReportError(f"{path}: two columns are named {repeated[0]!r}; give one another name")
    sweeps = read_sweeps(path, content["sweep"]) if "sweep" in content else ()
    if "knobs" in content.get("figures", []) and not swept_numbers(sweeps):
        raise ReportError(f"{path}: figures names 'knobs', but no sweep gives a knob two numbers; take it out")
    scored = any("fact" not in entry for entry in content["columns"])
    if scored and not content.get("baseline"):
        raise ReportError(f"{path}: key 'baseline' is missing; name the row that the others are compared with")
    return Layout(
        table=table,
        path=path,
        title=content["title"],
        about=" ".join(content["about"].split()),
        baseline=content.get("baseline"),
        columns=tuple(content["columns"]),
        order=tuple(content.get("order", [])),
        varies=tuple(content.get("varies", [])),
        labels=content.get("labels"),
        not_at_micro=content.get("not_at_micro", {}),
        figures=tuple(content.get("figures", DEFAULT_FIGURES if scored else ())),
        noise_sd=stated_noise(path, content["noise_sd"]) if "noise_sd" in content else None,
        world=content.get("world"),
        alone=bool(content.get("alone") or content.get("world")),
        sweeps=sweeps,
        only_with=content.get("only_with", ""),
    )


def check_keys(where: str, content: dict, known: Collection[str], required: Collection[str]) -> None:
    """Raise ReportError unless every key is known and every required one is there."""
    unknown, missing = content.keys() - set(known), set(required) - content.keys()
    if unknown or missing:
        problem = f"unknown key {min(map(str, unknown))!r}" if unknown else f"key {min(missing)!r} is missing"
        raise ReportError(f"{where}{problem}; the keys are {', '.join(sorted(known))}")


def check_values(path: Path, content: dict) -> None:
    """Raise ReportError unless every value has its type, and every name in a list exists."""
    for key, (kind, expected) in KEYS.items():
        if key in content and not isinstance(content[key], kind):
            raise ReportError(f"{path}: {key} is {content[key]!r}; expected {expected}")
    if content.get("only_with", PHOTOS_TRAIN) != PHOTOS_TRAIN:
        raise ReportError(f"{path}: only_with is {content['only_with']!r}; expected {PHOTOS_TRAIN}")
    if not content["columns"]:
        raise ReportError(f"{path}: columns is empty; name at least one, like {{name: SVT, paper: SVT}}")
    if "world" in content and not any((ROOT / content["world"].replace("{scale}", scale)).is_file() for scale in WORLDS):
        raise ReportError(f"{path}: world is {content['world']!r}, which is not there; name a file like {MICRO_WORLD}")
    for name in content.get("order", []):
        if not isinstance(name, str) or content["order"].count(name) > 1:
            raise ReportError(f"{path}: order names {name!r}; name each row once, as text")
    for key, known in (("figures", FIGURES), ("varies", PROTOCOL_SETTINGS)):
        for name in content.get(key, []):
            if name not in known:
                raise ReportError(f"{path}: {key} names {name!r}; expected some of {', '.join(known)}")


def check_column(where: str, entry: dict) -> None:
    """Raise ReportError unless a column is one benchmark (or several), one average or one fact, and these exist."""
    check_keys(where, entry, COLUMN_KEYS, {"name"})
    kinds = [kind for kind in ("paper", "average", "fact") if kind in entry] or [kind for kind in ("micro",) if kind in entry]
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none"
        raise ReportError(
            f"{where}give one of 'paper' (with 'micro'), 'average' and 'fact', or 'micro' alone for a column that the paper "
            f"lacks; it gives {given}"
        )
    for kind, known in (("average", AVERAGES), ("fact", FACTS)):
        if kind in entry and entry[kind] not in known:
            raise ReportError(f"{where}{kind} is {entry[kind]!r}; expected one of {', '.join(known)}")
    if not isinstance(entry["name"], str):
        raise ReportError(f"{where}name is {entry['name']!r}; write it as text, in quotes")
    if entry["name"] in RESERVED:
        raise ReportError(f"{where}tables have a column of this name already; give it another")
    for kind in ("paper", "micro"):
        names = entry.get(kind, "")
        if kind in entry and not (names and all(isinstance(name, str) for name in names)):
            raise ReportError(f"{where}{kind} is {names!r}; name a benchmark or a list of them")
    for name in filled(entry.get("paper", [])):
        if name not in PUBLISHED_SIZES and (meant := SPELLINGS.get(plain(name)) or " or ".join(members(name))):
            raise ReportError(f"{where}paper names {name!r}, which is {meant} here; write that")
    if "micro" in entry and kinds[0] not in ("paper", "micro"):
        raise ReportError(f"{where}'micro' stands beside {kinds[0]!r}; it goes with 'paper' alone")
    for family in filled(entry.get("micro", [])):
        if family not in FAMILIES:
            raise ReportError(f"{where}micro names {family!r}; the families are {', '.join(FAMILIES)}")
    if entry.get("higher_is_better") not in (None, True, False):
        raise ReportError(f"{where}higher_is_better is {entry['higher_is_better']!r}; expected true, false or null")


def stated_noise(path: Path, entry: dict) -> StatedNoise:
    """Positive numbers with their source."""
    check_keys(f"{path}: noise_sd: ", entry, ("points", "df", "source", "scale"), ("points", "df", "source"))
    for key, value in entry.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
        if key in ("points", "df") and not number:
            raise ReportError(f"{path}: noise_sd: {key} is {value!r}; expected a positive number")
        if key in ("source", "scale") and not (isinstance(value, str) and value.strip()):
            raise ReportError(f"{path}: noise_sd: {key} is {value!r}; expected text")
    if entry.get("scale", SCALES[0]) not in SCALES:
        raise ReportError(f"{path}: noise_sd: scale is {entry['scale']!r}; expected one of {', '.join(SCALES)}")
    return StatedNoise(**entry)


def drawable(layout: Layout, measured: Collection[str]) -> list[str]:
    """The figures that can be drawn of a table when `measured` are the rows that have numbers."""
    return [figure for figure in layout.figures if FIGURES[figure].possible(layout.baseline, measured)]


def filled(benchmarks: str | list[str]) -> tuple[str, ...]:
    """Benchmarks as a tuple; table.yaml may give one name or a list."""
    return (benchmarks,) if isinstance(benchmarks, str) else tuple(benchmarks)
