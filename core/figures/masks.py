"""Table I: the decoder's attention masks for a word of a few letters, by the model's own code.

python -m core.figures.masks --letters 3 --out results/maps/masks.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.cli import at_least
from core.errors import user_errors

LEAST = 3  # letters: fewer have no order but forward and reverse


def masks(letters: int, seed: int) -> dict:
    """The left-to-right, the cloze and one random mask over [B] y1 ... yT [E], with the names of outputs and context.

    `allowed` of a mask is true where an output may read a context position; `order` is the order of reading.
    """
    import torch

    from core.model.permutations import cloze_mask, forward_ranks, query_mask, ranks_of, sample_permutations

    positions = ["[B]", *(f"y{letter}" for letter in range(1, letters + 1)), "[E]"]
    forward, _, shuffled = sample_permutations(letters, 3, mirrored=False, generator=torch.Generator().manual_seed(seed))
    allowed = {
        "ar": (query_mask(forward_ranks(letters + 1))[0], forward),
        "cloze": (cloze_mask(letters + 1), None),
        "random": (query_mask(ranks_of(shuffled[None]))[0], shuffled),
    }
    drawn = [
        {"name": name, "order": None if order is None else [positions[p] for p in order[1:]], "allowed": mask.tolist()}
        for name, (mask, order) in allowed.items()
    ]
    return {"letters": letters, "seed": seed, "outputs": positions[1:], "context": positions[:-1], "masks": drawn}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.figures.masks",
        description="Write the three masks of Table I as JSON; python -m reports.masks FILE FOLDER makes the table.",
    )
    about = f"letters of the word, at least {LEAST} (default: 3, as in the paper)"
    parser.add_argument("--letters", type=at_least(LEAST), default=3, help=about)
    parser.add_argument("--seed", type=int, default=0, help="seed of the random order (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.json)")
    options = parser.parse_args(arguments)

    from core.files import write_json

    with user_errors():
        content = masks(options.letters, options.seed)
        write_json(options.out, content)
        print(f"random order: {' '.join(content['masks'][2]['order'])}; written to {options.out}")


if __name__ == "__main__":
    main()
