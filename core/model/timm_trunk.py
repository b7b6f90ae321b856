"""Image models of timm as towers: which families, in what order their tokens come, their layers, and weights for them.

A ViT keeps its tokens: [CLASS], registers, patches row by row. Of a model that computes a map (ConvNeXt, FastViT) the cells of
the last map are the tokens, row by row; Hiera's last stage has the same order.

B batch, M image tokens ([CLASS] first, where there is one), W width.
"""

import re
import sys
from difflib import get_close_matches
from typing import NamedTuple

import timm
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor, nn

from core.errors import UserError
from core.model.freezing import Layers
from core.model.towers import check_patches
from core.weights.pretrained import TrainedAt


class Family(NamedTuple):
    """What the models of one of timm's modules can be built with.

    Args:
        sized: their weights depend on the image size.
        patches: the size of a patch can be chosen.
        class_token: whether they have [CLASS]; None where that can be chosen.
    """

    sized: bool
    patches: bool
    class_token: bool | None


VIT = Family(sized=True, patches=True, class_token=None)
TIMM_FAMILIES = {  # by timm's module
    "vision_transformer": VIT,  # plain (MAE, DINOv2, SigLIP), with registers, BEiT-3
    "vision_transformer_hybrid": Family(sized=True, patches=False, class_token=None),  # behind a convolutional stem
    "deit": VIT,
    "eva": VIT,  # rotary positions: EVA-02, DINOv3, Perception Encoder
    "beit": Family(sized=True, patches=True, class_token=True),  # relative positions
    "hiera": Family(sized=True, patches=False, class_token=False),
    "convnext": Family(sized=False, patches=False, class_token=False),
    "fastvit": Family(sized=False, patches=False, class_token=False),  # MobileCLIP's
}
# Tensors of files that no token depends on: classifiers, poolings, what stands for masked patches in pretraining.
UNUSED = re.compile(r"(head|head_dist|attn_pool|mask_token)(\..*)?")


def family_of(arch: str) -> Family:
    """The family of a timm model.

    Raises:
        UserError: there is no such model, or it is of another family, whose models have no token map that is known here.
    """
    if not timm.is_model(arch):
        near = ", ".join(get_close_matches(arch, timm.list_models(), 6)) or "none"
        raise UserError(f"timm cannot build {arch!r}: it has no such model; near it: {near}")
    module = timm.model_entrypoint(arch).__module__.rpartition(".")[2]
    if module not in TIMM_FAMILIES:
        raise UserError(f"{arch} of timm is one of its {module} models; towers come from {', '.join(sorted(TIMM_FAMILIES))}")
    return TIMM_FAMILIES[module]


def tokens_of(trunk: nn.Module, images: Tensor) -> Tensor:
    """Images B 3 H W to all tokens after the last norm, also where a model pools before it: B M W."""
    tokens = trunk.forward_features(images)
    for norm in (getattr(trunk, "fc_norm", None), getattr(getattr(trunk, "head", None), "norm", None)):
        if norm is not None:
            tokens = norm(tokens)
    return tokens.flatten(2).transpose(1, 2) if tokens.ndim == 4 else tokens


def keep_statistics(tower: nn.Module) -> None:
    """Leave batch normalisation (FastViT, stems) as pretrained: images of a step must not decide each other's tokens."""
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()


def stride_of(trunk: nn.Module) -> tuple[int, int]:
    """Height and width in pixels of what one token is made from."""
    patch = getattr(trunk.patch_embed, "patch_size", None) if hasattr(trunk, "patch_embed") else None
    return tuple(patch) if patch is not None else (trunk.feature_info[-1]["reduction"],) * 2


def has_class_token(trunk: nn.Module) -> bool:
    return getattr(trunk, "cls_token", None) is not None


def blocks_of(trunk: nn.Module) -> list[nn.Module]:
    """The blocks from the input up; the first of a stage brings with it what brings the map down to the stage's size."""
    if hasattr(trunk, "blocks"):
        return list(trunk.blocks)
    blocks: list[nn.Module] = []
    for stage in trunk.stages:
        before = [child for name, child in stage.named_children() if name != "blocks"]
        first, *others = stage.blocks
        blocks += [nn.ModuleList([*before, first]), *others]
    return blocks


