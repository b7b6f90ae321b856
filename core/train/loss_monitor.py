"""Skips steps with a non-finite loss or gradient, and stops a run with too many of them or with an exploding loss."""

import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from core.data.keys import image_key
from core.data.loading import ShuffledBatches, Words
from core.errors import TrainingError
from core.files import write_json
from core.run_files import BAD_STEP, STATES
from core.runtime.distributed import DistEnv

WINDOW = 100  # steps, of the running median and of the count of skipped ones
SMALLEST = 1.0  # the median counts as no less: late losses are near 0, where one wrong label is many times the median
SHOWN = 8  # samples named in the message; the file has all


@dataclass
class LossMonitor:
    """Checks every step: it is skipped if its loss or gradient is not finite, and an exploding loss is an error.

    Without lag a step is judged before its update. A GPU should not be waited for: its figures are read one step later, and
    all of them before a state or the model is saved. That a step is left out is decided on the device (`core.train.loop`).

    Args:
        max_loss_ratio: `Optimisation.max_loss_ratio`.
        most_skipped: `Optimisation.most_skipped`.
        norms: whether the gradient's norm is judged too (float16's scaler lowers its scale after an infinite one).
        lag: steps that may wait to be judged.
    """

    max_loss_ratio: float
    most_skipped: int
    norms: bool
    lag: int = 0
    history: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))  # whether a step was left out
    skipped: int = 0  # steps left out so far
    news: list[str] = field(default_factory=list)  # what has not been shown of them
    waiting: deque[tuple[int, Tensor, torch.cuda.Event | None]] = field(default_factory=deque)

    def record(self, step: int, losses: Tensor, norm: Tensor) -> None:
        """Record a step's losses and gradient norm; check those that are due.

        Args:
            losses: total, visual, cross.
            norm: norm of the gradient.

        Raises:
            BadStep: this step, or one that lagged behind, is bad.
        """
        figures = torch.cat([losses, norm.detach().float().reshape(1).to(losses.device)])
        copied = None
        if figures.device.type == "cuda":
            on_device, figures = figures, torch.empty(len(figures), pin_memory=True)
            figures.copy_(on_device, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        self.waiting.append((step, figures, copied))
        self.flush(but=self.lag)

    def flush(self, but: int = 0) -> None:
        """Check all recorded steps except the newest `but`.

        Raises:
            BadStep: one is bad.
        """
        while len(self.waiting) > but:
            step, figures, copied = self.waiting.popleft()
            if copied is not None:
                copied.synchronize()
            self.check(step, figures[0].item(), figures[3].item())

    def check(self, step: int, loss: float, norm: float) -> None:
        """Check one step; its loss joins the running median unless the step is skipped or stops the run."""
        if not math.isfinite(loss):
            return self.skip(step, f"the loss is {loss}")
        if self.norms and not math.isfinite(norm):
            return self.skip(step, f"the gradient's norm is {norm} (loss {loss:.4g})")
        self.recent.append(False)
        usual = max(SMALLEST, statistics.median(self.history)) if self.history else math.inf
        if loss > self.max_loss_ratio * usual:
            raise BadStep(
                step,
                f"the loss is {loss:.4g}, more than {self.max_loss_ratio:g} times {usual:.4g}, the median of the last "
                f"{len(self.history)} steps (Optimisation.max_loss_ratio)",
            )
        self.history.append(loss)
        return None

    def skip(self, step: int, reason: str) -> None:
        """Count a skipped step; BadStep if there are too many."""
        self.recent.append(True)
        self.skipped += 1
        left_out = sum(self.recent)
        if left_out > self.most_skipped:
            raise BadStep(
                step,
                f"{reason}, in {left_out} of the last {len(self.recent)} steps, more than the {self.most_skipped} that may be "
                "left out (Optimisation.most_skipped)",
            )
        self.news.append(f"step {step} left out: {reason} ({left_out} of the last {len(self.recent)} steps)")

    def state_dict(self) -> dict:
        return {"history": list(self.history), "recent": list(self.recent), "skipped": self.skipped}

    def load_state_dict(self, state: dict) -> None:
        self.history.extend(state["history"])
        self.recent.extend(state["recent"])
        self.skipped = state["skipped"]


class BadStep(Exception):
    """A step that must not be kept."""

    def __init__(self, step: int, reason: str):
        super().__init__(reason)
        self.step, self.reason = step, reason


def bad_step_error(bad: BadStep, words: Words, order: ShuffledBatches, out: Path, team: DistEnv) -> TrainingError:
    """The error to raise for a bad step, after writing out/bad-step.json, which lists the step's samples."""
    epoch, positions = order.samples_of(bad.step - 1)
    samples = []
    for position in positions:
        lmdb, sample = words.sample(position)
        key = image_key(sample.index)
        samples.append({"index": position, "lmdb": str(lmdb.path), "key": key, "label": sample.label})
    if team.is_main:
        content = {"step": bad.step, "reason": bad.reason, "epoch": epoch, "samples": samples}
        write_json(out / BAD_STEP, content)
    team.wait()
    shown = ", ".join(f"{sample['index']} ({sample['lmdb']} {sample['key']})" for sample in samples[:SHOWN])
    more = f" and {len(samples) - SHOWN} more" if len(samples) > SHOWN else ""
    return TrainingError(
        f"{bad.reason} at step {bad.step}, which read samples {shown}{more} (all in {out / BAD_STEP}); no weights of "
        f"this step are kept, {out / STATES} holds the last good ones. Look at these images and labels, or lower ENCODER_LR"
    )
