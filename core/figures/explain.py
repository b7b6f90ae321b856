"""Where an image tower looks: Grad-CAM and attention rollout for ViT towers (Figures 1 and 2).

B batch, M image tokens ([CLASS] first), D joint width; heatmaps have the rows and columns of the patch grid.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from core.files import file_digest, in_repository
from core.model.towers import ClipTower, embed_patches

GRAD_CAM = (
    "Grad-CAM on what the last block's attention reads (the patch tokens after its first layer norm), from the gradient "
    "of the image-text similarity"
)
ROLLOUT = "attention rollout over all blocks from [CLASS] to the patches, heads averaged"


def grad_cam(tower: ClipTower, images: Tensor, texts: Tensor) -> Tensor:
    """Evidence for a text in each patch (Selvaraju et al. 2017, Eq. 1-2), with tokens in place of feature maps.

    After the last attention the patch tokens no longer reach [CLASS], so the maps are the tokens that this attention reads.

    Args:
        images: B 3 H W.
        texts: unit features of the text to explain in each image: B D.

    Returns:
        B rows columns, not negative, not scaled.
    """
    tokens: list[Tensor] = []
    handle = tower.visual.transformer.resblocks[-1].ln_1.register_forward_hook(lambda _, __, output: tokens.append(output))
    try:
        with torch.enable_grad():
            features = F.normalize(tower.encode_image(images.detach().requires_grad_())[:, 0], dim=-1)
            (gradients,) = torch.autograd.grad((features * texts).sum(), tokens[0])
    finally:
        handle.remove()
    weights = gradients[:, 1:].mean(1, keepdim=True)  # B 1 width: Eq. 1
    evidence = (weights * tokens[0].detach()[:, 1:]).sum(-1).relu()  # B M-1: Eq. 2
    return evidence.unflatten(1, tower.visual.grid_size)


@torch.no_grad()
def attention_rollout(tower: ClipTower, images: Tensor) -> Tensor:
    """The share of each input token in every output token (Abnar & Zuidema 2020, Eq. 1).

    Attention is averaged over heads, mixed half and half with the identity for the residual path, and multiplied over
    blocks.

    Args:
        images: B 3 H W.

    Returns:
        B M M; rows are output tokens and sum to 1.
    """
    visual = tower.visual
    tokens = embed_patches(visual, images)  # B M width
    rollout = identity = torch.eye(tokens.shape[1], device=tokens.device, dtype=tokens.dtype)
    for block in visual.transformer.resblocks:
        read = block.ln_1(tokens)
        attention = block.attn(read, read, read, need_weights=True)[1]  # B M M, mean over heads
        rollout = (attention + identity) / 2 @ rollout
        tokens = block(tokens)
    return rollout


def class_attention(tower: ClipTower, images: Tensor) -> Tensor:
    """The share of each patch in [CLASS] after attention rollout: B rows columns."""
    return attention_rollout(tower, images)[:, 0, 1:].unflatten(1, tower.visual.grid_size)


def tower_record(tower: ClipTower) -> dict[str, str | list[int] | None]:
    """The tower of a map, for the record; `digest` is that of the weights file, None for an open_clip tag."""
    path = in_repository(str(tower.weights))
    return {
        "arch": tower.arch,
        "weights": tower.weights,
        "digest": file_digest(path) if path.is_file() else None,
        "image_size": list(tower.image_size),
        "grid": list(tower.visual.grid_size),
    }
