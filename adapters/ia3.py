"""IA3 (Liu et al. 2022): learned scales of keys, values and hidden units of a frozen tower."""

import peft
from torch import nn

from adapters.injection import Injected


class Ia3(Injected):
    """Every scale starts at 1.

    Args:
        towers: CLIP's image tower; frozen.
        targets: layers whose outputs are scaled: k_proj and v_proj in the paper.
        hidden: layers whose inputs are scaled: c_proj, the second of the MLP.
    """

    def __init__(self, towers: nn.Module, targets: list[str], hidden: list[str]):
        super().__init__(towers, peft.IA3Config(target_modules=[*targets, *hidden], feedforward_modules=list(hidden)))
