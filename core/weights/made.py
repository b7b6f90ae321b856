"""Weights that are made here by a gin file beside them, and how any weights are identified.

A run's name depends on the weights that it begins with, and the workflow names runs before it has made these. So a file that
`core.pretrain` made is identified by its recipe, which the file holds: the values of its gin file, and the materials of the
world that it was drawn from. A file that came with the repository, or from elsewhere, is identified by its content.
"""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from core import config
from core.config import gin_text
from core.data.micro import World
from core.errors import ConfigError
from core.files import file_digest, in_repository, text_digest

SUFFIX = ".safetensors"
RECIPE = "recipe"  # the key of a file's metadata that holds the digest of its recipe
LONGEST_HEADER = 1 << 24  # bytes


def recipe_beside(weights: Path) -> Path | None:
    """The gin file that makes a weights file: of its name, beside it."""
    recipe = weights.with_suffix(".gin")
    return recipe if weights.suffix == SUFFIX and recipe.is_file() else None


def is_made_here(weights: Path) -> bool:
    """Whether a weights file is for the workflow to make: it is missing and has a recipe, or it was made from one."""
    return recipe_beside(weights) is not None and (not weights.is_file() or bool(recorded_recipe(weights)))


def is_outdated(weights: Path) -> bool:
    """Whether a weights file was made from another recipe or world than those beside it now."""
    recipe = recipe_beside(weights) if weights.is_file() else None
    recorded = recorded_recipe(weights) if recipe else ""
    return bool(recorded) and recorded != recipe_digest(recipe)


def recorded_recipe(weights: Path) -> str:
    """The digest of the recipe that a weights file was made from; empty where it holds none."""
    if weights.suffix != SUFFIX:
        return ""
    with weights.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(size)) if size <= LONGEST_HEADER else {}
        except ValueError:  # damaged: reading its tensors says so
            return ""
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return str(metadata.get(RECIPE, "")) if isinstance(metadata, dict) else ""


@lru_cache(maxsize=16)
def recipe_digest(recipe: Path, bindings: Sequence[str] = ()) -> str:
    """Eight hex digits of everything that decides what a pretraining learns, but the device.

    Args:
        recipe: its gin file; the world is world.gin beside it.
        bindings: a tuple of further bindings.

    Raises:
        ConfigError: a gin file cannot be read, or no world.gin lies beside the recipe.
    """
    values, world = gin_text.final_values(recipe, bindings), recipe.parent / "world.gin"
    if not world.is_file():
        raise ConfigError(f"{recipe}: its world has to be the world.gin beside it, and there is none")
    with config.set_aside():
        config.parse(world)
        materials = config.construct(World, world).materials()
    archs = [f"{name} {file_digest(path)}" for name in archs_of(values) if (path := in_repository(name)).is_file()]
    return text_digest("\n".join([*(f"{name} = {value!r}" for name, value in sorted(values.items())), materials, *archs]))


def archs_of(values: dict[str, object]) -> list[str]:
    """The architecture files that the values name."""
    return sorted({value for name, value in values.items() if name.endswith(".arch") and isinstance(value, str)})


def weights_digest(named: Iterable[str]) -> str:
    """Identifies the files among the names of an architecture, weights and a start; others (tags, None) have no part in it."""
    return " ".join(filter(None, (file_identity(in_repository(name)) for name in named)))


def file_identity(path: Path) -> str:
    if path.is_file():
        recipe = recorded_recipe(path)
        return f"made-{recipe}" if recipe else file_digest(path)
    recipe = recipe_beside(path)
    return f"made-{recipe_digest(recipe)}" if recipe else ""
