"""Settings of CLIP4STR that are refused: of another kind, or without an effect."""

import inspect
from collections.abc import Callable

from torch import nn

from core.errors import UserError
from core.model.freezing import Freezing
from core.model.memory import token_embeddings


def check_orders(num_permutations: int, mirrored: bool) -> None:
    """Raise UserError if the reading orders cannot be drawn, or if MIRRORED would change nothing."""
    if not isinstance(num_permutations, int) or num_permutations < 1:
        raise UserError(f"PERMUTATIONS (num_permutations) = {num_permutations!r}: expected a whole number of at least 1")
    if type(mirrored) is not bool:
        raise UserError(f"MIRRORED = {mirrored!r}: expected True or False")
    if not mirrored and num_permutations <= 3:
        raise UserError(f"MIRRORED = False changes nothing with PERMUTATIONS = {num_permutations}: no order has a mirror image")


def check_references(read_image: object, read_caption: object) -> None:
    """Raise UserError if a text stands where a reference to a function belongs (its @ was forgotten)."""
    for name, value in (("read_image", read_image), ("read_caption", read_caption)):
        if value is not None and not callable(value):
            raise UserError(f"CLIP4STR.{name} = {value!r}: expected a reference, like @memory.all_tokens")


def check_branches(
    towers: nn.Module, read_caption: Callable | None, block_image_gradient: bool, predicted_context: bool
) -> None:
    """Raise UserError if the cross-modal branch lacks a text tower, or if one of its knobs is set in a model without it."""
    for knob, value in (("BLOCK_IMAGE_GRADIENT", block_image_gradient), ("PREDICTED_CONTEXT", predicted_context)):
        if type(value) is not bool:
            raise UserError(f"{knob} = {value!r}: expected True or False")
    if read_caption is not None and towers.text_layers() is None:
        raise UserError(f"CLIP4STR.read_caption: {towers.arch} is used without a text tower; set it to None")
    if read_caption is None and (predicted_context or not block_image_gradient):
        knob = "PREDICTED_CONTEXT = True" if predicted_context else "BLOCK_IMAGE_GRADIENT = False"
        raise UserError(f"{knob} changes nothing: the model has no cross-modal branch")


def check_text_freezing(read_caption: Callable | None, freezing: Freezing) -> None:
    """Raise UserError if blocks of a text tower are frozen or trained of which the embeddings alone are read."""
    if read_caption is not None and inspect.unwrap(read_caption) is token_embeddings and freezing.text not in (None, 1):
        raise UserError(
            f"TEXT_FROZEN = {freezing.text}: memory.token_embeddings reads no block of the text tower; set 1.0 to keep the "
            "embeddings fixed, or None to train them"
        )
