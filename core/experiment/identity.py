"""Identity of a training, or of a rendered world: the values that decide its result, by full dotted names.

The name of a run's folder, results/runs/<run>, contains a digest of these lines and of the training data. Values of UNDECISIVE
are left out, so changing them trains nothing again.
"""

from collections.abc import Collection

from core.config import gin_text
from core.moved import with_first_names

UNDECISIVE = frozenset(  # settings of the machine: recorded with a run, but not part of its identity
    f"core.experiment.optim.Optimisation.{name}"
    for name in (
        "compile",
        "deterministic",
        "device_batch",
        "graphs",
        "max_loss_ratio",
        "most_skipped",
        "save_every",
        "validate_every",
        "workers",
    )
)
# By first names: where a font, a lexicon or a start lies decides nothing, its digest is counted.
BY_CONTENT = frozenset(
    {"core.data.micro.World.lexicon", "core.data.render.page.Page.fonts", "core.experiment.Experiment.start"}
)

# Values that were added after worlds had been rendered and models trained, by first names (core.moved). At the value given here
# everything is as before, so it does not count, and those worlds and runs keep their identity. A new argument of anything that
# training or rendering reads needs a line here; without one, everything is made again.
CAME_LATER = {
    "core.experiment.Experiment.train_images": None,
    "core.optim.Optimisation.algorithm": "AdamW",
    "core.model.timm_tower.TimmTower.sizes": None,
    "core.data.micro.World.synthetic": None,
    "core.data.micro.World.synthetic_page": None,
    "core.data.micro.World.texts": None,
    "core.data.render.page.Page.oversampling": 1,
    "core.data.render.page.Page.slack": (0.0, 0.0),
    "core.data.render.page.Page.widths": None,
    "core.data.render.family.Family.trained": True,
    "core.data.render.family.Family.upper": 0.0,
    "core.data.render.family.Family.capitalised": 0.0,
    "core.data.render.family.Family.numbers": 0.0,
    "core.data.render.family.Family.signs": 0.0,
    "core.data.render.family.Family.arc": 0.0,
    "core.data.render.family.Family.least_arc": 0.5,
    "core.data.render.family.Family.patches": 0,
    "core.data.render.family.Family.least_patches": 0.5,
    "core.data.render.family.Family.colour": 0.0,
    "core.data.render.family.Family.texture": 0.0,
    "core.data.render.family.Family.outline": 0.0,
    "core.data.render.family.Family.shade": 0.0,
    "core.data.render.family.Family.compression": 0.0,
}


# Arguments that are shares: 1 and 1.0 are the same one, also where a row's own value (None) does not say which is meant.
SHARES = frozenset({"core.model.freezing.Freezing.image", "core.model.freezing.Freezing.text"})
# Arguments that may be fractions, and are written as whole numbers where they are: 16 and 16.0 epochs are the same.
WHOLE = frozenset(
    {"core.experiment.optim.Optimisation.epochs", "core.data.augment.RandAugment.magnitude", "adapters.lora.Lora.alpha"}
)


def training_identity(text: str, files: str) -> str:
    """One line per value that decides what is trained, data and seed aside.

    Args:
        text: the gin text of everything that training reads, defaults included.
        files: digests of the architecture, the weights and the start, as far as these are files.
    """
    return "\n".join([*decisive(text, UNDECISIVE), files])


def world_identity(text: str, materials: str) -> str:
    """One line per value that decides what the images and labels of a rendered world are.

    Args:
        text: the gin text of everything that rendering reads, defaults included.
        materials: everything else that decides them, see `core.data.micro.World.materials`.
    """
    return "\n".join([*decisive(text, frozenset()), materials])


def decisive(text: str, left_out: Collection[str]) -> list[str]:
    """Sorted lines `full dotted name = value` of a gin text; modules that have moved keep their first name.

    Import lines, names of macros, comments and order do not count, only the final value of each argument.
    """
    values = gin_text.values_by_path(text)
    values |= {name: float(value) for name, value in values.items() if name in SHARES and isinstance(value, int)}
    values |= {
        name: int(value) for name, value in values.items() if name in WHOLE and isinstance(value, float) and value % 1 == 0
    }
    return sorted(with_first_names(f"{name} = {value!r}") for name, value in values.items() if counts(name, value, left_out))


def counts(name: str, value: object, left_out: Collection[str]) -> bool:
    """Whether a value is part of the identity; the scope before its name (`regular/core.data...`) does not matter."""
    bare = name.rpartition("/")[2]
    first = with_first_names(bare)
    return bare not in left_out and first not in BY_CONTENT and (first not in CAME_LATER or value != CAME_LATER[first])
