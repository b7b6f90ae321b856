"""The layout of the released CLIP4STR checkpoints, and how it maps to ours.

A released file is a Lightning checkpoint: `state_dict` with `clip_model.*`, `visual_decoder.*`, `cross_decoder.*`, and
`hyper_parameters`. Sizes are read off the tensors; the CLIP file it was trained from is not needed.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from core.charset import CHARSET_36, CHARSET_94
from core.errors import UserError
from core.model.clip4str import CLIP4STR
from core.model.decoder import Decoder
from core.model.freezing import Freezing
from core.model.memory import all_tokens, text_tokens
from core.model.towers import ClipTowers
from core.weights.pretrained import first_difference

RENAMED = (
    (r"^clip_model\.", "towers.clip."),
    (r"_decoder\.pos_queries$", "_decoder.position_queries"),
    (r"_decoder\.text_embed\.embedding\.", "_decoder.context_embedding."),
    (r"(_decoder\.layers\.\d+)\.self_attn\.", r"\1.context_attn."),
    (r"(_decoder\.layers\.\d+)\.cross_attn\.", r"\1.memory_attn."),
    (r"(_decoder\.layers\.\d+\.\w+_attn)\.out_proj\.", r"\1.out."),
    (r"(_decoder\.layers\.\d+)\.norm1\.", r"\1.norm_m."),
    (r"(_decoder\.layers\.\d+)\.norm2\.", r"\1.norm_f."),
    (r"(_decoder\.layers\.\d+)\.linear1\.", r"\1.mlp.0."),
    (r"(_decoder\.layers\.\d+)\.linear2\.", r"\1.mlp.3."),
)
HEAD_WIDTH = 64  # of both towers in the released code: 20 heads in ViT-H/14, whose own weights were trained with 16 of width 80
QUERIES = "visual_decoder.pos_queries"  # 1 N D
SETTINGS = ("charset_train", "context_length", "dec_num_heads", "dropout", "img_size", "perm_mirrored", "perm_num")  # read here
DECODER_HEADS = 8  # in B, L and H, where a file does not say


def is_released(checkpoint: Any) -> bool:
    """Whether an unpickled file has the released layout."""
    return isinstance(checkpoint, dict) and any(
        str(name).startswith("clip_model.") for name in checkpoint.get("state_dict", ())
    )


def rename(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Released names to ours; a joint input projection becomes queries (first third) and keys with values."""
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if name.endswith("position_queries"):
            tensor = tensor[0]
        joint = re.match(r"(.*_decoder\..*)\.in_proj_(weight|bias)$", name)
        if joint:
            queries, keys_values = tensor.split([len(tensor) // 3, 2 * len(tensor) // 3])
            renamed[f"{joint[1]}.q.{joint[2]}"] = queries
            renamed[f"{joint[1]}.kv.{joint[2]}"] = keys_values
        else:
            renamed[name] = tensor
    return renamed


def count_blocks(tensors: dict[str, Tensor], pattern: str) -> int:
    matches = [re.match(pattern, name) for name in tensors]
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


def architecture(tensors: dict[str, Tensor], image_size: tuple[int, int]) -> dict:
    """open_clip's description of the towers whose tensors these are."""
    visual, text = "clip_model.visual.", "clip_model."
    conv = tensors[visual + "conv1.weight"]
    vocabulary, text_width = tensors[text + "token_embedding.weight"].shape
    return {
        "embed_dim": tensors[text + "text_projection"].shape[1],
        "quick_gelu": True,  # the released code runs every tower with it
        "vision_cfg": {
            "image_size": list(image_size),
            "patch_size": list(conv.shape[2:]),
            "width": conv.shape[0],
            "layers": count_blocks(tensors, r"clip_model\.visual\.transformer\.resblocks\.(\d+)\."),
            "head_width": HEAD_WIDTH,
        },
        "text_cfg": {
            "context_length": len(tensors[text + "positional_embedding"]),
            "vocab_size": vocabulary,
            "width": text_width,
            "heads": text_width // HEAD_WIDTH,
            "layers": count_blocks(tensors, r"clip_model\.transformer\.resblocks\.(\d+)\."),
        },
    }


def build_released(checkpoint: dict) -> CLIP4STR:
    """The model of a released checkpoint, in float32 and evaluation mode.

    Raises:
        UserError: the checkpoint lacks a tensor or setting, or describes a model this code cannot be.
    """
    tensors = {name.removeprefix("model."): tensor for name, tensor in checkpoint["state_dict"].items()}
    settings = checkpoint.get("hyper_parameters", {})
    try:
        towers, decoder, outputs = towers_of(tensors, settings), decoder_of(tensors, settings), tensors[QUERIES].shape[1]
    except KeyError as error:
        raise UserError(f"not a whole CLIP4STR checkpoint: {error} is missing") from error
    model = CLIP4STR(
        towers=towers,
        decoder=decoder,
        read_image=all_tokens,
        read_caption=text_tokens,
        adapter=None,
        freezing=Freezing(image=0.0, text=0.0),
        charset=settings.get("charset_train", CHARSET_94),
        caption_charset=CHARSET_36,
        max_letters=outputs - 1,
        num_permutations=settings.get("perm_num", 6),
        mirrored=settings.get("perm_mirrored", True),
        block_image_gradient=True,
        predicted_context=False,
        load_weights=False,
    )
    renamed = {name: tensor.float() for name, tensor in rename(tensors).items()}
    if difference := first_difference(model.state_dict(), renamed):
        raise UserError(difference)
    model.load_state_dict(renamed)
    model.normalisation = "half"  # what the released test loader and reader use
    return model.eval()


def towers_of(tensors: dict[str, Tensor], settings: dict) -> ClipTowers:
    """The towers whose tensors these are, without them."""
    image_size = tuple(settings.get("img_size", (224, 224)))
    return ClipTowers(architecture(tensors, image_size), None, image_size, None, settings.get("context_length", 16))


def decoder_of(tensors: dict[str, Tensor], settings: dict) -> Callable[..., Decoder]:
    """A factory of decoders with the sizes of these tensors."""
    return partial(
        Decoder,
        num_heads=settings.get("dec_num_heads") or DECODER_HEADS,
        depth=count_blocks(tensors, r"visual_decoder\.layers\.(\d+)\."),
        mlp_ratio=tensors["visual_decoder.layers.0.linear1.weight"].shape[0] / tensors[QUERIES].shape[2],
        dropout=settings.get("dropout", 0.1),
    )
