"""The image tower's forward and backward pass in training as two CUDA graphs (`Optimisation.graphs`).

The host asks for each with one call in place of one per kernel. What they keep for the backward pass stays in memory
from step to step.

B batch, M image tokens, D width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from core.model.clip4str import CLIP4STR
from core.runtime.precision import autocast


class ImageTower(nn.Module):
    """`encode_image` of towers, as a module of the image tower's weights alone: what torch records."""

    def __init__(self, towers: nn.Module, precision: str):
        super().__init__()
        embeddings, blocks, rest = towers.image_layers()
        self.weights = nn.ParameterList([*embeddings, *(weight for block in blocks for weight in block.parameters()), *rest])
        self.encode, self.precision = towers.encode_image, precision

    def forward(self, images: Tensor) -> Tensor:
        """Images B 3 H W to tokens B M D; its casts of weights are its own, as those of the step end with the step."""
        with autocast(images.device, self.precision, cached=False):
            return self.encode(images)


def reason_not_graphed(model: CLIP4STR, device: torch.device, processes: int) -> str | None:
    """What keeps the image tower from being recorded; None if nothing does."""
    if device.type != "cuda":
        return "there is no GPU"
    if processes > 1:
        return f"{processes} processes exchange gradients during the backward pass"
    if model.adapter is not None:
        return "an adapter changes the tower's forward pass"
    if not any(weight.requires_grad for weight in ImageTower(model.towers, "no").parameters()):
        return "the image tower is frozen"
    return None


def graphed_tower(model: CLIP4STR, images: int, device: torch.device, precision: str) -> Callable[[Tensor], Tensor]:
    """The image tower's passes over exactly so many images, recorded: images B 3 H W to tokens B M D, for training.

    A replay writes its gradients where the last one did, and autograd keeps a first gradient as it is, without a copy. So
    each is copied: else the second of a step's passes would overwrite the first before it is added to it.
    """
    tower = ImageTower(model.towers, precision)
    for weight in tower.parameters():
        if weight.requires_grad:
            weight.register_hook(torch.clone)
    sample = torch.zeros(images, 3, *model.towers.image_size, device=device)
    return torch.cuda.make_graphed_callables(tower, (sample,), allow_unused_input=True)
