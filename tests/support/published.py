"""Parts of the study's configuration at paper scale, for tests that need one alone."""

from core import config
from core.data.augment import RandAugment

BASE = "ablations/base.gin"


def augmentation(*bindings: str) -> RandAugment:
    """RandAugment as the paper's rows have it, or with single bindings changed."""
    config.parse(BASE, "paper", bindings)
    return config.construct(RandAugment, BASE)
