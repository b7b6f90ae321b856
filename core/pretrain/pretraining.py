"""Pretrain the micro world's towers: on words and captions, or on pictures with classes.

python -m core.pretrain ablations/micro/clip.gin ablations/micro/clip.safetensors
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from torch import Tensor, nn

from core.data.transforms import ToTensor
from core.files import atomic_file


class Task(Protocol):
    """What a network learns from drawn images (`core.pretrain`)."""

    network: nn.Module
    image_size: tuple[int, int]
    draw: Callable[[int], tuple[Image.Image, object]]  # image number i and its label, the same in any process

    def choose(self, labels: list, batch: int, rng: np.random.Generator) -> list[int]:
        """Positions of a batch's images."""

    def loss(self, images: Tensor, labels: list, rng: np.random.Generator) -> tuple[Tensor, float]:
        """What is minimised, and an accuracy to watch."""

    def save(self, path: Path) -> None:
        """Write what the study uses of the network."""


@dataclass(frozen=True)
class Pretraining:
    """One pretraining: task and schedule.

    Args:
        images: rendered once; `steps` of `batch` pass over them.
        normalisation: of the images.
    """

    task: Task
    images: int
    steps: int
    batch: int
    lr: float
    weight_decay: float
    betas: tuple[float, float]
    warmup: float
    clip_grad_norm: float
    normalisation: str
    seed: int


@dataclass(frozen=True)
class DrawSmall:
    """One image at the network's size, for worker processes."""

    draw: Callable[[int], tuple[Image.Image, object]]
    image_size: tuple[int, int]

    def __call__(self, index: int) -> tuple[np.ndarray, object]:
        image, label = self.draw(index)
        height, width = self.image_size
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)), label


def render_all(plan: Pretraining, workers: int) -> tuple[np.ndarray, list]:
    """Grey images N H W (uint8) and their labels."""
    draw = DrawSmall(plan.task.draw, plan.task.image_size)
    with get_context("fork").Pool(workers) as pool:
        drawn = pool.imap(draw, range(plan.images), chunksize=256)
        pairs = list(track(drawn, "rendering", total=plan.images))
    return np.stack([pixels for pixels, _ in pairs]), [label for _, label in pairs]


def pretrain(plan: Pretraining, out: Path, workers: int) -> float:
    """Train the network and write it; returns the mean accuracy over the last tenth of the steps."""
    images, labels = render_all(plan, workers)
    transform = ToTensor(plan.task.image_size, plan.normalisation)
    network = plan.task.network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.lr, betas=plan.betas, eps=1e-6, weight_decay=plan.weight_decay)
    rng, accuracies = np.random.default_rng(plan.seed), []
    columns = (TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn()) as bar:
        shown = bar.add_task("pretrain", total=plan.steps, note="")
        for step in range(1, plan.steps + 1):
            chosen = plan.task.choose(labels, plan.batch, rng)
            loss, accuracy = plan.task.loss(transform.batch(images[chosen]), [labels[i] for i in chosen], rng)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), plan.clip_grad_norm)
            for group in optimiser.param_groups:
                group["lr"] = plan.lr * warmup_cosine(step - 1, plan.steps, plan.warmup)
            optimiser.step()
            accuracies.append(accuracy)
            note = f"loss {loss.item():.3f}  accuracy {100 * np.mean(accuracies[-100:]):.1f} %"
            bar.update(shown, completed=step, note=note)
            if step % 100 == 0 and not bar.console.is_terminal:
                print(f"step {step}: {note}", flush=True)
    with atomic_file(out) as partial:
        plan.task.save(partial)
    return float(np.mean(accuracies[-max(1, plan.steps // 10) :]))


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at step 0 ... steps - 1: linear over the share `warmup`, then a cosine to 0."""
    rising = warmup * steps
    if step < rising:
        return min(1.0, (step + 1) / rising)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
