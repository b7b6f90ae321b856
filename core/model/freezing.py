"""Which weights of the towers stay as pretrained (section V-B, Table VI).

A tower is an ordered list of groups: embeddings, blocks, the rest. Freezing is a fraction of the blocks, so it means
the same in a tower of 4, 12 or 24 layers.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from core.errors import UserError


class Layers(NamedTuple):
    """The parameters of a tower in order, from the input up, for freezing the first ones."""

    embeddings: list[nn.Parameter]
    blocks: list[nn.Module]
    rest: list[nn.Parameter]  # trained until the whole tower is frozen


@dataclass(frozen=True)
class Freezing:
    """The share of each tower's blocks that is frozen, from the input up.

    0 freezes the embeddings alone ([CLASS] and positions; tokens and positions); 1 freezes the whole tower; None freezes
    nothing at all, as the released code does with the image tower where the paper says 0. On the image tower the patch
    embedding, ln_pre, ln_post and projection are trained until the whole tower is frozen. What no weights file holds (the
    towers' `added`) is random, so it is always trained.

    Raises:
        UserError: a fraction is outside [0, 1].
    """

    image: float | None
    text: float | None

    def __post_init__(self):
        for tower in ("image", "text"):
            fraction = getattr(self, tower)
            if fraction is not None and not (type(fraction) in (int, float) and 0 <= fraction <= 1):
                raise UserError(
                    f"{tower.upper()}_FROZEN = {fraction!r}: a fraction of the blocks lies in [0, 1]; None freezes nothing"
                )

    def apply(self, towers: nn.Module) -> None:
        """Set requires_grad on the towers' weights.

        Raises:
            UserError: a fraction does not fall on a whole number of blocks, or there is no text tower to freeze.
        """
        towers.requires_grad_(True)
        freeze(self.image, "image", towers.image_layers())
        text = towers.text_layers()
        if text is not None:
            freeze(self.text, "text", text)
        elif self.text is not None:
            raise UserError(f"TEXT_FROZEN = {self.text}: {towers.arch} is used without a text tower; set it to None")
        for parameter in towers.added():
            parameter.requires_grad_(True)


def frozen_blocks(fraction: float, blocks: int, tower: str) -> int:
    """How many of `blocks` a fraction freezes; UserError if that is not a whole number."""
    count = fraction * blocks
    if abs(count - round(count)) > 1e-6:
        raise UserError(
            f"{tower.upper()}_FROZEN = {fraction} of {blocks} layers is {count:g} layers: choose a multiple of 1/{blocks}"
        )
    return round(count)


def freeze(fraction: float | None, tower: str, layers: Layers) -> None:
    """Freeze the embeddings, the first blocks, and at fraction 1 the whole tower."""
    if fraction is None:
        return
    frozen = [*layers.embeddings]
    for block in layers.blocks[: frozen_blocks(fraction, len(layers.blocks), tower)]:
        frozen += block.parameters()
    if fraction == 1:
        frozen += layers.rest
    for parameter in frozen:
        parameter.requires_grad_(False)
