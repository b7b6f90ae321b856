"""Count what a row's model holds and trains, without loading or allocating a weight.

python -m core.summary ablations/table_VI/image3-text6.gin --scale paper
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from core import config
from core.experiment import Loaded, load
from core.model.clip4str import CLIP4STR


@dataclass(frozen=True)
class Part:
    """Parameters of one part of the model."""

    total: int
    trainable: int


@dataclass(frozen=True)
class Summary:
    """Parameter counts; `encoders_trainable` is #Params of Table VI."""

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


def summarise(model: CLIP4STR) -> Summary:
    """Counts of a model, on whatever device it lives."""
    clip = model.towers.clip
    image = count(clip.visual.parameters())
    encoders = count(model.towers.parameters())
    parts = {
        "image tower": image,
        "text tower": Part(encoders.total - image.total, encoders.trainable - image.trainable),
        "visual decoder": count(model.visual_decoder.parameters()),
        "cross decoder": count(model.cross_decoder.parameters()),
    }
    whole = count(model.parameters())
    return Summary(
        total=whole.total,
        trainable=whole.trainable,
        frozen=whole.total - whole.trainable,
        encoders_total=encoders.total,
        encoders_trainable=encoders.trainable,
        image_layers=len(clip.visual.transformer.resblocks),
        text_layers=len(clip.transformer.resblocks),
        parts=parts,
    )


def meta_model(loaded: Loaded) -> nn.Module:
    """The row's model without memory for its weights."""
    with torch.device("meta"):
        return loaded.experiment.model()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Count the parameters of a row's model; loads no weights.")
    parser.add_argument("row", help="gin file, e.g. ablations/table_VI/image0-text6.gin")
    parser.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    parser.add_argument("--set", action="append", default=[], metavar="'NAME = value'", help="override a macro, repeatable")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    with config.user_errors():
        summary = summarise(meta_model(load(options.row, options.scale, options.set)))
    if options.json:
        print(json.dumps(asdict(summary)))
        return
    table = Table("part", "parameters", "trainable", title=f"{options.row} at scale {options.scale}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, part in summary.parts.items():
        table.add_row(name, f"{part.total:,}", f"{part.trainable:,}")
    table.add_section()
    table.add_row("encoders", f"{summary.encoders_total:,}", f"{summary.encoders_trainable:,}")
    table.add_row("all", f"{summary.total:,}", f"{summary.trainable:,}")
    Console().print(table)
    print(f"image tower {summary.image_layers} layers, text tower {summary.text_layers} layers, {summary.frozen:,} frozen")


if __name__ == "__main__":
    main()
