"""Figure 2: what the image tower attends to in word images of each benchmark.

python -m core.figures.attention ablations/figures/attention.gin --data my-world --out results/figures/attention
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.cli import add_data, add_scale, add_settings, add_threads
from core.errors import user_errors


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.figures.attention",
        description="Save the attention maps of an image tower for word images of every benchmark (Figure 2); "
        "python -m reports.figures figure_2 FOLDER STEM draws them.",
    )
    parser.add_argument("plan", help="gin file that binds attention_maps.Attention: ablations/figures/attention.gin")
    add_data(parser, "test/<benchmark>/data.mdb")
    parser.add_argument("--out", type=Path, required=True, help="folder to write: maps.npz and maps.json")
    add_scale(parser)
    add_settings(parser)
    add_threads(parser)
    options = parser.parse_args(arguments)

    from core.figures.attention_maps import save_maps

    with user_errors():
        save_maps(options)


if __name__ == "__main__":
    main()
