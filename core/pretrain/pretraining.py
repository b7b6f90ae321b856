"""The training loop for pretraining a rendered world's towers, whatever the task (`python -m core.pretrain`)."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from torch import Tensor, nn

from core.data.transforms import ToTensor
from core.errors import TrainingError
from core.files import append_json, atomic_file
from core.run_files import STATES, TRAINING_LOG
from core.runtime.compute import pick_device
from core.runtime.precision import autocast, fit_for
from core.train.state import Interrupted, Stopper, drop_after, resume, run_lock, save_state
from core.weights.made import RECIPE

LOG_EVERY = 20  # steps


class Task(Protocol):
    """A pretraining task on drawn images (`core.pretrain`); all of its state is in `network`."""

    network: nn.Module
    image_size: tuple[int, int]
    draw: Callable[[int], tuple[Image.Image, object]]  # image number i and its label, the same in any process

    def choose(self, labels: list, batch: int, rng: np.random.Generator) -> list[int]:
        """Positions of a batch's images."""

    def loss(self, images: Tensor, labels: list, rng: np.random.Generator) -> tuple[Tensor, float]:
        """The loss in float32, and an accuracy to watch; called under the autocast of the configured precision."""

    def save(self, path: Path, metadata: dict[str, str] | None) -> None:
        """Write what the study uses of the network."""


@dataclass(frozen=True)
class Pretraining:
    """One pretraining: task and schedule.

    Args:
        images: rendered once; `steps` of `batch` pass over them.
        lr: peak learning rate; it rises over the share `warmup` of the steps, then falls as a cosine.
        weight_decay, betas: of AdamW.
        clip_grad_norm: largest norm of the gradient.
        seed: of batches and captions.
        normalisation: normalisation of the images.
        precision: "no" (float32) or "bf16", which is float32 where the device has no instructions for it.
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
    precision: str
    seed: int


def draw_small(draw: Callable, image_size: tuple[int, int], index: int) -> tuple[np.ndarray, object]:
    """One image at the network's size, and its label."""
    image, label = draw(index)
    height, width = image_size
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)), label


def render_all(plan: Pretraining, workers: int) -> tuple[np.ndarray, list]:
    """Images N H W, or N H W 3 in colour (uint8), and their labels."""
    draw = partial(draw_small, plan.task.draw, plan.task.image_size)
    first, _ = draw(0)  # here, so that the processes inherit what the first image has to look for: words, fonts, fractals
    images, labels = np.empty((plan.images, *first.shape), np.uint8), []
    with get_context("fork").Pool(workers) as pool:
        drawn = pool.imap(draw, range(plan.images), chunksize=256)
        for number, (pixels, label) in enumerate(track(drawn, "rendering", total=plan.images)):
            images[number] = pixels
            labels.append(label)
    return images, labels


def pretrain(
    plan: Pretraining,
    out: Path,
    workers: int,
    *,
    save_every: int = 500,
    keep_every: int = 0,
    identity: str = "",
    recipe: str = "",
) -> float:
    """Train the network and write it; returns the mean accuracy over the last tenth of the steps.

    After an interruption the same call resumes from its last state and ends in the same weights. Beside `out`, in a folder of
    its name ending in .pretraining: metrics.jsonl, the state while there is something left to do, and step-<n>.safetensors.

    Args:
        workers: processes that render the images.
        save_every: steps between states.
        keep_every: steps between copies of the network as it is then, identified by their content; 0 keeps none.
        identity: identity of the configuration; a state with another one is refused.
        recipe: digest of the recipe (`core.weights.made`), which identifies the file; without one its content does.

    Raises:
        Interrupted: a signal asked to stop, and the state is saved.
        UserError: the state there is of another configuration, or damaged.
        TrainingError: the loss is not finite.
    """
    folder, device = out.with_suffix(".pretraining"), pick_device()
    precision, metadata = fit_for(device, plan.precision), {RECIPE: recipe} if recipe else None
    if precision == "fp16":  # needs a scaled loss, which is not worth it for towers this small
        precision = "no"
    folder.mkdir(parents=True, exist_ok=True)
    belongs_to = {"configuration": identity, "recipe": recipe, "precision": precision}
    log = folder / TRAINING_LOG
    with run_lock(folder):
        images = render_all(plan, workers)  # before signals are caught, by which its processes are ended
        network = plan.task.network.train().to(device)
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=plan.lr, betas=plan.betas, eps=1e-6, weight_decay=plan.weight_decay, fused=True
        )
        parts = {"network": network, "optimiser": optimiser}
        done = resume(parts, folder, belongs_to)
        drop_after(log, done)
        with Stopper() as stopper:
            for step in train(plan, done, images, optimiser, precision, folder, keep_every):
                if step < plan.steps and (stopper.asked() or step % save_every < LOG_EVERY):
                    save_state(parts, folder, step, belongs_to)
                    if stopper.asked():
                        raise Interrupted(stopper.asked(), step)
        with atomic_file(out) as partial_file:
            plan.task.save(partial_file, metadata)
        shutil.rmtree(folder / STATES, ignore_errors=True)
    entries = map(json.loads, log.read_text().splitlines())
    return float(np.mean([entry["accuracy"] for entry in entries if entry["step"] > 0.9 * plan.steps]))


