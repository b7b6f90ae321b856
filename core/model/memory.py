"""Memories: the tower tokens that the decoders attend to, all of them or [CLASS] and [EOS] only (section III-A, Table V).

B batch, M image tokens ([CLASS] first), L text tokens, D joint width; a tower has a width of its own.
"""

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.model.towers import ClipTowers


def all_tokens(towers: nn.Module, tokens: Tensor) -> Tensor:
    """Every image token: B M D."""
    return tokens


def class_token(towers: nn.Module, tokens: Tensor) -> Tensor:
    """Only [CLASS] (Table V, "[CLASS]"): B M D to B 1 D.

    Raises:
        UserError: the tower has no [CLASS] token.
    """
    if not getattr(towers, "class_token", True):
        raise UserError(f"memory.class_token: {towers.arch} is used without a [CLASS] token")
    return tokens[:, :1]


def text_tokens(towers: ClipTowers, ids: Tensor) -> Tensor:
    """All text tokens through ln_final and the text projection: token ids B L to B L D (section III-A1)."""
    clip, length = towers.clip, ids.shape[1]
    tokens = clip.token_embedding(ids) + clip.positional_embedding[:length]  # B L width
    tokens = clip.transformer(tokens, attn_mask=clip.attn_mask[:length, :length])
    return clip.ln_final(tokens) @ clip.text_projection  # B L D


def eos_token(towers: ClipTowers, ids: Tensor) -> Tensor:
    """Only [EOS], the caption's end (Table V, "[CLASS]"): B 1 D."""
    ends = ids.argmax(1)  # [EOS] has the largest id
    return text_tokens(towers, ids)[torch.arange(ids.shape[0], device=ids.device), ends][:, None]


def token_embeddings(towers: ClipTowers, ids: Tensor) -> Tensor:
    """Only the pretrained token embeddings, in place of the text tower (Table VI, "token"): B L D.

    Raises:
        UserError: they are not as wide as the memory.
    """
    if towers.text_width != towers.embed_dim:
        raise UserError(
            f"token embeddings of {towers.arch} are {towers.text_width} wide, the memory is {towers.embed_dim}: "
            "the row needs an architecture where both agree"
        )
    return towers.clip.token_embedding(ids)
