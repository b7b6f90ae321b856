"""Memories: the tower tokens that the decoders attend to, all of them or [CLASS] and [EOS] only (section III-A, Table V).

B batch, M image tokens ([CLASS] first), L text tokens, D joint width; a tower has a width of its own.
"""

import torch
from torch import Tensor

from core.errors import UserError
from core.model.tower_protocols import ImageTextTowers, Tower


def all_tokens(towers: Tower, tokens: Tensor) -> Tensor:
    """Every image token: B M D."""
    return tokens


def class_token(towers: Tower, tokens: Tensor) -> Tensor:
    """Only [CLASS] (Table V, "[CLASS]"): B M D to B 1 D.

    Raises:
        UserError: the tower has no [CLASS] token.
    """
    if not towers.class_token:
        raise UserError(f"memory.class_token: {towers.arch} is used without a [CLASS] token")
    return tokens[:, :1]


def text_tokens(towers: ImageTextTowers, ids: Tensor) -> Tensor:
    """All text tokens through ln_final and the text projection: token ids B L to B L D (section III-A1)."""
    return towers.encode_text(ids)


def eos_token(towers: ImageTextTowers, ids: Tensor) -> Tensor:
    """Only the token that stands for the caption: [EOS], its end, in CLIP (Table V, "[CLASS]"): B 1 D."""
    rows = torch.arange(ids.shape[0], device=ids.device)
    return towers.encode_text(ids)[rows, towers.caption_ends(ids)][:, None]


def token_embeddings(towers: ImageTextTowers, ids: Tensor) -> Tensor:
    """Only the pretrained token embeddings, in place of the text tower (Table VI, "token"): B L D.

    Raises:
        UserError: they are not as wide as the memory.
    """
    if towers.text_width != towers.embed_dim:
        raise UserError(
            f"token embeddings of {towers.arch} are {towers.text_width} wide, the memory is {towers.embed_dim}: "
            "the row needs an architecture where both agree"
        )
    return towers.embed_text(ids)
