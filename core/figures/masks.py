"""Table I: the attention masks of the decoder, written down for a few letters.

python -m core.figures.masks --letters 3 --out results/tables/masks.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from core.errors import UserError, user_errors
from core.files import write_json
from core.model.permutations import cloze_mask, forward_ranks, query_mask, ranks_of, sample_permutations

LEAST = 3  # letters: fewer have no order but forward and reverse


def masks(letters: int, seed: int) -> dict:
    """The left-to-right, the cloze and one random mask over [B] y1 ... yT [E], with the names of outputs and context.

    Raises:
        UserError: there are too few letters for a random order.
    """
    if letters < LEAST:
        raise UserError(f"--letters {letters}: at least {LEAST}, fewer have no order but forward and reverse")
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Write the three masks of Table I as JSON; python -m reports.masks FILE FOLDER makes the table."
    )
    parser.add_argument("--letters", type=int, default=3, help=f"of the word, at least {LEAST} (default: 3, as printed)")
    parser.add_argument("--seed", type=int, default=0, help="of the random order (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.json)")
    options = parser.parse_args(arguments)
    with user_errors():
        found = masks(options.letters, options.seed)
        write_json(options.out, found)
        print(f"random order: {' '.join(found['masks'][2]['order'])}; written to {options.out}")


if __name__ == "__main__":
    main()