def train(
    plan: Pretraining,
    done: int,
    data: tuple[np.ndarray, list],
    optimiser: torch.optim.Optimizer,
    precision: str,
    folder: Path,
    keep_every: int,
) -> Iterator[int]:
    """All steps after `done`; yields a step's number after each line of the log.

    Only there may a state be saved: a line holds means since the line before, and a state in between would lose a part.
    """
    columns = (TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn()) as bar:
        shown, since, began = bar.add_task("pretrain", total=plan.steps, note=""), [], time.monotonic()
        for step in range(done + 1, plan.steps + 1):
            since.append(train_step(plan, step, *data, optimiser, precision))
            if keep_every and step % keep_every == 0:
                with atomic_file(folder / f"step-{step:06d}.safetensors") as copy:
                    plan.task.save(copy, None)  # the recipe is that of the finished network
            if step % LOG_EVERY and step < plan.steps:
                continue
            (loss, accuracy), seconds = np.mean(since, axis=0).tolist(), time.monotonic() - began
            entry = {"step": step, "loss": loss, "accuracy": accuracy, "lr": optimiser.param_groups[0]["lr"]}
            entry |= {"images_per_second": len(since) * plan.batch / seconds, "seconds": seconds}
            append_json(folder / TRAINING_LOG, entry)
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is not finite at step {step} of {folder.stem}: lower Pretraining.lr = {plan.lr}")
            note = f"loss {loss:.3f}  accuracy {100 * accuracy:.1f} %"
            bar.update(shown, completed=step, note=note)
            if step % 100 == 0 and not bar.console.is_terminal:
                print(f"step {step}: {note}", flush=True)
            yield step
            since, began = [], time.monotonic()


def train_step(
    plan: Pretraining, step: int, images: np.ndarray, labels: list, optimiser: torch.optim.Optimizer, precision: str
) -> tuple[float, float]:
    """One step; returns its loss and accuracy.

    Its random draws follow from seed and step, so that a state need not hold a generator.
    """
    rng = np.random.default_rng([plan.seed, step])
    chosen = plan.task.choose(labels, plan.batch, rng)
    device = next(plan.task.network.parameters()).device
    pixels = ToTensor(plan.task.image_size, plan.normalisation).batch(images[chosen], device)
    with autocast(device, precision):
        loss, accuracy = plan.task.loss(pixels, [labels[i] for i in chosen], rng)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(plan.task.network.parameters(), plan.clip_grad_norm)
    for group in optimiser.param_groups:
        group["lr"] = plan.lr * warmup_cosine(step - 1, plan.steps, plan.warmup)
    optimiser.step()
    return loss.item(), accuracy


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at step 0 ... steps - 1: linear over the share `warmup`, then a cosine to 0."""
    rising = warmup * steps
    if step < rising:
        return min(1.0, (step + 1) / rising)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
