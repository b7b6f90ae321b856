"""LoRA (Hu et al. 2021) and DoRA (Liu et al. 2024): low-rank updates of the linear layers of a frozen tower."""

import peft
from torch import nn

from adapters.injection import Injected


class Lora(Injected):
    """W x + alpha / rank B A x; B starts at zero, so training starts from the tower as it is.

    Args:
        towers: CLIP's image tower; frozen.
        rank: rank of the update, the inner size of A and B.
        alpha: scale of the update.
        targets: layers of a block: q_proj, k_proj, v_proj, o_proj (attention), c_fc, c_proj (MLP).
        decomposed: True for DoRA, which also learns the norm of every output's weights.
    """

    def __init__(self, towers: nn.Module, rank: int, alpha: float, targets: list[str], decomposed: bool):
        if rank < 1:
            raise ValueError(f"Lora.rank = {rank} is below 1")
        config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), use_dora=decomposed)
        super().__init__(towers, config)
