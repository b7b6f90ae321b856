"""The reading orders (permutations) of a training step (section III-A2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.model.permutations import sample_permutations


@dataclass(frozen=True)
class Orders:
    """One draw of K orders per block of a step's images, drawn from (seed, step, block) only, whichever devices share it.

    The released code draws on every GPU for its batch of 128, so that a step of 1,024 images has up to 34 different orders.

    Args:
        block: images per draw, counted in the order of the step.
        count: K.
        mirrored: each random order comes with its mirror image.
    """

    seed: int
    step: int
    block: int
    count: int
    mirrored: bool

    def draw(self, block: int, letters: int) -> Tensor:
        """The orders of one block: K T+2, see `core.model.permutations.sample_permutations`."""
        state = np.random.SeedSequence([self.seed, self.step, block]).generate_state(1, np.uint64)
        return sample_permutations(letters, self.count, self.mirrored, torch.Generator().manual_seed(int(state[0])))

    def of(self, places: Sequence[int], letters: int) -> Tensor:
        """The orders of these images.

        Args:
            places: positions of the images in the step; none for a pass in which nothing could be decoded.
            letters: T, of the step's longest word.

        Returns:
            K T+2 where all lie in one block, else B K T+2.
        """
        blocks = [place // self.block for place in places] or [0]
        drawn = {block: self.draw(block, letters) for block in dict.fromkeys(blocks)}
        return next(iter(drawn.values())) if len(drawn) == 1 else torch.stack([drawn[block] for block in blocks])
