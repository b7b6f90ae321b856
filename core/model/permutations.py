"""Reading orders (permutations) and their attention masks (section III-A2, Table I).

Positions count the whole sequence [B] y1 ... yT [E]: 0 is [B], T + 1 is [E]. `rank[p]` is the place of position p in
the order. Output i predicts position i + 1 and may read context position j iff rank[j] < rank[i + 1].

K permutations, T letters, N outputs (T + 1), L context positions (N): [B] and the letters.
"""

import math

import torch
from torch import Tensor


def sample_permutations(letters: int, count: int, mirrored: bool, generator: torch.Generator) -> Tensor:
    """Distinct orders of [B] y1 ... yT [E]: forward, reverse, then random ones (with their mirror images).

    Every order begins with [B] and ends with [E], but the reverse one, which asks for [E] right after [B]: so [E] is
    also learned without context, as PARSeq does.

    Args:
        letters: T, of the longest word of the batch.
        count: K; fewer are returned where T letters do not have K orders.

    Returns:
        K T+2, int64; row k lists positions in the order they are predicted.
    """
    orders = [list(range(letters))]
    if count > 1 and letters > 1:
        orders.append(orders[0][::-1])
    known = {tuple(order) for order in orders}
    wanted = min(count, math.factorial(letters))
    while len(orders) < wanted:
        order = torch.randperm(letters, generator=generator).tolist()
        for candidate in (order, order[::-1]) if mirrored else (order,):
            if tuple(candidate) not in known and len(orders) < wanted:
                known.add(tuple(candidate))
                orders.append(candidate)
    rows = [[0, *(letter + 1 for letter in order), letters + 1] for order in orders]
    if len(rows) > 1:
        rows[1] = [0, *range(letters + 1, 0, -1)]
    return torch.tensor(rows)


def ranks_of(permutations: Tensor) -> Tensor:
    """The inverse permutations: ranks[k, p] is the place of position p in order k."""
    return permutations.argsort(-1)


def query_mask(ranks: Tensor) -> Tensor:
    """What each output may read: K N L, True where allowed."""
    return ranks[..., None, :-1] < ranks[..., 1:, None]


def content_mask(ranks: Tensor) -> Tensor:
    """What each context position may read of the context, itself included: K L L (decoders of two or more layers)."""
    return ranks[..., None, :-1] <= ranks[..., :-1, None]


def forward_ranks(outputs: int, device: torch.device | None = None) -> Tensor:
    """Left to right over `outputs` outputs: 1 N+1."""
    return torch.arange(outputs + 1, device=device)[None]


def cloze_mask(outputs: int, device: torch.device | None = None) -> Tensor:
    """Each output reads every context position but its own character (Table I, middle): N L."""
    return ~torch.ones(outputs, outputs, dtype=torch.bool, device=device).triu(1).tril(1)
