"""RandAugment as published: three operations of magnitude 5, without sharpness and invert (section IV-A).

The operations are timm's. Shifts are held to what leaves a word in its crop: at magnitude 10, a tenth of the width and
three tenths of the height, as PARSeq sets them; shears are timm's own.
"""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image
from timm.data.auto_augment import _RAND_INCREASING_TRANSFORMS, AugmentOp

LEFT_OUT = ("SharpnessIncreasing", "Invert")
SHIFTS = {"TranslateXRel": {"translate_pct": 0.10}, "TranslateYRel": {"translate_pct": 0.30}}
OPERATIONS = tuple(name for name in _RAND_INCREASING_TRANSFORMS if name not in LEFT_OUT)


@dataclass(frozen=True)
class RandAugment:
    """`num_ops` different operations an image, each applied with probability 1/2 (timm's default).

    Args:
        num_ops: 0 switches augmentation off.
        magnitude: 0 to 10.
    """

    num_ops: int
    magnitude: int

    def __post_init__(self):
        if not 0 <= self.num_ops <= len(OPERATIONS):
            raise ValueError(f"RandAugment.num_ops = {self.num_ops}: expected 0 to {len(OPERATIONS)}")
        if not 0 <= self.magnitude <= 10:
            raise ValueError(f"RandAugment.magnitude = {self.magnitude}: expected 0 to 10")

    def __call__(self, image: Image.Image, seed: list[int]) -> Image.Image:
        """The augmented image; `seed` decides everything, so a sample's augmentation does not depend on its worker."""
        if not self.num_ops:
            return image
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(OPERATIONS), self.num_ops, replace=False)
        state = random.getstate()
        random.seed(int(rng.integers(2**63)))  # timm's operations draw from the global generator
        for index in chosen:
            name = OPERATIONS[index]
            image = AugmentOp(name, prob=0.5, magnitude=self.magnitude, hparams=SHIFTS.get(name))(image)
        random.setstate(state)
        return image
