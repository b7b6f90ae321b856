"""docs/recipe.md: every hyper-parameter as published, as released, as the rows build it, and where that is set."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml
from torch import zeros
from torch.nn import Parameter
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from ablations.row_config import INCLUDE
from core.config import gin_files, gin_text
from core.errors import ConfigError, UserError
from core.experiment.experiment import Loaded, load
from core.experiment.optim import one_cycle
from core.experiment.parameters import summarise
from core.files import ABLATIONS, ROOT, atomic_file

SOURCE, PAGE = ABLATIONS / "recipe.yaml", ROOT / "docs" / "recipe.md"
SCALE = "paper"
SHORT = 200  # steps of a schedule that is compared with torch's
STEPS = 10_000  # of the schedule whose ends are shown
HEAD = """\
# The recipe

Every hyper-parameter of the study at paper scale: as the paper prints it, as the authors' released code has it, as the rows
build it, and where that is set. Where paper and code differ, the default is what produced the published numbers, except for the
departures that the lines state; the other way is a value of a gin file. Written by `python -m ablations.recipe` from
`ablations/recipe.yaml`; a test holds every line against what the rows build. Lines whose place is in
`core/` or `adapters/` describe the code; they are not configurable values.
"""


def schedule(warmup: float) -> str:
    """The name of the learning-rate schedule: torch's, if every step of a short training agrees with it."""
    optimiser = AdamW([Parameter(zeros(1))], lr=1.0)
    torchs = OneCycleLR(optimiser, 1.0, SHORT, pct_start=warmup, cycle_momentum=False)
    for step in range(SHORT):
        if abs(one_cycle(step, SHORT, warmup) - torchs.get_last_lr()[0]) > 1e-9:
            return "another schedule than torch's OneCycleLR"
        optimiser.step()
        if step + 1 < SHORT:
            torchs.step()
    return "torch's OneCycleLR"


def undecayed(loaded: Loaded) -> str:
    """The last names of trained weights of two and more dimensions that are not decayed."""
    names = {id(parameter): name.removesuffix(".weight") for name, parameter in loaded.blueprint.named_parameters()}
    groups = loaded.experiment.optimisation.groups(loaded.blueprint)
    spared = [weight for group in groups if not group["weight_decay"] for weight in group["params"]]
    return ", ".join(sorted({names[id(weight)].rpartition(".")[2] for weight in spared if weight.squeeze().ndim >= 2}))


STATED: dict[str, Callable[[Loaded], object]] = {  # about the code, not values of it
    "eq8": lambda loaded: "nothing after the first [E]",
    "context_dropout": lambda loaded: "one for all orders of an image",
    "ladder_width": lambda loaded: "1/r of the tower's",
    "ladder_adapters": lambda loaded: "learned projections, which start by selecting channels",
    "adapter_start": lambda loaded: "torch's own",
}
FACTS: dict[str, Callable[[Loaded], object]] = {
    "characters": lambda loaded: len(loaded.blueprint.tokenizer.charset),
    "caption_characters": lambda loaded: len(loaded.blueprint.caption_charset),
    "frozen": lambda loaded: summarise(loaded.blueprint).frozen,
    "encoders": lambda loaded: summarise(loaded.blueprint).encoders_trainable,
    "operations": lambda loaded: len(loaded.experiment.augment.operations),
    "invert": lambda loaded: "Invert" in loaded.experiment.augment.operations,
    "lr": lambda loaded: loaded.experiment.optimisation.lr,
    "scratch_lr": lambda loaded: loaded.experiment.optimisation.lr * loaded.experiment.optimisation.scratch_multiplier,
    "undecayed": undecayed,
    "schedule": lambda loaded: schedule(loaded.experiment.optimisation.warmup),
    "first_lr": lambda loaded: one_cycle(0, STEPS, loaded.experiment.optimisation.warmup),
    "last_lr": lambda loaded: one_cycle(STEPS - 1, STEPS, loaded.experiment.optimisation.warmup),
    "image_heads": lambda loaded: loaded.blueprint.towers.visual.transformer.resblocks[0].attn.num_heads,
} | STATED
SET_BY = {  # what a fact is made of
    "characters": "core.model.clip4str.CLIP4STR.charset",
    "caption_characters": "core.model.clip4str.CLIP4STR.caption_charset",
    "frozen": "core.model.freezing.Freezing.text",
    "encoders": "core.model.freezing.Freezing.text",
    "operations": "core.data.augment.RandAugment.operations",
    "invert": "core.data.augment.RandAugment.operations",
    "lr": "core.experiment.optim.Optimisation.encoder_lr",
    "scratch_lr": "core.experiment.optim.Optimisation.scratch_multiplier",
    "first_lr": "core.experiment.optim.Optimisation.warmup",
    "last_lr": "core.experiment.optim.Optimisation.warmup",
}
CODE = {
    "undecayed": "core/experiment/optim.py, `UNDECAYED`",
    "schedule": "core/experiment/optim.py, `one_cycle`",
    "image_heads": "the architecture's own (open_clip)",
    "eq8": "core/model/decoding.py",
    "context_dropout": "core/model/decoder.py, `Decoder.permuted`",
    "ladder_width": "adapters/ladder.py",
    "ladder_adapters": "adapters/ladder.py",
    "adapter_start": "adapters/clip_adapter.py",
}


