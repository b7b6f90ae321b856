"""RandAugment as released: three of 16 operations at magnitude 5 (section IV-A).

The paper's sentence reads both ways ("excludes sharpness and invert is used"). The released code runs PARSeq's list: timm's
increasing operations without sharpness, with Invert, and two of its own, a Gaussian blur and Poisson noise. Rotation
expands the canvas, so that no letter is cut off.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageFilter
from timm.data import auto_augment
from timm.data.auto_augment import AugmentOp

from core.errors import UserError

PROBABILITY = 0.5  # that a chosen operation is applied: timm's own
LARGEST = 10  # magnitude at which an operation has its full strength
EXPANDING = partial(auto_augment.rotate, expand=True)


def side_limited(strength: float, image: Image.Image, share: float) -> int:
    """A strength in pixels or counts, rounded and limited to a share of the longer side (but not below 1)."""
    return round(min(strength, max(1, share * max(image.size))))


def gaussian_blur(image: Image.Image, radius: float, rng: np.random.Generator) -> Image.Image:
    """Blur with a radius of at most 2 % of the longer side."""
    return image.filter(ImageFilter.GaussianBlur(side_limited(radius, image, 0.02)))


def poisson_noise(image: Image.Image, rate: float, rng: np.random.Generator) -> Image.Image:
    """Add or subtract Poisson counts, one per pixel for all channels; the rate is odd and at most 20 % of the longer side."""
    pixels = np.asarray(image)
    counts = rng.poisson(side_limited(rate, image, 0.2) | 1, pixels.shape[:2])
    signed = counts * rng.choice((-1, 1), pixels.shape[:2])
    return Image.fromarray(np.clip(pixels + signed[..., None], 0, 255).astype(np.uint8))


def either_way(change: Callable, image: Image.Image, strength: float) -> Image.Image:
    """One of timm's geometric operations in a random direction, grey outside the image."""
    side = strength if random.random() < 0.5 else -strength
    return change(image, side, fillcolor=auto_augment._FILL, resample=auto_augment._RANDOM_INTERPOLATION)


SCALED: dict[str, Callable[[Image.Image, float, np.random.Generator], Image.Image]] = {
    "Rotate": lambda image, degrees, rng: either_way(EXPANDING, image, degrees),
    "ShearX": lambda image, factor, rng: either_way(auto_augment.shear_x, image, factor),
    "ShearY": lambda image, factor, rng: either_way(auto_augment.shear_y, image, factor),
    "TranslateXRel": lambda image, share, rng: either_way(auto_augment.translate_x_rel, image, share),
    "TranslateYRel": lambda image, share, rng: either_way(auto_augment.translate_y_rel, image, share),
    "GaussianBlur": gaussian_blur,
    "PoissonNoise": poisson_noise,
}
KNOWN = tuple(dict.fromkeys([*SCALED, *auto_augment.NAME_TO_OP]))


@dataclass(frozen=True)
class RandAugment:
    """`num_ops` different operations per image, each applied with probability 1/2.

    Args:
        operations: their names, from SCALED or timm.
        strengths: strength at magnitude 10 of each operation in SCALED: degrees of rotation, shear factors, shifts as
            shares of the image, the blur's radius in pixels, the noise's rate; timm sets the strength of the others.
        num_ops: 0 switches augmentation off.
        magnitude: 0 to 10.

    Raises:
        UserError: an operation is unknown, or a strength is missing or belongs to no operation in SCALED.
    """

    operations: tuple[str, ...]
    strengths: Mapping[str, float]
    num_ops: int
    magnitude: float

    def __post_init__(self):
        for name in self.operations:
            if name not in KNOWN:
                raise UserError(f"AUGMENTATIONS: unknown operation {name!r}; expected names from {', '.join(sorted(KNOWN))}")
        if len(set(self.operations)) < len(self.operations):
            raise UserError(f"AUGMENTATIONS = {self.operations}: an operation is there twice")
        if type(self.num_ops) is not int or not 0 <= self.num_ops <= len(self.operations):
            raise UserError(f"AUGMENT_OPS = {self.num_ops!r}: expected a whole number from 0 to {len(self.operations)}")
        if not 0 <= self.magnitude <= LARGEST:
            raise UserError(f"RandAugment.magnitude = {self.magnitude}: expected 0 to {LARGEST}")
        for name in self.operations:
            if name in SCALED and name not in self.strengths:
                raise UserError(f"RandAugment.strengths: no strength at magnitude {LARGEST} for {name}; add one")
        for name in self.strengths:
            if name not in SCALED:
                raise UserError(f"RandAugment.strengths: {name!r} takes none; expected {', '.join(SCALED)}")

    def __call__(self, image: Image.Image, seed: list[int]) -> Image.Image:
        """The augmented image; `seed` alone decides it, so the loader process does not matter."""
        if not self.num_ops:
            return image
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(self.operations), self.num_ops, replace=False)
        # timm's operations draw from the global generator: it is seeded for them and restored for everybody else.
        state = random.getstate()
        random.seed(int(rng.integers(2**63)))
        for index in chosen:
            image = self.apply(self.operations[index], rng, image)
        random.setstate(state)
        return image

    def apply(self, name: str, rng: np.random.Generator, image: Image.Image) -> Image.Image:
        """Apply one operation with PROBABILITY."""
        if name not in SCALED:
            return AugmentOp(name, prob=PROBABILITY, magnitude=self.magnitude)(image)
        if random.random() > PROBABILITY:
            return image
        return SCALED[name](image, self.strengths[name] * self.magnitude / LARGEST, rng)