def layers_of(trunk: nn.Module, tower: nn.Module) -> Layers:
    """[CLASS], registers and positions; the blocks; whatever else the tower around a trunk has."""
    embeddings, blocks = list(trunk.parameters(recurse=False)), blocks_of(trunk)
    known = {id(parameter) for parameter in embeddings}
    known |= {id(parameter) for block in blocks for parameter in block.parameters()}
    return Layers(embeddings, blocks, [parameter for parameter in tower.parameters() if id(parameter) not in known])


def grid_of(trunk: nn.Module) -> tuple[int, int] | None:
    """Rows and columns of the position embeddings; None where there are none that depend on the image size."""
    if getattr(trunk, "pos_embed", None) is None or trunk.pos_embed.ndim != 3:
        return None
    return tuple(trunk.tokens_spatial_shape if hasattr(trunk, "tokens_spatial_shape") else trunk.patch_embed.grid_size)


def resample_positions(tensors: dict[str, Tensor], name: str, trunk: nn.Module, trained: tuple[int, int] | None) -> None:
    """Bring position embeddings to the size of a trunk, in place.

    Args:
        name: of the position embeddings among the tensors.
        trained: their rows and columns; None takes them as square.
    """
    wanted, positions = grid_of(trunk), tensors.get(name)
    if wanted is None or positions is None or positions.ndim != 3:
        return
    prefix = 0 if getattr(trunk, "no_embed_class", False) else getattr(trunk, "num_prefix_tokens", 0)
    count = positions.shape[1] - prefix
    side = round(count**0.5)
    if trained is None or trained[0] * trained[1] != count:
        trained = (side, side)
    if trained != wanted and trained[0] * trained[1] == count:
        tensors[name] = resample_abs_pos_embed(positions, list(wanted), list(trained), prefix)


def resample_patches(tensors: dict[str, Tensor], name: str, trunk: nn.Module) -> None:
    """Bring a patch embedding to the patch size of a trunk, in place."""
    patches = tensors.get(name)
    if patches is not None and tuple(patches.shape[2:]) != (wanted := tuple(trunk.patch_embed.proj.kernel_size)):
        tensors[name] = resample_patch_embed(patches, list(wanted))


def resize(trunk: nn.Module, image_size: tuple[int, int], patch_size: tuple[int, int] | None, arch: str | dict) -> TrainedAt:
    """Give a model the size of the images and patches; returns the sizes that it was described (and trained) with.

    Raises:
        UserError: it has no such patches, or the image is not a whole number of them.
    """
    trained_at = TrainedAt(stride_of(trunk), grid_of(trunk) or (0, 0))
    if hasattr(trunk, "set_input_size"):
        check_patches(image_size, patch_size or stride_of(trunk), arch)
        trunk.set_input_size(img_size=image_size, patch_size=patch_size)
    elif patch_size is not None:
        raise UserError(f"PATCH_SIZE = {patch_size}: {arch} has no patches of a size to choose; set it to None")
    check_patches(image_size, stride_of(trunk), arch)
    return trained_at


def weights_for(trunk: nn.Module, arch: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a timm file as this trunk has them: timm's own conversions, its image size, no classifier, no pooling."""
    expected = trunk.state_dict()
    if "pos_embed" in expected and "tokens_spatial_shape" in vars(trunk):
        resample_positions(tensors, "pos_embed", trunk, None)  # Hiera's, which timm leaves as they are
    convert = getattr(sys.modules[timm.model_entrypoint(arch).__module__], "checkpoint_filter_fn", None)
    found = {}
    for name, tensor in (convert(tensors, trunk) if convert is not None else tensors).items():
        if name not in expected:
            name = re.sub(r"gamma_(\d)", r"ls\1.gamma", name)  # DeiT-3
        if name not in expected and name.startswith("fc_norm."):
            name = name.removeprefix("fc_")  # the last norm of a model that pools before it
        if name in expected or not UNUSED.fullmatch(name):
            found[name] = tensor
    return found
