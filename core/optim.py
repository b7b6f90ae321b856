"""Optimiser and schedule as published (Table II, section IV-A): AdamW, linear LR scaling, warm-up and cosine."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import AdamW

from core.precision import DTYPES

REFERENCE_BATCH = 512  # the batch at which encoder_lr holds (Table II)
UNDECAYED = ("position_queries", "token_embedding.weight", "context_embedding.weight")


@dataclass(frozen=True)
class Optimisation:
    """How a model is trained. Exactly one of `epochs` and `steps` is given.

    Args:
        encoder_lr: for the towers, at a batch of 512; scaled linearly with the batch.
        scratch_multiplier: times that, for what is trained from scratch.
        batch: images an optimiser step, over all devices and accumulation.
        device_batch: most images at once on one device; the rest is accumulated.
        warmup: share of the steps with a linearly growing learning rate, before the cosine.
        clip_grad_norm: largest norm of the gradient.
        precision: "no" (float32), "bf16" or "fp16", as accelerate names them; a processor that would have to emulate
            bfloat16 computes in float32 instead (`core.precision.fit_for`).
        workers: loader processes a device.
        save_every: steps between resumable states.
        validate_every: steps between validations.
        fused: AdamW's update of all weights in one kernel, on GPUs and on the CPU.
        compile: the towers' blocks through torch.compile, which takes a minute before the first step and pays on GPUs.
        explosion: a loss above this many times the median of the last 100 steps (taken as at least 1) stops the run.
    """

    encoder_lr: float
    scratch_multiplier: float
    weight_decay: float
    betas: tuple[float, float]
    eps: float
    batch: int
    device_batch: int
    epochs: float | None
    steps: int | None
    warmup: float
    clip_grad_norm: float
    precision: str
    workers: int
    save_every: int
    validate_every: int
    fused: bool
    compile: bool
    explosion: float

    def __post_init__(self):
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"EPOCHS = {self.epochs} and TRAIN_STEPS = {self.steps}: give exactly one, the other None")
        if (self.epochs or self.steps) <= 0:
            raise ValueError(f"EPOCHS = {self.epochs}, TRAIN_STEPS = {self.steps}: nothing would be trained")
        for name in ("encoder_lr", "batch", "device_batch", "save_every", "validate_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Optimisation.{name} = {getattr(self, name)} is not positive")
        if self.precision not in DTYPES:
            raise ValueError(f"Optimisation.precision = {self.precision!r}: expected one of {', '.join(DTYPES)}")
        if self.explosion <= 1:
            raise ValueError(f"Optimisation.explosion = {self.explosion}: a loss like the others would stop the run; say 10")
        if self.batch % self.device_batch:
            raise ValueError(f"BATCH = {self.batch} is not a multiple of DEVICE_BATCH = {self.device_batch}")

    def total_steps(self, images: int) -> int:
        """Optimiser steps for a training set of that many images."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * (images // self.batch)))

    def accumulation(self, devices: int) -> int:
        """Forward passes an optimiser step on each device: as few as DEVICE_BATCH allows.

        Raises:
            ValueError: the batch cannot be shared out evenly.
        """
        share, rest = divmod(self.batch, devices)
        if rest:
            raise ValueError(f"BATCH = {self.batch} is not a multiple of the {devices} processes that share it")
        return next(passes for passes in range(1, share + 1) if share % passes == 0 and share <= passes * self.device_batch)

    def micro_batch(self, devices: int) -> int:
        """Images of one forward pass."""
        return self.batch // devices // self.accumulation(devices)

    @property
    def lr(self) -> float:
        """The towers' peak learning rate."""
        return self.encoder_lr * self.batch / REFERENCE_BATCH

    def optimiser(self, model: nn.Module) -> AdamW:
        return AdamW(self.groups(model), betas=self.betas, eps=self.eps, fused=self.fused)

    def groups(self, model: nn.Module) -> list[dict]:
        """Parameter groups: towers or from scratch (adapters too), decayed or not; frozen weights are in none.

        Args:
            model: `CLIP4STR`, whose `tower_names` says which parameters are the towers' own.
        """
        sorted_out: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                decayed = parameter.squeeze().ndim >= 2 and not name.endswith(UNDECAYED)
                sorted_out.setdefault((name in model.tower_names, decayed), []).append(parameter)
        return [
            {
                "name": f"{'towers' if pretrained else 'scratch'}, {'decayed' if decayed else 'not decayed'}",
                "params": parameters,
                "peak_lr": self.lr * (1 if pretrained else self.scratch_multiplier),
                "weight_decay": self.weight_decay if decayed else 0.0,
            }
            for (pretrained, decayed), parameters in sorted(sorted_out.items(), reverse=True)
        ]

    def set_lr(self, optimiser: torch.optim.Optimizer, step: int, steps: int) -> float:
        """Set every group's learning rate for step 0 ... steps - 1; returns the towers' rate, peak x schedule."""
        factor = warmup_cosine(step, steps, self.warmup)
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor
        return self.lr * factor


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at step 0 ... steps - 1: linear over the share `warmup`, then a cosine to 0."""
    rising = warmup * steps
    if step < rising:
        return min(1.0, (step + 1) / rising)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
