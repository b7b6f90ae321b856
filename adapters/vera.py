"""VeRA (Kopiczko et al. 2024): one pair of random projections for all layers, and two learned scale vectors per layer."""

import peft
from torch import nn

from adapters.injection import Injected


class Vera(Injected):
    """W x + b * (B (d * (A x))): A and B are random, shared and drawn from a seed; d and b are learned, b from 0.

    Args:
        towers: CLIP's image tower; frozen.
        rank: rank of the shared projections.
        targets: layers of a block, as of `Lora`.
        seed: seed of the projections, which are drawn again whenever the model is built.
    """

    def __init__(self, towers: nn.Module, rank: int, targets: list[str], seed: int):
        if rank < 1:
            raise ValueError(f"Vera.rank = {rank} is below 1")
        config = peft.VeraConfig(r=rank, target_modules=list(targets), projection_prng_key=seed)
        super().__init__(towers, config)
