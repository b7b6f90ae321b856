"""The device memory that a training step needs, and whether it fits."""

from collections.abc import Callable
from dataclasses import dataclass

from ablations.assumptions import Assumptions
from ablations.plan.plan import Plan
from ablations.row_config import RowConfig, Work
from ablations.rows import Row

FLOAT, HALF = 4, 2  # bytes


@dataclass(frozen=True)
class Footprint:
    """Bytes of a training step: what does not depend on its images, and what each image at once on the device adds."""

    fixed: float
    image: float

    def needs(self, images: int) -> float:
        return self.fixed + images * self.image

    def most_images(self, batch: int, usable: float) -> int:
        """The largest DEVICE_BATCH that divides the batch and fits; 0 where none does."""
        fitting = [images for images in range(1, batch + 1) if batch % images == 0 and self.needs(images) <= usable]
        return max(fitting, default=0)


def footprint(work: Work, config: RowConfig, assumptions: Assumptions) -> Footprint:
    """A run's step: weights, of trained ones gradient, AdamW's two moments and a copy in mixed precision; activations."""
    mixed = config.precision != "no"
    trained, share = (3 * FLOAT + HALF, assumptions.mixed_saved) if mixed else (3 * FLOAT, 1.0)
    weights = config.counts.total * FLOAT + config.counts.trainable * trained
    return Footprint(weights + share * work.saved_once, share * work.saved)


@dataclass(frozen=True)
class Fit:
    """Runs that need the same of a device.

    Args:
        runs: each by the first row that asks for it.
        fixed, images, total: bytes, total for `device_batch` images at once.
        verdict: whether that fits, and what would.
    """

    runs: tuple[str, ...]
    device_batch: int
    fixed: float
    images: float
    total: float
    verdict: str


def fits(plan: Plan, work: Callable[[Row], Work], assumptions: Assumptions) -> list[Fit]:
    """Every run of the plan beside the device's memory; those alike to 0.1 GB together, in the plan's order."""
    alike: dict[tuple, list[str]] = {}
    for asking in plan.rows_by_run.values():
        table, row = asking[0]
        config, needed = row.config, footprint(work(row), row.config, assumptions)
        verdict = verdict_on(needed, config, assumptions.usable_bytes)
        figures = (needed.fixed, needed.image * config.device_batch, needed.needs(config.device_batch))
        key = (config.device_batch, *(round(number, -8) for number in figures), verdict)
        alike.setdefault(key, []).append(f"{table}/{row.name}")
    return [Fit(tuple(runs), *key) for key, runs in alike.items()]


def verdict_on(needed: Footprint, config: RowConfig, usable: float) -> str:
    if needed.needs(config.device_batch) <= usable:
        return "fits"
    images = needed.most_images(config.batch, usable)
    return f"does not fit: DEVICE_BATCH = {images} would" if images else "does not fit at any DEVICE_BATCH"
