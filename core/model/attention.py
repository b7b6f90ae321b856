"""Multi-head attention: over keys and values projected in advance (decoders), and self-attention (towers).

B batch, H heads, S queries, M keys and values, D width. Masks broadcast to B H S M. They are boolean, True where a query may
attend, or numbers that are added to the scores.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeysValues(NamedTuple):
    """Keys and values of one attention layer, split by head: B H M D/H each. They can be joined: projection is per token."""

    keys: Tensor
    values: Tensor

    def join(self, other: "KeysValues") -> "KeysValues":
        """Both, one after the other along the tokens."""
        return KeysValues(torch.cat([self.keys, other.keys], 2), torch.cat([self.values, other.values], 2))

    def take(self, rows: Tensor) -> "KeysValues":
        """The given rows of the batch, repeated where `rows` repeats."""
        return KeysValues(self.keys[rows], self.values[rows])

    def side_by_side(self, rows: int) -> "KeysValues":
        """Every `rows` rows as one, their tokens one after the other: B K rows of L tokens to B of K L."""
        keys, values = (tensor.unflatten(0, (-1, rows)).transpose(1, 2).flatten(2, 3) for tensor in self)
        return KeysValues(keys, values)

    def first(self, tokens: int) -> "KeysValues":
        """The leading tokens alone."""
        return KeysValues(self.keys[:, :, :tokens], self.values[:, :, :tokens])


def split(tokens: Tensor, num_heads: int) -> Tensor:
    """By head: B M D to B H M D/H."""
    return tokens.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V, heads side by side: B S D.

    Uses torch's fused kernel, except in bfloat16 on a CPU with gradients enabled: there plain matrix products are faster,
    forward and backward together (docs/performance.md).

    Args:
        queries: B H S d.
        keys, values: B H M d.
    """
    if queries.dtype == torch.bfloat16 and queries.device.type == "cpu" and torch.is_grad_enabled():
        read = F.dropout(weights(queries, keys, mask), dropout).to(torch.bfloat16) @ values
    else:
        read = F.scaled_dot_product_attention(queries, keys, values, mask, dropout)
    return read.transpose(1, 2).flatten(2)  # B S D


def weights(queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
    """The attention weight of each query on each key: B H S M."""
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.mT  # B H S M
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


class Attention(nn.Module):
    """Attention of the decoders; keys and values can be projected once and used many times."""

    def __init__(self, embed_dim: int, num_heads: int, attn_drop: float):
        super().__init__()
        self.num_heads = num_heads
        self.attn_drop = attn_drop
        self.q = nn.Linear(embed_dim, embed_dim)
        self.kv = nn.Linear(embed_dim, 2 * embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)

    def keys_values(self, tokens: Tensor) -> KeysValues:
        keys, values = self.kv(tokens).chunk(2, -1)  # B M D each
        return KeysValues(split(keys, self.num_heads), split(values, self.num_heads))

    def forward(self, queries: Tensor, memory: KeysValues, allowed: Tensor | None = None) -> Tensor:
        dropout = self.attn_drop if self.training else 0.0
        return self.out(attend(split(self.q(queries), self.num_heads), *memory, allowed, dropout))  # B S D


class SelfAttention(nn.Module):
    """A drop-in for `nn.MultiheadAttention` in a tower's block: same result, same parameters and names, no copies."""

    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        self.num_heads = attention.num_heads
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj

    def forward(
        self, tokens: Tensor, _keys: Tensor, _values: Tensor, *, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens B M W to B M W and, with `need_weights`, the attention weights averaged over heads, B M M.

        Called as open_clip's blocks call torch's module: with the same tokens three times.
        """
        projected = F.linear(tokens, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)  # B M W each
        queries, keys, values = (split(each, self.num_heads) for each in projected)  # B H M W/H each
        read = self.out_proj(attend(queries, keys, values, attn_mask))
        return read, weights(queries, keys, attn_mask).mean(1) if need_weights else None


def own_attention(blocks: nn.ModuleList) -> None:
    """Give an open_clip transformer's blocks `SelfAttention` in place of torch's module; blocks of other kinds keep theirs."""
    for block in blocks:
        if type(block.attn) is nn.MultiheadAttention:
            block.attn = SelfAttention(block.attn)
