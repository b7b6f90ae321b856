"""Parameter counts of a model: total, trainable, and by part; no weights are loaded."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from torch import nn

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
