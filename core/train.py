"""Train one row's model.

    python -m core.train ablations/table_VI/image0-text6.gin --data results/data/micro --out results/runs/mine/seed0

Killed or interrupted, the same command goes on from the last saved state and ends in the same weights: data order,
augmentation, permutations and dropout depend on nothing but the seed and the step.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader

from core import config
from core.checkpoint import save_model
from core.data.lmdb import Ledger, fingerprint, train_roots
from core.data.loading import Batch, ShuffledBatches, Words, collate, open_words
from core.data.transforms import ToTensor
from core.evaluate import read_words
from core.experiment import Loaded, load
from core.files import append_json, atomic_file, write_json
from core.model.clip4str import CLIP4STR, Losses
from core.protocol import Protocol
from core.provenance import now, provenance
from core.state import Interrupted, Stopper, drop_after, resume, save_state

LOG_EVERY = 10  # steps between lines of metrics.jsonl


class TrainingError(ValueError):
    """A run that cannot go on; the last saved state is kept."""


def pick_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def step_seed(seed: int, step: int, stream: int = 0) -> int:
    """A seed of its own for every step, so that no generator's state has to survive a restart."""
    return (seed * 1_000_003 + step) * 16 + stream


def build_model(loaded: Loaded, seed: int) -> CLIP4STR:
    """The model as training starts: seeded random weights, then the towers' pretrained ones."""
    torch.manual_seed(seed)
    model = loaded.experiment.model(load_weights=True)
    model.normalisation = loaded.experiment.normalisation
    return model


