"""What a run prints and records about itself: metrics.jsonl, provenance.json, and the identity of a finished run."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from core.data.lmdb import Ledger
from core.data.loading import Words
from core.data.samples import left_out_text
from core.data.sets import say_copies
from core.errors import TrainingError
from core.experiment.experiment import Loaded
from core.model.clip4str import CLIP4STR
from core.run_files import MODEL, MODEL_DESCRIPTION
from core.train.loss_monitor import LossMonitor
from core.weights.start import Taken


@dataclass
class Tally:
    """Training images that could not be decoded and captions of `model` that were cut, since the run's first step.

    Part of a saved state: a run that was interrupted reports what was counted before, too. A cut caption that comes again after
    an interruption counts again, as the tokenizer's cache is not saved.
    """

    model: CLIP4STR
    undecodable: Ledger = field(default_factory=Ledger)

    def state_dict(self) -> dict:
        return {"undecodable": self.undecodable.as_dict(), "captions_cut": self.model.captions_cut}

    def load_state_dict(self, state: dict) -> None:
        self.undecodable, self.model.captions_cut = Ledger.from_dict(state["undecodable"]), state["captions_cut"]


def describe(model: CLIP4STR, loaded: Loaded, words: Words, validation: Words | None, steps: int, devices: int) -> None:
    """Print before the first step what will be trained, on which words, and what is left out of them."""
    optimisation = loaded.experiment.optimisation
    if model.started_from is not None:
        print(model.started_from.text)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    lmdbs, used = len(words.lmdbs), f"{len(words):,}" + (f" of {words.stored:,}" if len(words) < words.stored else "")
    division = f"{devices} device{'s' * (devices != 1)} x {optimisation.micro_batch(devices)}"
    print(
        f"{trainable:,} trainable parameters; {used} images from {lmdbs} LMDB{'s' * (lmdbs != 1)}; {steps} steps of "
        f"{optimisation.batch} ({division} x {optimisation.accumulation(devices)}); "
        f"learning rate {optimisation.lr:.3g}, from scratch {optimisation.lr * optimisation.scratch_multiplier:.3g}"
    )
    for reason, entry in words.ledger().as_dict().items():
        print(f"left out {entry['count']} training labels: {reason} (e.g. {entry['examples'][0]})")
    for line in say_copies(lmdb.path for lmdb in words.lmdbs):
        print(f"training set: {line}")
    if validation is not None and (left := left_out_text(validation.stored, validation.ledger().as_dict())):
        print(f"validation on {len(validation):,} images; {left}")


def train_record(words: Words, steps: int, started_from: Taken | None) -> dict:
    """The training set, for provenance.json: every LMDB in order, and the labels that the rules dropped; and the START."""
    lmdbs = [{"path": str(lmdb.path), "stored": lmdb.stored, "used": len(lmdb)} for lmdb in words.lmdbs]
    record = {"images": len(words), "steps": steps, "lmdbs": lmdbs, "left_out": words.ledger().as_dict()}
    return record if started_from is None else record | {"start": started_from._asdict()}


def log_entry(
    step: int,
    steps: int,
    losses: torch.Tensor,
    norm: torch.Tensor,
    lr: float,
    images: int,
    seconds: float,
    undecodable: Ledger,
    monitor: LossMonitor,
) -> dict:
    """A line of metrics.jsonl; losses are total, visual, cross (NaN for none)."""
    total, visual, cross = losses.tolist()
    return {
        "step": step,
        "of": steps,
        "loss": total,
        "loss_visual": visual,
        "loss_cross": cross,
        "lr": lr,
        "grad_norm": float(norm),
        "images_per_s": images / seconds,
        "seconds": seconds,
        "undecodable": sum(undecodable.counts.values()),
        "skipped_steps": monitor.skipped,
    }


def finished(out: Path, expected: dict) -> bool:
    """Whether `out` holds this run's trained model.

    Raises:
        TrainingError: it holds another run's.
    """
    description = out / MODEL_DESCRIPTION
    if not (out / MODEL).is_file():
        return False
    trained = json.loads(description.read_text()).get("identity") if description.is_file() else None
    if trained != expected:
        raise TrainingError(f"{out} holds a model trained from something else ({trained}); choose another --out")
    return True


def identity(loaded: Loaded, record: dict) -> dict:
    """The identity of a finished run: what distinguishes it from other runs."""
    return {"training": loaded.digest, "seed": record["seed"], "data_fingerprint": record["data_fingerprint"]}


def state_identity(loaded: Loaded, record: dict) -> dict:
    """What must be equal for a run to resume from a state; precision is part of it, as it changes the final weights."""
    return {**identity(loaded, record), "precision": record["precision"]}