@dataclass(frozen=True)
class Line:
    """One hyper-parameter of one row.

    Args:
        ours: the value that the row builds.
        place: the file and line that set it.
    """

    what: str
    published: str
    released: object
    ours: object
    place: str
    departure: str


@lru_cache
def loaded_row(row: str) -> Loaded:
    return load(f"ablations/{row}.gin", SCALE)


def lines_of(section: dict) -> Iterator[Line]:
    """The lines of one section of recipe.yaml.

    Raises:
        ConfigError: a line names a value that the row does not have, or its departure and its values do not agree.
    """
    loaded = loaded_row(section["row"])
    values = gin_text.values_by_path(loaded.operative)
    for entry in section["lines"]:
        key = entry["ours"]
        if key not in FACTS and key not in values:
            raise ConfigError(f"{SOURCE.name}: {section['row']}, {entry['what']}: the row has no value {key!r}")
        ours = FACTS[key](loaded) if key in FACTS else values[key]
        departure = entry.get("departure", "")
        if same(ours, entry["released"]) == bool(departure):
            problem = "differ, and no departure says why" if not departure else "agree, so there is no departure"
            raise ConfigError(
                f"{SOURCE.name}: {section['row']}, {entry['what']}: ours {shown(ours)} and released {shown(entry['released'])} "
                f"{problem}"
            )
        place = CODE.get(key) or where_set(section["row"], SET_BY.get(key, key))
        yield Line(entry["what"], entry["published"], entry["released"], ours, place, departure)


def same(ours: object, released: object) -> bool:
    """Whether two values are one, sequences by their items and numbers to six digits."""
    if isinstance(ours, (tuple, list)) and isinstance(released, (tuple, list)):
        return len(ours) == len(released) and all(map(same, ours, released))
    if isinstance(ours, dict) and isinstance(released, dict):
        return ours.keys() == released.keys() and all(same(ours[name], released[name]) for name in ours)
    numbers = [isinstance(value, (int, float)) and not isinstance(value, bool) for value in (ours, released)]
    if all(numbers):
        return abs(ours - released) <= 1e-6 * abs(released)
    return not any(numbers) and ours == released


def where_set(row: str, key: str) -> str:
    """File and line of the last assignment of a value, or of the macro that it is bound to.

    Raises:
        ConfigError: no file that the row includes assigns it.
    """
    name = key.split(".")[-2] + "." + key.split(".")[-1]
    found, macro = last_assignment(row, rf"^\s*(?:\w+\.)?{re.escape(name)}\s*=\s*(?P<value>.*)")
    if macro.startswith("%"):
        bound = re.match(r"%(\w+)", macro)[1]
        found, _ = last_assignment(row, rf"^{bound}\s*=\s*(?P<value>.*)")
        name = bound
    if not found:
        raise ConfigError(f"{SOURCE.name}: {row}: no gin file assigns {key}")
    return f"{found}, `{name}`"


def last_assignment(row: str, pattern: str) -> tuple[str, str]:
    """Where a pattern last matches as the row and its includes are read in order, and the value there; empty for nowhere."""
    found, value = "", ""
    for path, line in read_in_order(ABLATIONS / f"{row}.gin"):
        match = re.match(pattern, line)
        if match and not match["value"].startswith("%gin.REQUIRED"):
            found, value = path.relative_to(ROOT).as_posix(), match["value"]
    return found, value


def read_in_order(path: Path) -> Iterator[tuple[Path, str]]:
    """The lines of a gin file, includes in their place."""
    for line in gin_files.text_at(path, SCALE).splitlines():
        include = INCLUDE.match(line)
        below = gin_files.find_include(include["path"], SCALE) if include else None
        if below:
            yield from read_in_order(ROOT / below)
        else:
            yield path, line


def shown(value: object) -> str:
    """A value as the page prints it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(item)}" for name, item in value.items())
    if isinstance(value, (tuple, list)):
        return ", ".join(map(shown, value))
    return str(value)


def page() -> str:
    """docs/recipe.md."""
    text = [HEAD]
    for section in yaml.safe_load(SOURCE.read_text())["sections"]:
        lines = list(lines_of(section))
        text += [f"## {section['title']}", "", f"As built by `ablations/{section['row']}.gin`.", ""]
        text += ["| | published | released | ours | set in |", "|:--|:--|:--|:--|:--|"]
        for line in lines:
            ours = f"**{shown(line.ours)}** (departure)" if line.departure else shown(line.ours)
            text.append(f"| {line.what} | {line.published} | {shown(line.released)} | {ours} | {line.place} |")
        departures = [f"- {line.what}: {line.departure}." for line in lines if line.departure]
        text += ["", *(["Departures:", "", *departures, ""] if departures else [])]
    return "\n".join(text).rstrip("\n") + "\n"


def check() -> None:
    """Fail unless the page is what the rows build.

    Raises:
        UserError: it is not.
    """
    if not PAGE.is_file() or PAGE.read_text() != page():
        raise UserError(f"{PAGE.relative_to(ROOT)} is not what the rows build: run python -m ablations.recipe")


def write() -> None:
    """Write the page and print its path."""
    text = page()
    with atomic_file(PAGE) as partial:
        partial.write_text(text)
    print(PAGE.relative_to(ROOT))
