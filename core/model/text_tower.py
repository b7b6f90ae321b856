"""Text towers of open_clip, returning every text token instead of one (section III-A1).

B batch, L text tokens, W width, D joint width.
"""

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.model.freezing import Layers

POOLED = ("first", "last", "argmax", "eos")  # open_clip's names of the position that stands for a text


class TextTower:
    """The text half of `core.model.tower_protocols.ImageTextTowers`, for classes whose `text` is a text tower of open_clip.

    `text` has `token_embedding`, `positional_embedding`, `transformer`, `attn_mask`, `ln_final` and `text_projection`, whether
    it is open_clip's TextTransformer or its CLIP, which holds the same. `text_cfg` is its part of the architecture.
    """

    text: nn.Module
    text_cfg: dict

    def text_layers(self) -> Layers:
        """Tokens, positions and what scales the similarity; the blocks; last norm and projection."""
        text, blocks = self.text, list(self.text.transformer.resblocks)
        embeddings = [text.token_embedding.weight, text.positional_embedding, *self.unreached()]
        return Layers(embeddings, blocks, [*text.ln_final.parameters(), *projection_weights(text.text_projection)])

    def embed_text(self, ids: Tensor) -> Tensor:
        """The token embeddings alone: ids B L to B L W."""
        return self.text.token_embedding(ids)

    def encode_text(self, ids: Tensor) -> Tensor:
        """All positions through ln_final and the text projection: ids B L to B L D."""
        text, length = self.text, ids.shape[1]
        tokens = text.token_embedding(ids) + text.positional_embedding[:length]  # B L W
        mask = None if text.attn_mask is None else text.attn_mask[:length, :length]
        tokens = text.ln_final(text.transformer(tokens, attn_mask=mask))
        projection = text.text_projection
        if projection is None:
            return tokens
        return projection(tokens) if isinstance(projection, nn.Module) else tokens @ projection

    def caption_ends(self, ids: Tensor) -> Tensor:
        """The position that the model pools: ids B L to B."""
        pooled = self.text_cfg.get("pool_type", "argmax")
        if pooled == "argmax":
            return ids.argmax(1)  # [EOS] has the largest id
        if pooled == "eos":
            return (ids == self.text_cfg.get("eos_id", 2)).int().argmax(1)
        return torch.full_like(ids[:, 0], ids.shape[1] - 1 if pooled == "last" else 0)


def projection_weights(projection: nn.Module | nn.Parameter | None) -> list[nn.Parameter]:
    """The weights of a text projection, whichever of its three kinds it is."""
    if projection is None:
        return []
    return list(projection.parameters()) if isinstance(projection, nn.Module) else [projection]


def check_text(text_cfg: dict, context_length: int, arch: str | dict) -> None:
    """Raise UserError if a text tower's architecture is not one that can be read position by position at this length."""
    if "hf_model_name" in text_cfg or text_cfg.get("embed_cls") or text_cfg.get("pool_type", "argmax") not in POOLED:
        raise UserError(f"{arch}: its text tower is not open_clip's own; name a model whose text_cfg has no hf_model_name")
    positions = text_cfg.get("context_length", 77)
    if not 3 <= context_length <= positions:
        raise UserError(f"context_length {context_length}: {arch} has {positions} text positions, the least is 3")
    if text_cfg.get("no_causal_mask") and context_length != positions:
        raise UserError(
            f"context_length {context_length}: every token of {arch} attends to all of its {positions} text positions, padding "
            f"too; set CONTEXT_LENGTH = {positions}"
        )
