"""Count what a row's model holds and trains, or say what tells one row from another; loads no weights.

python -m core.experiment.summary ablations/table_VI/image3-text6.gin --scale paper
python -m core.experiment.summary ablations/table_VI/image3-text6.gin --against ablations/table_VI/image0-text6.gin
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from torch import nn

from core import config
from core.errors import user_errors
from core.experiment.difference import Difference, difference
from core.experiment.experiment import load
from core.model.clip4str import CLIP4STR


@dataclass(frozen=True)
class Part:
    """Parameters of one part of the model."""

    total: int
    trainable: int


@dataclass(frozen=True)
class Summary:
    """Parameter counts; `encoders_trainable` is #Params of Table VI, the image tower's part that of Tables VII and VIII."""

    total: int
    trainable: int
    frozen: int
    encoders_total: int
    encoders_trainable: int
    image_layers: int
    text_layers: int
    parts: dict[str, Part]


def count(parameters) -> Part:
    parameters = list(parameters)
    return Part(sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad))


def count_module(module: nn.Module | None) -> Part:
    return Part(0, 0) if module is None else count(module.parameters())


def summarise(model: CLIP4STR) -> Summary:
    """Counts of a model, on whatever device it lives; an adapter counts among the encoders."""
    towers, text = model.towers, model.towers.text_layers()
    both, adapter, whole = count(towers.parameters()), count_module(model.adapter), count(model.parameters())
    text_part = Part(0, 0)
    if text is not None:
        inside = [parameter for block in text.blocks for parameter in block.parameters()]
        text_part = count([*text.embeddings, *inside, *text.rest])
    parts = {
        "image tower": Part(both.total - text_part.total, both.trainable - text_part.trainable),
        "text tower": text_part,
        "adapter": adapter,
        "visual decoder": count_module(model.visual_decoder),
        "cross decoder": count_module(model.cross_decoder),
    }
    return Summary(
        total=whole.total,
        trainable=whole.trainable,
        frozen=whole.total - whole.trainable,
        encoders_total=both.total + adapter.total,
        encoders_trainable=both.trainable + adapter.trainable,
        image_layers=len(towers.image_layers().blocks),
        text_layers=len(text.blocks) if text is not None else 0,
        parts=parts,
    )


def compare(row: str, against: str, scale: str, bindings: Sequence[str]) -> Difference:
    """What two rows do not share at a scale (see `core.experiment.difference`); `bindings` are for the first."""
    return difference(load(row, scale, bindings), load(against, scale))


def show_counts(summary: Summary, title: str) -> None:
    table = Table("part", "parameters", "trainable", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, part in summary.parts.items():
        if part.total:
            table.add_row(name, f"{part.total:,}", f"{part.trainable:,}")
    table.add_section()
    table.add_row("encoders", f"{summary.encoders_total:,}", f"{summary.encoders_trainable:,}")
    table.add_row("all", f"{summary.total:,}", f"{summary.trainable:,}")
    Console().print(table)
    layers = f"image tower {summary.image_layers} layers, text tower {summary.text_layers or 'no'} layers"
    print(f"{layers}, {summary.frozen:,} frozen")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Count the parameters of a row's model, or say what tells it from another row; loads no weights."
    )
    parser.add_argument("row", help="gin file, e.g. ablations/table_VI/image0-text6.gin")
    parser.add_argument("--against", metavar="ROW", help="another gin file: what differs; exit status 1 where nothing does")
    parser.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    parser.add_argument("--set", action="append", default=[], metavar="'NAME = value'", help="override a macro, repeatable")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    with user_errors():
        if options.against:
            found = compare(options.row, options.against, options.scale, options.set)
            print(json.dumps(asdict(found)) if options.json else found.text(options.row, options.against))
            if found.empty:
                sys.exit(1)
            return
        summary = summarise(load(options.row, options.scale, options.set).blueprint)
    if options.json:
        print(json.dumps(asdict(summary)))
    else:
        show_counts(summary, f"{options.row} at scale {options.scale}")


if __name__ == "__main__":
    main()
