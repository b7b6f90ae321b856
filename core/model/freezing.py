"""Which weights of the towers stay as pretrained (section V-B, Table VI).

A tower is an ordered list of groups: embeddings, blocks, the rest. Freezing is a fraction of the blocks, so it means
the same in a tower of 4, 12 or 24 layers.
"""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Freezing:
    """The share of each tower's blocks that is frozen, from the input up.

    0 freezes the embeddings alone ([CLASS], positions, tokens), as every row of Table VI does; 1 freezes the whole
    tower; None freezes nothing at all. On the image tower the patch embedding, ln_pre, ln_post and projection are
    trained until the whole tower is frozen.

    Raises:
        ValueError: a fraction is outside [0, 1].
    """

    image: float | None
    text: float | None

    def __post_init__(self):
        for tower in ("image", "text"):
            fraction = getattr(self, tower)
            if fraction is not None and not 0 <= fraction <= 1:
                raise ValueError(f"{tower.upper()}_FROZEN = {fraction}: a fraction of the blocks lies in [0, 1]")

    def apply(self, clip: nn.Module) -> None:
        """Set requires_grad on an open_clip model.

        Raises:
            ValueError: the fraction does not fall on a whole number of blocks.
        """
        clip.requires_grad_(True)
        visual = clip.visual
        embeddings = [visual.class_embedding, visual.positional_embedding]
        freeze(self.image, "image", visual.transformer.resblocks, embeddings, visual)
        rest = [*clip.ln_final.parameters(), clip.text_projection]
        embeddings = [clip.token_embedding.weight, clip.positional_embedding, clip.logit_scale]
        freeze(self.text, "text", clip.transformer.resblocks, embeddings, [*clip.transformer.parameters(), *rest])


def frozen_blocks(fraction: float, blocks: int, tower: str) -> int:
    """How many of `blocks` a fraction freezes, refused where that is not a whole number."""
    count = fraction * blocks
    if abs(count - round(count)) > 1e-6:
        raise ValueError(
            f"{tower.upper()}_FROZEN = {fraction} of {blocks} layers is {count:g} layers: choose a multiple of 1/{blocks}"
        )
    return round(count)


def freeze(fraction: float | None, tower: str, blocks: nn.ModuleList, embeddings: list, whole: nn.Module | list) -> None:
    """Freeze the embeddings, the first blocks, and at fraction 1 the `whole` tower."""
    if fraction is None:
        return
    frozen = [*embeddings]
    for block in blocks[: frozen_blocks(fraction, len(blocks), tower)]:
        frozen += block.parameters()
    if fraction == 1:
        frozen += whole.parameters() if isinstance(whole, nn.Module) else whole
    for parameter in frozen:
        parameter.requires_grad_(False)
