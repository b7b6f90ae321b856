"""Checks that adapters make on their tower: it must be frozen, and of a kind that they can adapt."""

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn


def require_frozen(towers: nn.Module, adapter: str) -> None:
    """Raise ValueError if an adapter's image tower has trainable weights; those that no file holds are trained always.

    Raises:
        ValueError: saying how to freeze it.
    """
    added = {id(parameter) for parameter in towers.added()}
    if any(parameter.requires_grad and id(parameter) not in added for parameter in image_parameters(towers)):
        raise ValueError(f"{adapter} adapts a frozen image tower: set IMAGE_FROZEN = 1.0")


def image_parameters(towers: nn.Module) -> list[nn.Parameter]:
    """Every weight of the image tower."""
    embeddings, blocks, rest = towers.image_layers()
    return [*embeddings, *(parameter for block in blocks for parameter in block.parameters()), *rest]


def open_clip_visual(towers: nn.Module, adapter: str) -> nn.Module:
    """The image tower of open_clip's own kind.

    Raises:
        ValueError: the tower is another one.
    """
    if not isinstance(towers.trunk, VisionTransformer):
        raise ValueError(f"{adapter} knows the layers of CLIP's image tower; {towers.arch} has none of them")
    return towers.trunk


def frozen_tokens(towers: nn.Module, images: Tensor) -> Tensor:
    """The tower's own image tokens, nothing kept for a backward pass but to weights that no file holds: B M D."""
    with torch.set_grad_enabled(torch.is_grad_enabled() and bool(towers.added())):
        return towers.encode_image(images)
