"""Table I: the attention masks of the decoder, written down for a few letters.

python -m core.figures.masks --letters 3 --out results/tables/masks.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.cli import at_least
from core.errors import user_errors

LEAST = 3  # letters: fewer have no order but forward and reverse


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.figures.masks",
        description="Write the three masks of Table I as JSON; python -m reports.masks FILE FOLDER makes the table.",
    )
    about = f"letters of the word, at least {LEAST} (default: 3, as printed)"
    parser.add_argument("--letters", type=at_least(LEAST), default=3, help=about)
    parser.add_argument("--seed", type=int, default=0, help="seed of the random order (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.json)")
    options = parser.parse_args(arguments)

    from core.figures.decoder_masks import masks
    from core.files import write_json

    with user_errors():
        found = masks(options.letters, options.seed)
        write_json(options.out, found)
        print(f"random order: {' '.join(found['masks'][2]['order'])}; written to {options.out}")


if __name__ == "__main__":
    main()
