"""Writes docs/recipe.md: every hyper-parameter as published, as released, as set here, and where it is set.

python -m ablations.recipe            writes docs/recipe.md
python -m ablations.recipe --check    fails if the page, or a line of ablations/recipe.yaml, is not what the rows build
"""

import argparse
from collections.abc import Sequence

from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ablations.recipe",
        description="Write docs/recipe.md: published, released and our value of every knob.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not up to date")
    options = parser.parse_args(arguments)

    from ablations.recipe_page import check, write

    with user_errors():
        check() if options.check else write()


if __name__ == "__main__":
    main()
