"""Write a trained model as graphs that other programs run, and check them against the model.

python -m core.export results/runs/<run>/seed0 my-reader
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.choices import DECODE
from core.cli import add_model, add_refine_steps
from core.errors import user_errors
from core.export import WORDS


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="python -m core.export",
        description="Write a model as graphs of a fixed number of steps, for batches of any size: visual.onnx (or .pt2) from "
        "pixels to the visual branch's logits, cross.onnx from those and a caption's token ids to the cross-modal branch's, "
        "and reader.json, which says what core.export.reader needs to know. The graphs are compared with the model before "
        "OUT appears. ONNX needs the optional packages: pip install 'clip4str-ablations[export]'.",
        epilog="Exit status: 0 if the graphs read as the model does, 1 otherwise.",
    )
    add_model(command)
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write; must not hold anything yet")
    about = "onnx for onnxruntime and others, pt2 for torch.export.load (default: %(default)s)"
    command.add_argument("--format", choices=("onnx", "pt2"), default="onnx", help=about)
    about = "the visual branch alone, or both where the model has both (default: both)"
    command.add_argument("--branches", choices=("visual", "both"), help=about)
    about = "first pass of Algorithm 1: one step per character, or all characters at once (default: %(default)s)"
    command.add_argument("--decode", choices=DECODE, default="ar", help=about)
    add_refine_steps(command)
    about = f"image files or folders of them to compare the readings of (default: {WORDS} rendered words)"
    command.add_argument("--check", type=Path, nargs="+", metavar="IMAGE", help=about)
    return command


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)

    with user_errors():
        from core.export.run import export

        export(options)


if __name__ == "__main__":
    main()
