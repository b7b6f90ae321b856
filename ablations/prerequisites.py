"""What a plan makes before its first training: rendered sets and pretrained towers, and what they take."""

from pathlib import Path

from ablations.assumptions import Assumptions
from ablations.plan.plan import Plan
from ablations.price import HOUR
from ablations.row_config import PlanCache, PretrainingWork
from core.data.micro import PARTS
from core.errors import ConfigError
from core.files import in_repository
from core.weights.made import recipe_beside, recipe_digest


def made_first(plan: Plan, cache: PlanCache, assumptions: Assumptions, estimated: bool) -> list[str]:
    """Lines about rendered sets and towers that are missing; empty where there are none.

    Args:
        estimated: whether hours are estimated by the formula.
    """
    return [*rendering(plan, assumptions), *(pretraining(plan, cache, assumptions) if estimated else ())]


def rendering(plan: Plan, assumptions: Assumptions) -> list[str]:
    """Processor hours of the rendered sets that are missing, as far as rows ask for them."""
    if not plan.rendered:
        return []
    source, world = plan.source, Path(plan.source.world_file).parent.name
    sets = {name for row in plan.rows for name in row.config.train_data if f"train/{name}" in PARTS}
    images = sum(source.train_images([name]) for name in sets if not (source.root / "train" / name).is_dir())
    if not (source.root / "test").is_dir():
        images += source.world.val + source.world.test * len(source.world.families)
    if not images:
        return []
    rate, fonts = assumptions.drawn_per_second[world], len(set(source.world.page.fonts))
    return [
        f"Rendering first: {images:,} images in {fonts} fonts, {images / rate / HOUR:.2g} processor hours at {rate:g} images a "
        "second and core."
    ]


def pretraining(plan: Plan, cache: PlanCache, assumptions: Assumptions) -> list[str]:
    """Device hours of the towers that are missing, and processor hours of their images."""
    named = {name for row in plan.rows for name in plan.towers(row.config.named)}
    missing = sorted(name for name in named if not in_repository(name).is_file())
    lines, hours, drawing, images = [], 0.0, 0.0, 0
    for name in missing:
        recipe = recipe_beside(in_repository(name))
        work = cost_of(recipe, cache)
        seconds = work.operations / (assumptions.device.peak["bf16"] * assumptions.utilisation)
        hours, images = hours + seconds / HOUR, images + work.images
        drawing += work.images / assumptions.drawn_per_second[recipe.parent.name] / HOUR
        lines.append(f"{Path(name).stem} {seconds / HOUR:.2g} h")
    if not lines:
        return []
    return [
        f"Towers first, once for all tables: {hours:.2g} h of {assumptions.device.name} by formula ({', '.join(lines)}), and "
        f"{drawing:.2g} processor hours to draw their {images:,} images."
    ]


def cost_of(recipe: Path, cache: PlanCache) -> PretrainingWork:
    """The work of a whole pretraining, counted now or taken from the cache.

    Raises:
        ConfigError: the gin file cannot be read.
    """

    def count() -> PretrainingWork:
        from ablations.blueprint import count_pretraining

        return PretrainingWork(*count_pretraining(recipe))

    found = cache.work(f"pretraining {recipe_digest(recipe)}", count, PretrainingWork)
    if found.operations <= 0:
        raise ConfigError(f"{recipe}: no operations were counted")
    return found
