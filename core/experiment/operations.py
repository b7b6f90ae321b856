"""Floating-point operations of a model, counted on the model itself without memory for its weights (meta device).

What is counted is what runs: a frozen part only forward, a prefix that no trained weight lies below without a backward
pass, the cross branch on a detached image memory, keys and values of a memory once for all orders. Counted are matrix
products, convolutions and attention (`torch.utils.flop_counter`), a multiplication and an addition as two; norms,
activations, the optimiser and the loader are not.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from core.errors import UserError
from core.model.captions import Captions
from core.model.clip4str import CLIP4STR
from core.model.decoding import single_pass
from core.model.permutations import sample_permutations

IMAGES = 2  # counted at once; operations are proportional to them


@dataclass(frozen=True)
class Cost:
    """Operations per image.

    Args:
        train: a training step, forward and backward.
        encode: reading, the image tower.
        decode: the rest of inference: every output of every pass of Algorithm 1.
    """

    train: float
    encode: float
    decode: float


@dataclass(frozen=True)
class FakeCaptions:
    """In place of `CaptionReader`, since blueprints hold no values: a share `distinct` of the words differ.

    No more of them than `letters` of `characters` can spell.
    """

    context_length: int
    characters: int
    letters: int
    distinct: float

    def begin(self, ids: torch.Tensor) -> torch.Tensor:
        return ids

    def finish(self, ids: torch.Tensor) -> Captions:
        kinds = max(1, min(round(self.distinct * len(ids)), self.characters**self.letters))
        return Captions(ids.new_zeros(kinds, self.context_length), torch.arange(len(ids)) % kinds)


def cost(model: CLIP4STR, *, letters: int, captions: float, refine_steps: int = 1) -> Cost:
    """Operations per image of training and reading.

    Args:
        model: on the meta device (`core.experiment.experiment.Loaded.blueprint`); fused kernels of other devices are not
            counted.
        letters: length of a batch's longest word.
        captions: share of the visual branch's readings (images x orders) that differ: equal ones are read once.
        refine_steps: T_i of Algorithm 1.

    Raises:
        UserError: `captions` is not a share, or words are longer than the model's.
    """
    if not 0 < captions <= 1:
        raise UserError(f"captions = {captions}: a share lies in (0, 1]")
    if not 1 <= letters <= model.max_letters:
        raise UserError(f"letters = {letters}: the model reads 1 to {model.max_letters}")
    encode, decode = reading(model, refine_steps)
    return Cost(training_flops(model, letters, captions, model.num_permutations), encode, decode)


def released_training_flops(model: CLIP4STR, letters: int) -> float:
    """Operations per image of a training step as the released code computes it, which Table II was measured with.

    There the text tower, the memory's keys and values and both decoders run once per order, and every caption is read.
    """
    tower = training_flops(model, letters, 1.0, orders=0)
    return tower + model.num_permutations * (training_flops(model, letters, 1.0, orders=1) - tower)


def training_flops(model: CLIP4STR, letters: int, captions: float, orders: int) -> float:
    """Operations per image of a forward and backward pass; of the image tower alone for no orders."""
    model.train()
    images = empty_images(model)
    with fake_captions(model, letters, captions), FlopCounterMode(display=False) as counter:
        if orders:
            generator = torch.Generator().manual_seed(0)
            permutations = sample_permutations(letters, orders, model.mirrored, generator)
            result = model.losses(images, [model.tokenizer.charset[0] * letters] * IMAGES, permutations).total
        else:
            result = model.image_memory(images).sum()
        if result.requires_grad:
            result.backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops() / IMAGES


@torch.no_grad()
def reading(model: CLIP4STR, refine_steps: int) -> tuple[float, float]:
    """(Image tower, everything after it) per image, every word as long as can be and no caption read twice."""
    model.eval()
    with FlopCounterMode(display=False) as tower:
        image_memory = model.image_memory(empty_images(model))
    with FlopCounterMode(display=False) as rest:
        outputs = image_memory.new_zeros(IMAGES, model.visual_decoder.max_outputs, model.tokenizer.num_classes)
        memory = model.visual_decoder.project_memory(image_memory)
        for _ in range(1 + refine_steps):
            single_pass(model.visual_decoder, memory, outputs, model.tokenizer)
        if model.cross_decoder is not None:
            image_kv = model.cross_decoder.project_memory(image_memory)
            tokens = image_memory.new_zeros((IMAGES, model.towers.context_length), dtype=torch.long)
            for _ in range(1 + refine_steps):
                read = model.cross_decoder.project_memory(model.read_caption(model.towers, tokens))
                both = [image.join(text) for image, text in zip(image_kv, read, strict=True)]
                single_pass(model.cross_decoder, both, outputs, model.tokenizer)
    return tower.get_total_flops() / IMAGES, rest.get_total_flops() / IMAGES


def empty_images(model: CLIP4STR) -> torch.Tensor:
    device = next(model.parameters()).device
    return torch.zeros(IMAGES, 3, *model.towers.image_size, device=device)


@contextlib.contextmanager
def fake_captions(model: CLIP4STR, letters: int, captions: float) -> Iterator[None]:
    """The model, with captions of known cost in place of those that it would make of its predictions."""
    if model.cross_decoder is None:
        yield
        return
    own = model.captions
    model.captions = FakeCaptions(model.towers.context_length, len(model.caption_charset), letters, captions)
    try:
        yield
    finally:
        model.captions = own
