"""CLIP as Hugging Face's transformers stores it (CLIPModel), read in OpenAI's names, which open_clip and this study use."""

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from core.errors import UserError

FILES = ["model.safetensors", "pytorch_model.bin"]  # of a repository on the hub
NAMES = [  # regular expressions of transformers' names, in order, and what they become
    (r"^text_model\.embeddings\.token_embedding\.weight$", "token_embedding.weight"),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.weight$", "visual.conv1.weight"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),  # spelt so
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"\.self_attn\.", ".attn."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
]
PROJECTIONS = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}  # transposed
SPLIT = re.compile(r"(.+\.attn\.)q_proj\.(weight|bias)")


def is_clip(tensors: dict[str, Tensor]) -> bool:
    """Whether the tensors of a file are those of a CLIPModel, or of its image half alone."""
    return "vision_model.embeddings.class_embedding" in tensors


def to_clip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a CLIPModel by OpenAI's names: queries, keys and values in one, projections transposed."""
    renamed = {}
    for name, tensor in tensors.items():
        if name in PROJECTIONS:
            renamed[PROJECTIONS[name]] = tensor.T
        elif not name.endswith(".position_ids"):  # which only count
            for pattern, replacement in NAMES:
                name = re.sub(pattern, replacement, name)
            renamed[name] = tensor
    for match in [match for match in map(SPLIT.fullmatch, list(renamed)) if match]:
        block, kind = match.groups()
        parts = [renamed.pop(f"{block}{part}_proj.{kind}") for part in "qkv"]
        renamed[f"{block}in_proj_{kind}"] = torch.cat(parts)
    return renamed


def check_activation(path: Path, arch: str | dict, quick_gelu: bool) -> None:
    """Raise UserError if config.json beside a file says that it was trained with another activation than the architecture's.

    Also if it cannot be read, since towers with the wrong activation load without a complaint.
    """
    config = path.with_name("config.json")
    if not config.is_file():
        return
    try:
        vision = json.loads(config.read_bytes()).get("vision_config") or {}
        trained = vision.get("hidden_act", "quick_gelu")  # which transformers takes where nothing is said
    except (ValueError, AttributeError) as error:  # not JSON, or not an object
        raise UserError(f"{config} is not the config.json of a CLIPModel ({error}); copy it again, or delete it") from error
    if (trained == "quick_gelu") != quick_gelu:
        fix = "with QuickGELU, such as ViT-B-16-quickgelu" if trained == "quick_gelu" else "without QuickGELU"
        raise UserError(f"{path} was trained with {trained} (config.json beside it), unlike {arch}: set ARCH to one {fix}")
