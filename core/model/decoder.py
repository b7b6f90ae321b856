"""The decoder: learnable position queries read characters, then the memory (section III-C, Fig. 4, Eq. 4-6).

B batch, S queries (N positions, or K N for K permutations), L context positions, M memory tokens, H heads, D width,
C classes. Masks are boolean, True where a query may look.
"""

import math

import torch
from torch import Tensor, nn

from core.errors import UserError
from core.model.attention import Attention, KeysValues
from core.model.permutations import content_mask, query_mask


def per_head(allowed: Tensor) -> Tensor:
    """A mask that broadcasts over the heads: B S L to B 1 S L."""
    return allowed[..., None, :, :]


class DecoderLayer(nn.Module):
    """One pre-norm two-stream layer; `stream` updates the queries and, in all but the last layer, the content."""

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float, dropout: float):
        super().__init__()
        hidden = round(embed_dim * mlp_ratio)
        self.norm_q = nn.LayerNorm(embed_dim)
        self.norm_c = nn.LayerNorm(embed_dim)
        self.context_attn = Attention(embed_dim, num_heads, dropout)
        self.norm_m = nn.LayerNorm(embed_dim)
        self.memory_attn = Attention(embed_dim, num_heads, dropout)
        self.norm_f = nn.LayerNorm(embed_dim)
        self.mlp = nn.Sequential(nn.Linear(embed_dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, embed_dim))
        self.drop = nn.Dropout(dropout)

    def stream(
        self,
        x: Tensor,
        normed: Tensor,
        context: KeysValues,
        memory: KeysValues,
        allowed: Tensor | None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Eq. (4) to (6) without the classifier: B S D.

        Args:
            allowed: mask over the context, broadcasts to B H S L; None allows all of it.
            memory_mask: mask over the memory, S M; None allows all of it.
        """
        x = x + self.drop(self.context_attn(normed, context, allowed))
        x = x + self.drop(self.memory_attn(self.norm_m(x), memory, memory_mask))
        return x + self.drop(self.mlp(self.norm_f(x)))


class Decoder(nn.Module):
    """Position queries, context embedding, layers, classifier.

    Args:
        embed_dim: D, the width of the joint image-text space.
        num_classes: C, the characters and [E]; the context embedding also knows [B] and [P].
        max_outputs: N, the longest word and its [E].

    Raises:
        UserError: the width is not a multiple of the heads, or a size is not positive.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        depth: int,
        mlp_ratio: float,
        dropout: float,
        num_classes: int,
        max_outputs: int,
    ):
        super().__init__()
        for knob, value in (("DECODER_HEADS", num_heads), ("DECODER_DEPTH", depth)):
            if type(value) is not int:
                raise UserError(f"{knob} = {value!r}: expected a whole number")
        if type(dropout) not in (int, float) or not 0 <= dropout <= 1:
            raise UserError(f"DROPOUT = {dropout!r}: expected a share from 0 to 1")
        if num_heads < 1 or embed_dim % num_heads:
            raise UserError(f"decoder width {embed_dim} is not a multiple of its {num_heads} heads")
        if depth < 1:
            raise UserError(f"decoder depth {depth} is below 1")
        self.embed_dim, self.num_heads, self.num_classes = embed_dim, num_heads, num_classes
        self.max_outputs = max_outputs
        self.position_queries = nn.Parameter(torch.empty(max_outputs, embed_dim))
        self.context_embedding = nn.Embedding(num_classes + 2, embed_dim)
        self.layers = nn.ModuleList(DecoderLayer(embed_dim, num_heads, mlp_ratio, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)
        self.drop = nn.Dropout(dropout)
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise as PARSeq does: truncated normal (0.02), Xavier uniform for attention's input projection, zero biases."""
        nn.init.trunc_normal_(self.position_queries, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.trunc_normal_(module.weight, std=0.02)
        bound = math.sqrt(6 / (4 * self.embed_dim))
        for module in self.modules():
            if isinstance(module, Attention):
                nn.init.uniform_(module.q.weight, -bound, bound)
                nn.init.uniform_(module.kv.weight, -bound, bound)

    def embed_context(self, ids: Tensor, first: int | Tensor = 0) -> Tensor:
        """Context ids B L, the first of them at position `first`, to B L D; [B] carries no position."""
        context = math.sqrt(self.embed_dim) * self.context_embedding(ids)
        positions = first + torch.arange(ids.shape[1], device=ids.device)
        places = self.position_queries[(positions - 1).clamp(min=0)] * (positions > 0)[:, None]
        return self.drop(context + places)

    def project_memory(self, memory: Tensor) -> list[KeysValues]:
        """Keys and values of memory B M D for every layer, computed once per memory."""
        return [layer.memory_attn.keys_values(memory) for layer in self.layers]

    def classify(self, queries: Tensor) -> Tensor:
        return self.head(self.norm(queries))

    def forward(
        self,
        context_ids: Tensor,
        memory: list[KeysValues],
        allowed: Tensor,
        content_allowed: Tensor | None = None,
        positions: Tensor | None = None,
        contexts: list[KeysValues] | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits of many positions at once.

        Args:
            context_ids: B L.
            memory: the result of `project_memory`.
            allowed: broadcasts to B S L.
            content_allowed: broadcasts to B L L; needed from depth 2 on.
            positions: S, which position each query asks for; 0 ... S-1 when left out.
            contexts: a list that receives every layer's keys and values of the context.
            memory_mask: S M, what each query may read of the memory; all of it when left out.

        Returns:
            B S C.
        """
        if positions is None:
            positions = torch.arange(allowed.shape[-2], device=context_ids.device)
        content = self.embed_context(context_ids)  # B L D
        queries = self.drop(self.position_queries[positions].expand(context_ids.shape[0], -1, -1))  # B S D
        for depth, (layer, layer_memory) in enumerate(zip(self.layers, memory, strict=True), start=1):
            normed = layer.norm_c(content)
            context = layer.context_attn.keys_values(normed)
            if contexts is not None:
                contexts.append(context)
            queries = layer.stream(queries, layer.norm_q(queries), context, layer_memory, per_head(allowed), memory_mask)
            if depth < len(self.layers):  # after the queries, which read the content of the layer below
                content = layer.stream(content, normed, context, layer_memory, per_head(content_allowed))
        return self.classify(queries)

    def step(self, ids: Tensor, position: int, cache: list[KeysValues | None], memory: list[KeysValues]) -> Tensor:
        """One autoregressive step: add the context ids B at `position` to the cache, predict the output there: B C.

        Equal to `forward` with the left-to-right masks, at the cost of one position; `cache` is changed in place.
        """
        content = self.embed_context(ids[:, None], first=position)  # B 1 D
        queries = self.position_queries[position].expand(ids.shape[0], 1, -1)  # B 1 D
        for depth, (layer, layer_memory) in enumerate(zip(self.layers, memory, strict=True)):
            normed = layer.norm_c(content)
            new, old = layer.context_attn.keys_values(normed), cache[depth]
            cache[depth] = new if old is None else old.join(new)  # before the queries: an output reads the newest character
            queries = layer.stream(queries, layer.norm_q(queries), cache[depth], layer_memory, None)
            if depth + 1 < len(self.layers):
                content = layer.stream(content, normed, cache[depth], layer_memory, None)
        return self.classify(queries)[:, 0]

    def step_in_place(self, ids: Tensor, position: Tensor, cache: list[KeysValues], memory: list[KeysValues]) -> Tensor:
        """`step` in shapes that never change, as a CUDA graph needs it.

        Args:
            position: one number in a tensor.
            cache: has room for every character; those from `position` on are written or masked.
        """
        content = self.embed_context(ids[:, None], position)  # B 1 D
        queries = self.position_queries[position].expand(ids.shape[0], 1, -1)  # B 1 D
        there = torch.arange(cache[0].keys.shape[2], device=ids.device)[None] <= position  # 1 L
        for depth, (layer, layer_memory, written) in enumerate(zip(self.layers, memory, cache, strict=True), start=1):
            normed = layer.norm_c(content)
            for place, new in zip(written, layer.context_attn.keys_values(normed), strict=True):
                place.index_copy_(2, position, new)
            queries = layer.stream(queries, layer.norm_q(queries), written, layer_memory, there)
            if depth < len(self.layers):
                content = layer.stream(content, normed, written, layer_memory, there)
        return self.classify(queries)[:, 0]

    def permuted(
        self,
        context_ids: Tensor,
        memory: list[KeysValues],
        ranks: Tensor,
        readable: Tensor,
        captions: list[KeysValues] | None = None,
    ) -> Tensor:
        """All K orders of B images in one pass (section III-A2).

        With one layer the content is never updated, so orders that share the context share its keys and values and
        those of the image, and only the queries are repeated; so one mask of dropout serves the context of all orders, where
        PARSeq draws one for each. Otherwise each order becomes a row of the batch, with a mask of its own.

        Args:
            context_ids: B L, shared by the orders, or B K rows, order fastest.
            memory: projected memory of B rows, shared by the orders.
            ranks: K L+1, or B K L+1 where images have orders of their own.
            readable: a mask like context_ids, False where the context holds [E] or padding.
            captions: projected captions of B K rows, which each order reads in addition to the memory.

        Returns:
            B K N C.
        """
        batch, orders, masks = len(memory[0].keys), ranks.shape[-2], query_mask(ranks)  # (B) K N L
        if len(self.layers) == 1 and len(context_ids) == batch:
            positions = torch.arange(masks.shape[-2], device=ranks.device).repeat(orders)
            allowed = (masks & readable[:, None, None]).flatten(1, 2)  # B KN L
            memory_mask = None
            if captions is not None:
                memory_mask = own_caption_mask(masks.shape[-2], memory[0], captions[0], orders)
                memory = [image.join(text.side_by_side(orders)) for image, text in zip(memory, captions, strict=True)]
            logits = self(context_ids, memory, allowed, positions=positions, memory_mask=memory_mask)  # B KN C
            return logits.unflatten(1, (orders, -1))
        if len(context_ids) == batch:
            context_ids, readable = (tensor.repeat_interleave(orders, 0) for tensor in (context_ids, readable))
        rows = torch.arange(batch, device=ranks.device).repeat_interleave(orders)
        memory = [layer_memory.take(rows) for layer_memory in memory]
        if captions is not None:
            memory = [image.join(text) for image, text in zip(memory, captions, strict=True)]
        allowed = masks.expand(batch, -1, -1, -1).flatten(0, 1) & readable[:, None]  # BK N L
        content_allowed = content_mask(ranks).expand(batch, -1, -1, -1).flatten(0, 1) & readable[:, None]  # BK L L
        return self(context_ids, memory, allowed, content_allowed).unflatten(0, (batch, orders))


def own_caption_mask(outputs: int, image: KeysValues, captions: KeysValues, orders: int) -> Tensor:
    """Mask with which every query attends to the image and to the caption of its own order only: K N x (M + K L)."""
    tokens, letters = image.keys.shape[2], captions.keys.shape[2]
    order = torch.arange(orders, device=image.keys.device)
    own = order.repeat_interleave(outputs)[:, None] == order.repeat_interleave(letters)
    return torch.cat([own.new_ones(len(own), tokens), own], 1)
