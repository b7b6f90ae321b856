"""The decoder's attention masks (Table I) for a word of a few letters, by the model's own code."""

import torch

from core.model.permutations import cloze_mask, forward_ranks, query_mask, ranks_of, sample_permutations


def masks(letters: int, seed: int) -> dict:
    """The left-to-right, the cloze and one random mask over [B] y1 ... yT [E], with the names of outputs and context.

    Args:
        letters: 3 or more; fewer have no order but forward and reverse.
    """
    positions = ["[B]", *(f"y{letter}" for letter in range(1, letters + 1)), "[E]"]
    forward, _, shuffled = sample_permutations(letters, 3, mirrored=False, generator=torch.Generator().manual_seed(seed))
    drawn = query_mask(ranks_of(shuffled[None]))[0]
    return {
        "letters": letters,
        "seed": seed,
        "outputs": positions[1:],
        "context": positions[:-1],
        "masks": [
            described("ar", query_mask(forward_ranks(letters + 1))[0], [positions[p] for p in forward[1:]]),
            described("cloze", cloze_mask(letters + 1), None),
            described("random", drawn, [positions[p] for p in shuffled[1:]]),
        ],
    }


def described(name: str, allowed: torch.Tensor, order: list[str] | None) -> dict:
    """A mask for the file: `allowed` is true where an output may read a context position."""
    return {"name": name, "order": order, "allowed": allowed.tolist()}
