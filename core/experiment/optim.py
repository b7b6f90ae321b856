"""Optimiser and schedule as released (Table II, section IV-A): AdamW, linear LR scaling, one cycle."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import SGD, AdamW, NAdam, Optimizer

from core.choices import PRECISIONS
from core.errors import UserError

REFERENCE_BATCH = 512  # the batch at which encoder_lr holds (Table II)
UNDECAYED = ("position_queries", "token_embedding.weight", "context_embedding.weight")
RATES = ("towers", "scratch")
WHOLE = ("steps", "batch", "block", "device_batch", "workers", "save_every", "validate_every", "most_skipped")
NUMBERS = ("epochs", "encoder_lr", "scratch_multiplier", "weight_decay", "eps", "warmup", "clip_grad_norm", "max_loss_ratio")
POSITIVE = (
    *("batch", "block", "device_batch", "save_every", "validate_every"),
    *("encoder_lr", "scratch_multiplier", "eps", "clip_grad_norm"),
)
FROM_0 = ("workers", "weight_decay")
KNOBS = {"steps": "TRAIN_STEPS"} | {name: name.upper() for name in ("epochs", "batch", "device_batch", "weight_decay", "eps")}
FIRST, LAST = 25, 250_000  # the peak learning rate over the first and the last: defaults of torch's OneCycleLR


@dataclass(frozen=True)
class Averaging:
    """Stochastic weight averaging (Izmailov et al. 2018) as in PARSeq's recipe: the mean of snapshots is the trained model.

    Snapshots are taken at evenly spaced steps from `start` on, the first at `start` itself. Until `start` the learning rate
    follows its schedule; from there on it stays. PARSeq's own code lets it fall further meanwhile, towards the schedule's value
    at `start` of the rate before it was scaled by the batch (half of ours).

    Args:
        start: share of the steps, above 0 and below 1.
        snapshots: number of snapshots; with 20 epochs, 5 from 0.75 on are the starts of the last five epochs.
    """

    start: float
    snapshots: int

    def __post_init__(self):
        if not 0 < self.start < 1:
            raise UserError(f"Averaging.start = {self.start}: a share of the steps lies between 0 and 1")
        if self.snapshots < 2:
            raise UserError(f"Averaging.snapshots = {self.snapshots}: at least two make a mean; or set AVERAGING = None")

    def steps(self, steps: int) -> list[int]:
        """After which of 1 ... `steps` snapshots are taken; fewer in a run that is too short to tell them apart."""
        spaced = (self.start + (1 - self.start) * number / self.snapshots for number in range(self.snapshots))
        return sorted({max(1, round(share * steps)) for share in spaced})


def sgd(groups: list[dict], plan: "Optimisation") -> SGD:
    """Stochastic gradient descent with Nesterov momentum, which is zero before the first step.

    torch would make the momentum at the first step, by a kernel that leaves it as memory happened to be if that step is left
    out (a loss that is not finite, or float16's first scale).
    """
    optimiser = SGD(groups, lr=plan.lr, momentum=plan.betas[0], nesterov=True, fused=plan.fused)
    for group in optimiser.param_groups:
        for weight in group["params"]:
            optimiser.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimiser


ALGORITHMS: dict[str, Callable[[list[dict], "Optimisation"], Optimizer]] = {  # all with decoupled or plain weight decay
    "AdamW": lambda groups, plan: AdamW(groups, betas=plan.betas, eps=plan.eps, fused=plan.fused),
    "NAdam": lambda groups, plan: NAdam(groups, betas=plan.betas, eps=plan.eps, decoupled_weight_decay=True),
    "SGD": sgd,
}


@dataclass(frozen=True)
class Optimisation:
    """How a model is trained. Exactly one of `epochs` and `steps` is given.

    Args:
        algorithm: one of ALGORITHMS.
        encoder_lr: for the towers, at a batch of 512; scaled linearly with the batch.
        scratch_multiplier: times that, for what is trained from scratch.
        adapter_rate: "towers" or "scratch", whose learning rate an adapter's own weights have.
        averaging: averaging of weights; None keeps the last ones.
        batch: images per optimiser step, over all devices and accumulation.
        block: images of a step that are read in the same orders (one draw of K permutations per block).
        device_batch: most images at once on one device; the rest is accumulated.
        warmup: share of the steps with a growing learning rate.
        clip_grad_norm: largest norm of the gradient.
        precision: "no" (float32), "bf16" or "fp16", as accelerate names them; where the device has no bfloat16, see
            `core.runtime.precision.fit_for`.
        workers: loader processes per device.
        save_every: steps between resumable states.
        validate_every: steps between validations.
        fused: AdamW's and SGD's update of all weights in one kernel, on GPUs and on the CPU; NAdam has none.
        compile: the towers' blocks through torch.compile; on the one GPU where it was tried it did not pay (docs/gpu.md).
        graphs: the image tower's passes as CUDA graphs (`core.train.tower_graphs`), for hosts that are slower than their GPU.
        deterministic: on a GPU the same bits every time (`core.runtime.repeatable`).
        max_loss_ratio: a loss above this many times the median of the last 100 steps (taken as at least 1) stops the run.
        most_skipped: steps of the last 100 that may be left out because their loss or gradient is not finite; one more
            stops the run.
    """

    algorithm: str
    encoder_lr: float
    scratch_multiplier: float
    adapter_rate: str
    weight_decay: float
    betas: tuple[float, float]
    eps: float
    averaging: Averaging | None
    batch: int
    block: int
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
    graphs: bool
    deterministic: bool
    max_loss_ratio: float
    most_skipped: int

    def __post_init__(self):
        self.refuse_values()
        if (self.epochs is None) == (self.steps is None):
            raise UserError(f"EPOCHS = {self.epochs} and TRAIN_STEPS = {self.steps}: give exactly one, the other None")
        if (self.epochs or self.steps) <= 0:
            raise UserError(f"EPOCHS = {self.epochs}, TRAIN_STEPS = {self.steps}: nothing would be trained")
        if self.algorithm not in ALGORITHMS:
            raise UserError(f"ALGORITHM = {self.algorithm!r}: expected one of {', '.join(ALGORITHMS)}")
        if self.precision not in PRECISIONS:
            raise UserError(f"Optimisation.precision = {self.precision!r}: expected one of {', '.join(PRECISIONS)}")
        if self.adapter_rate not in RATES:
            raise UserError(f"ADAPTER_RATE = {self.adapter_rate!r}: expected one of {', '.join(RATES)}")
        if not 0 < self.warmup < 1:
            raise UserError(f"Optimisation.warmup = {self.warmup}: a share of the steps lies between 0 and 1")
        if self.max_loss_ratio <= 1:
            raise UserError(f"Optimisation.max_loss_ratio = {self.max_loss_ratio}: an ordinary loss would stop the run; try 10")
        if self.most_skipped < 0:
            raise UserError(f"Optimisation.most_skipped = {self.most_skipped}: expected 0 or more steps")
        if self.batch % self.device_batch:
            raise UserError(f"BATCH = {self.batch} is not a multiple of DEVICE_BATCH = {self.device_batch}")

    def refuse_values(self) -> None:
        """Raise UserError for a value of another kind, such as 1e4 for a number of steps, or out of its range."""
        for name in (*WHOLE, *NUMBERS):
            value, called = getattr(self, name), KNOBS.get(name, f"Optimisation.{name}")
            if value is None and name in ("steps", "epochs"):
                continue
            if name in WHOLE and type(value) is not int:
                raise UserError(f"{called} = {value!r}: expected a whole number, written without point and exponent")
            if type(value) not in (int, float):
                raise UserError(f"{called} = {value!r}: expected a number")
            if name in POSITIVE and not value > 0:
                raise UserError(f"{called} = {value} is not positive")
            if name in FROM_0 and not value >= 0:
                raise UserError(f"{called} = {value}: expected 0 or more")
        if not all(type(beta) in (int, float) and 0 <= beta < 1 for beta in self.betas) or len(self.betas) != 2:
            raise UserError(f"BETAS = {self.betas}: expected two numbers from 0 to below 1")
        if self.algorithm == "SGD" and not self.betas[0]:
            raise UserError(f"BETAS = {self.betas}: the first is SGD's momentum, which is above 0")
        if not isinstance(self.averaging, Averaging | None):
            raise UserError(f"AVERAGING = {self.averaging!r}: expected None or @optim.Averaging()")

    def total_steps(self, images: int) -> int:
        """Optimiser steps for a training set of that many images."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * (images // self.batch)))

    def accumulation(self, devices: int) -> int:
        """Forward passes per optimiser step on each device: as few as DEVICE_BATCH allows.

        Raises:
            UserError: the batch cannot be shared out evenly.
        """
        share, rest = divmod(self.batch, devices)
        if rest:
            raise UserError(f"BATCH = {self.batch} is not a multiple of the {devices} processes that share it")
        return next(passes for passes in range(1, share + 1) if share % passes == 0 and share <= passes * self.device_batch)

    def micro_batch(self, devices: int) -> int:
        """Images of one forward pass."""
        return self.batch // devices // self.accumulation(devices)

    @property
    def lr(self) -> float:
        """The towers' peak learning rate."""
        return self.encoder_lr * self.batch / REFERENCE_BATCH

    def optimiser(self, model: nn.Module) -> Optimizer:
        return ALGORITHMS[self.algorithm](self.groups(model), self)

    def groups(self, model: nn.Module) -> list[dict]:
        """Parameter groups: at the towers' rate or from scratch, decayed or not; frozen weights are in none.

        Args:
            model: `CLIP4STR`, whose `tower_names` and `adapter_names` say which parameters are the towers' own and which
                an adapter brought.
        """
        gentle = model.tower_names | (model.adapter_names if self.adapter_rate == "towers" else frozenset())
        sorted_out: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                decayed = parameter.squeeze().ndim >= 2 and not name.endswith(UNDECAYED)
                sorted_out.setdefault((name in gentle, decayed), []).append(parameter)
        return [
            {
                "name": f"{'towers' if tower_rate else 'scratch'}, {'decayed' if decayed else 'not decayed'}",
                "params": parameters,
                "peak_lr": self.lr * (1 if tower_rate else self.scratch_multiplier),
                "weight_decay": self.weight_decay if decayed else 0.0,
            }
            for (tower_rate, decayed), parameters in sorted(sorted_out.items(), reverse=True)
        ]

    def set_lr(self, optimiser: Optimizer, step: int, steps: int) -> float:
        """Set every group's learning rate for step 0 ... steps - 1; returns the towers' rate, peak x schedule."""
        held = step if self.averaging is None else min(step, self.averaging.steps(steps)[0])
        factor = one_cycle(held, steps, self.warmup)
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor
        return self.lr * factor


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at step 0 ... steps - 1, as torch's OneCycleLR has it.

    A cosine from 1/25 up over the share `warmup` of the steps, and a cosine down to 1/250,000. A function of the step, so
    that no scheduler's state has to survive a restart.
    """
    top, end = warmup * steps - 1, steps - 1
    if top > 0 and step <= top:
        return between(1 / FIRST, 1.0, step / top)
    return between(1.0, 1 / LAST, (step - top) / (end - top))


def between(first: float, last: float, share: float) -> float:
    """Half a cosine wave from `first` to `last`."""
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))
