"""Bytes that a training step keeps for its backward pass, measured on the model itself on torch's meta device.

Counted is what autograd saves, each storage once, in float32. Attention counts as a fused kernel computes it: queries, keys,
values, outputs and one number per query, never the matrix of scores, which the meta device would keep.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from core.experiment.operations import fake_captions
from core.model.clip4str import CLIP4STR
from core.model.permutations import sample_permutations

FEW, MORE = 2, 4  # images of two steps, whose difference has nothing in it that does not grow with the images


class FusedAttention(TorchFunctionMode):
    """Attention that saves what fused kernels save, for tensors without values."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            return SavedByAttention.apply(*args[:3])
        return function(*args, **(kwargs or {}))


class SavedByAttention(torch.autograd.Function):
    """The shapes of an attention's forward pass alone: ... N D queries, ... M D keys and values."""

    @staticmethod
    def forward(ctx, queries, keys, values):
        outputs = torch.empty_like(queries)  # in the queries' memory order, as fused kernels: joining the heads copies nothing
        sums = queries.new_empty(outputs.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(queries, keys, values, outputs, sums)
        return outputs


@dataclass(frozen=True)
class Saved:
    """Bytes that the forward pass of a training step saves in float32: for each image, and once whatever their number."""

    image: float
    once: float


def saved_bytes(model: CLIP4STR, captions: float) -> Saved:
    """The bytes that a training step saves, for words of the maximum length.

    Args:
        model: on the meta device (`core.experiment.experiment.Loaded.blueprint`).
        captions: see `core.experiment.operations.cost`.
    """
    few, more = saved_by(model, FEW, captions), saved_by(model, MORE, captions)
    image = (more - few) / (MORE - FEW)
    return Saved(image, max(0.0, few - FEW * image))


def saved_by(model: CLIP4STR, count: int, captions: float) -> int:
    """Bytes that a forward pass over `count` images saves, weights aside."""
    weights = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    storages: dict[int, torch.UntypedStorage] = {}  # held, so that no other takes the place of one

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            storages[storage._cdata] = storage
        return tensor

    letters, generator = model.max_letters, torch.Generator().manual_seed(0)
    images = torch.zeros(count, 3, *model.towers.image_size, device=next(model.parameters()).device)
    orders = sample_permutations(letters, model.num_permutations, model.mirrored, generator)
    model.train()
    hooks = torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor)
    with fake_captions(model, letters, captions), FusedAttention(), hooks:
        model.losses(images, [model.tokenizer.charset[0] * letters] * count, orders)
    return sum(storage.nbytes() for storage in storages.values())
