"""What makes two trainings, or two rendered worlds, the same: the values that decide them, by full dotted names."""

from collections.abc import Collection

from core import config
from core.moved import with_first_names

UNDECISIVE = frozenset(  # how a machine gets there: recorded with a run, no part of what the run is
    f"core.experiment.optim.Optimisation.{name}"
    for name in (
        "compile",
        "device_batch",
        "max_loss_ratio",
        "most_skipped",
        "save_every",
        "validate_every",
        "workers",
    )
)
BY_CONTENT = frozenset({"core.data.render.page.Page.fonts"})  # where a font lies decides no pixel, its digest is counted

# By first names (core.moved): values that came after worlds had been rendered, each as it is where nothing is drawn otherwise
# than before.
CAME_LATER = {
    "core.data.micro.World.synthetic": None,
    "core.data.micro.World.synthetic_page": None,
    "core.data.render.family.Family.upper": 0.0,
    "core.data.render.family.Family.capitalised": 0.0,
    "core.data.render.family.Family.numbers": 0.0,
    "core.data.render.family.Family.signs": 0.0,
    "core.data.render.family.Family.arc": 0.0,
    "core.data.render.family.Family.least_arc": 0.5,
    "core.data.render.family.Family.patches": 0,
    "core.data.render.family.Family.least_patches": 0.5,
}


def training_identity(text: str, files: str) -> str:
    """One line per value that decides what is trained, data and seed aside.

    Args:
        text: the gin text of everything that training reads, defaults included.
        files: digests of the architecture and weights files.
    """
    return "\n".join([*decisive(text, UNDECISIVE), files])


def world_identity(text: str, materials: str) -> str:
    """One line per value that decides what the images and labels of a rendered world are.

    Args:
        text: the gin text of everything that rendering reads, defaults included.
        materials: what else decides them, see `core.data.micro.World.materials`.
    """
    return "\n".join([*decisive(text, BY_CONTENT), materials])


def decisive(text: str, left_out: Collection[str]) -> list[str]:
    """Sorted lines `full dotted name = value` of gin text, named as at first where a module has moved.

    Import lines, macros' names, comments and order do not count, only what each argument is given in the end.
    """
    values = config.values_by_path(text)
    return sorted(with_first_names(f"{name} = {value!r}") for name, value in values.items() if counts(name, value, left_out))


def counts(name: str, value: object, left_out: Collection[str]) -> bool:
    """Whether a value decides anything; the scope before its name (`regular/core.data...`) does not matter for that."""
    bare = name.rpartition("/")[2]
    first = with_first_names(bare)
    return bare not in left_out and (first not in CAME_LATER or value != CAME_LATER[first])
