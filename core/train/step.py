"""The gradient of one optimiser step, independent of how many processes and passes share its images.

The loss is a mean over target tokens (Eq. 7), so each pass is weighted by its share of the step's tokens. Every image uses the
permutations of its block, drawn for the longest word of the whole step, as in an undivided batch.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from core.data.loading import Batch
from core.errors import TrainingError
from core.model.clip4str import CLIP4STR, Losses
from core.train.orders import Orders


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """A seed of its own for every step and process, so that no generator's state has to survive a restart.

    A CPU's generator looks at the last 32 bits alone, a GPU's at all 64.
    """
    return (seed * 1_000_003 + step) * 16 + process % 16 + (process // 16 << 48)


class LossModule(nn.Module):
    """A model whose forward pass is its losses, as autocast and DistributedDataParallel want it."""

    def __init__(self, model: CLIP4STR):
        super().__init__()
        self.model = model
        self.graphed_tower: tuple[int, Callable[[Tensor], Tensor]] | None = None  # of so many images (core.train.tower_graphs)

    def forward(self, images: Tensor, words: list[str], permutations: Tensor) -> Losses:
        tokens = None
        if self.graphed_tower is not None and self.graphed_tower[0] == len(images):
            tokens = self.graphed_tower[1](images)  # B M D
        return self.model.losses(images, words, permutations, tokens)


class Share(NamedTuple):
    """What one process contributes to a step: the sizes that the weights of passes depend on, and skipped samples."""

    longest: int
    words: int
    letters: int
    skipped: list[tuple[str, str]]  # (reason, key) of samples that could not be decoded


def share_of(batches: Sequence[Batch]) -> Share:
    lengths = [len(word) for batch in batches for word in batch.labels]
    return Share(max(lengths, default=0), len(lengths), sum(lengths), [skip for batch in batches for skip in batch.skipped])


def target_tokens(words: int, letters: int, orders: int) -> int:
    """Targets of so many words: their letters in every order, their [E] in the first two (`CLIP4STR.losses`)."""
    return orders * letters + min(orders, 2) * words


def backward(
    network: nn.Module,
    model: CLIP4STR,
    batches: Sequence[Batch],
    starts: Sequence[int],
    shares: Sequence[Share],
    accelerator: Accelerator,
    orders: Orders,
) -> Tensor:
    """Accumulate the gradient of a whole step, on every process; returns its total, visual and cross loss (NaN: no branch).

    Args:
        network: `LossModule` of `model`, prepared by the accelerator.
        batches: this process's batches, one per pass.
        starts: where each batch begins among the images of the step.
        shares: the `Share` of every process.
        orders: the reading orders of the step.

    Raises:
        TrainingError: no image of the step could be decoded.
    """
    words, letters = sum(share.words for share in shares), sum(share.letters for share in shares)
    if not words:
        example = next(skip for share in shares for skip in share.skipped)
        raise TrainingError(f"no image of a whole batch could be decoded, e.g. {example[1]}")
    longest = max(share.longest for share in shares)
    losses = torch.zeros(3, device=accelerator.device)
    for number, (batch, start) in enumerate(zip(batches, starts, strict=True)):
        permutations = orders.of([start + place for place in batch.places], longest)
        count = permutations.shape[-2]
        weight = target_tokens(len(batch.labels), sum(map(len, batch.labels)), count) / target_tokens(words, letters, count)
        synced = contextlib.nullcontext() if number == len(batches) - 1 else accelerator.no_sync(network)
        with synced:  # processes exchange gradients only in the last pass, once per step
            parts = forward(network, model, batch, accelerator.device, permutations)
            accelerator.backward(parts.total * (weight * len(shares)))  # DistributedDataParallel takes the mean
        cross = torch.full_like(parts.visual, torch.nan) if parts.cross is None else parts.cross
        losses += weight * torch.stack([parts.total, parts.visual, cross]).detach()
    return accelerator.reduce(losses, "sum")


def forward(network: nn.Module, model: CLIP4STR, batch: Batch, device: torch.device, permutations: Tensor) -> Losses:
    """The losses of one pass; if no image of it could be decoded, those of a blank image, which then has weight 0."""
    if not batch.labels:
        blank = torch.zeros(1, 3, *model.towers.image_size, device=device)
        return network(blank, [model.tokenizer.charset[0]], permutations)
    return network(batch.normalised(device), batch.labels, permutations)
