"""CLIP-Adapter (Gao et al.; section V-D, Fig. 5 left): a small residual bottleneck on top of a frozen tower.

B batch, M tokens, D width.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from adapters.backbone import frozen_tokens, require_frozen


class ClipAdapter(nn.Module):
    """D -> D / reduction -> D without bias, ReLU after each; `ratio` of it is mixed into the feature.

    Args:
        towers: the towers whose image tokens are adapted; frozen.
        reduction: 2 in the paper, which makes 262,144 parameters at D = 512.
        ratio: lambda, 0.2 in the paper; 0 is the identity.

    Raises:
        ValueError: the tower is not frozen, its width is not a multiple of the reduction, or the ratio is outside [0, 1].
    """

    def __init__(self, towers: nn.Module, reduction: int, ratio: float):
        super().__init__()
        require_frozen(towers, "ClipAdapter")
        embed_dim = towers.embed_dim
        if reduction < 1 or embed_dim % reduction:
            raise ValueError(f"adapter width {embed_dim} is not a multiple of its reduction {reduction}")
        if not 0 <= ratio <= 1:
            raise ValueError(f"ClipAdapter.ratio = {ratio}: a share lies in [0, 1]")
        self.ratio = ratio
        self.down = nn.Linear(embed_dim, embed_dim // reduction, bias=False)
        self.up = nn.Linear(embed_dim // reduction, embed_dim, bias=False)

    def forward(self, towers: nn.Module, images: Tensor) -> Tensor:
        return self.mix(frozen_tokens(towers, images))

    def mix(self, tokens: Tensor) -> Tensor:
        """Tokens B M D to adapted tokens."""
        adapted = F.relu(self.up(F.relu(self.down(tokens))))
        return self.ratio * adapted + (1 - self.ratio) * tokens  # B M D