def train(loaded: Loaded, data: Path, out: Path, seed: int) -> None:
    """One whole training run, or the rest of one, into the run directory `out`.

    Raises:
        DataError: the data cannot be used.
        Interrupted: a signal asked to stop.
        TrainingError: the loss is no longer finite, or a whole batch cannot be decoded.
    """
    experiment = loaded.experiment
    optimisation = experiment.optimisation
    accelerator = Accelerator(mixed_precision=optimisation.precision)
    if accelerator.num_processes > 1:
        raise TrainingError("one run on several processes is not supported; start one process a run")
    roots = train_roots(data, experiment.train_data)
    record = provenance(data, fingerprint(*roots), seed)
    if finished(out, identity(loaded, record)):
        print(f"{out} is trained already")
        return

    model = build_model(loaded, seed)
    words = Words(
        open_words(roots, model.tokenizer.charset, model.max_letters),
        ToTensor(model.towers.image_size, experiment.normalisation),
        experiment.augment,
        seed,
    )
    validation = validation_words(data, model, loaded.protocol)
    steps = optimisation.total_steps(len(words))
    optimiser = optimisation.optimiser(model)
    network, optimiser = accelerator.prepare(model, optimiser)

    out.mkdir(parents=True, exist_ok=True)
    start = resume(accelerator, out, identity(loaded, record))
    passes = optimisation.accumulation(accelerator.num_processes)
    describe(model, loaded, words, steps, passes, accelerator.num_processes)
    with atomic_file(out / "operative.gin") as partial:
        partial.write_text(loaded.operative)
    write_json(out / "provenance.json", {**record, "train": train_record(words, steps)})
    drop_after(out / "metrics.jsonl", start)

    batches = loader(words, optimisation, accelerator, seed, start, steps)
    bar = Progress(
        TextColumn(out.parent.name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn()
    )
    with Stopper() as stopper, bar:
        shown = bar.add_task("train", total=steps, completed=start, note="")
        clock, images, ledger = time.perf_counter(), 0, Ledger()
        network.train()
        for step in range(start + 1, steps + 1):
            torch.manual_seed(step_seed(seed, step, accelerator.process_index))
            for number in range(passes):
                batch = next(batches)
                for reason, key in batch.skipped:
                    ledger.add(reason, key)
                losses = forward(network, batch, accelerator.device, step_seed(seed, step, number))
                accelerator.backward(losses.total / passes)
                images += len(batch.labels) * accelerator.num_processes
            norm = accelerator.clip_grad_norm_(network.parameters(), optimisation.clip_grad_norm)
            lr = optimisation.set_lr(optimiser, step - 1, steps)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

            if step % LOG_EVERY == 0 or step == steps:
                check_finite(losses, step, out)
                seconds = time.perf_counter() - clock
                entry = log_entry(step, steps, losses, norm, lr, images, seconds, sum(ledger.counts.values()))
                clock, images = time.perf_counter(), 0
                append_json(out / "metrics.jsonl", entry)
                bar.update(shown, completed=step, note=f"loss {entry['loss']:.3f}  {entry['images_per_s']:.0f} images/s")
            if validation and (step % optimisation.validate_every == 0 or step == steps):
                entry = validate(accelerator.unwrap_model(network), validation, loaded.protocol, step)
                append_json(out / "metrics.jsonl", entry)
                clock = time.perf_counter()
            if (step % optimisation.save_every == 0 and step < steps) or stopper.received is not None:
                check_finite(losses, step, out)
                save_state(accelerator, out, step, identity(loaded, record))
            if stopper.received is not None:
                raise Interrupted(stopper.received, step)

    record |= {"train": train_record(words, steps), "finished": now(), "undecodable": ledger.as_dict()}
    write_json(out / "provenance.json", {**record, "captions_cut": model.captions_cut})
    save_model(model, loaded.training, identity(loaded, record), out)
    shutil.rmtree(out / "state", ignore_errors=True)


def forward(network: torch.nn.Module, batch: Batch, device: torch.device, seed: int) -> Losses:
    """The losses of one micro-batch, its permutations drawn from `seed`."""
    if not batch.labels:
        raise TrainingError(f"no image of a whole batch could be decoded, e.g. {batch.skipped[0][1]}")
    return network(batch.images.to(device, non_blocking=True), batch.labels, torch.Generator().manual_seed(seed))


def loader(words: Words, optimisation, accelerator: Accelerator, seed: int, first: int, last: int) -> Iterator[Batch]:
    """Micro-batches of this process, from step `first` on; the same images make a step whatever shares the work."""
    order = ShuffledBatches(
        len(words),
        optimisation.batch,
        seed,
        first,
        last,
        optimisation.device_batch,
        accelerator.process_index,
        accelerator.num_processes,
    )
    pinned = accelerator.device.type == "cuda"
    workers = optimisation.workers
    return iter(DataLoader(words, batch_sampler=order, num_workers=workers, collate_fn=collate, pin_memory=pinned))


def validation_words(data: Path, model: CLIP4STR, protocol: Protocol) -> Words | None:
    """The val/ set under the protocol's normalisation, or None where there is none."""
    if not (data / "val").is_dir():
        return None
    transform = ToTensor(model.towers.image_size, protocol.normalisation)
    return Words(open_words(data / "val", model.tokenizer.charset, model.max_letters), transform)


def check_finite(losses: Losses, step: int, out: Path) -> None:
    if not torch.isfinite(losses.total):
        raise TrainingError(f"loss is {losses.total.item()} at step {step}; the last state in {out / 'state'} is kept")


def validate(model: CLIP4STR, words: Words, protocol: Protocol, step: int) -> dict:
    """Word accuracy on val/, decoded exactly as in a test."""
    (readings,) = read_words(model, words, [protocol], "val")
    entry = {"step": step, "val_n": len(readings.rows)}
    for output in ("visual", "cross"):
        if readings.rows[output].notna().all():
            entry[f"val_{output}"] = readings.accuracy(output, protocol.scoring_charset_size)
    return entry


def log_entry(
    step: int, steps: int, losses: Losses, norm: torch.Tensor, lr: float, images: int, seconds: float, skipped: int
) -> dict:
    return {
        "step": step,
        "of": steps,
        "loss": losses.total.item(),
        "loss_visual": losses.visual.item(),
        "loss_cross": None if losses.cross is None else losses.cross.item(),
        "lr": lr,
        "grad_norm": float(norm),
        "images_per_s": images / seconds,
        "seconds": seconds,
        "undecodable": skipped,
    }


def train_record(words: Words, steps: int) -> dict:
    """What the training set was: every LMDB in order, and what the label rules dropped."""
    lmdbs = [{"path": str(lmdb.path), "stored": lmdb.stored, "used": len(lmdb)} for lmdb in words.lmdbs]
    return {"images": len(words), "steps": steps, "lmdbs": lmdbs, "left_out": words.ledger().as_dict()}


def describe(model: CLIP4STR, loaded: Loaded, words: Words, steps: int, passes: int, devices: int) -> None:
    """Say before the first step what will happen."""
    optimisation = loaded.experiment.optimisation
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    lmdbs = len(words.lmdbs)
    print(
        f"{trainable:,} trainable parameters; {len(words):,} images from {lmdbs} LMDB{'s' * (lmdbs != 1)}; {steps} steps of "
        f"{optimisation.batch} ({devices} device{'s' * (devices != 1)} x {optimisation.device_batch} x {passes}); "
        f"learning rate {optimisation.lr:.3g}, from scratch {optimisation.lr * optimisation.scratch_multiplier:.3g}"
    )
    for reason, entry in words.ledger().as_dict().items():
        print(f"left out {entry['count']} training labels: {reason} (e.g. {entry['examples'][0]})")


def finished(out: Path, expected: dict) -> bool:
    """Whether `out` holds this run's trained model.

    Raises:
        TrainingError: it holds another run's.
    """
    description = out / "model.json"
    if not (out / "model.safetensors").is_file():
        return False
    found = json.loads(description.read_text()).get("identity") if description.is_file() else None
    if found != expected:
        raise TrainingError(f"{out} holds a model trained from something else ({found}); choose another --out")
    return True


def identity(loaded: Loaded, record: dict) -> dict:
    """What a state must agree with before a run goes on from it."""
    return {"training": loaded.digest, "seed": record["seed"], "data_fingerprint": record["data_fingerprint"]}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Train the model of one row. Run again after an interruption, it goes on where it stopped."
    )
    parser.add_argument("row", help="gin file, e.g. ablations/table_VI/image0-text6.gin")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with train/<set>/**/data.mdb (the row's TRAIN_DATA) and val/**/data.mdb",
    )
    parser.add_argument("--out", type=Path, required=True, help="run directory to write")
    parser.add_argument("--seed", type=int, default=0, help="seeds weights, data order, augmentation, permutations, dropout")
    parser.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    parser.add_argument("--set", action="append", default=[], metavar="'NAME = value'", help="override a macro, repeatable")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    options = parser.parse_args(arguments)
    with config.user_errors():
        torch.set_num_threads(options.threads or os.cpu_count() or 1)
        loaded = load(options.row, options.scale, options.set)
        if not options.data.is_dir():
            raise FileNotFoundError(f"data root {options.data} does not exist; it should hold train/, val/ and test/")
        try:
            train(loaded, options.data, options.out, options.seed)
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            sys.exit(stop.exit_status)


if __name__ == "__main__":
    main()
