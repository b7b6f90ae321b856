"""The training loop: optimiser steps, and what happens between them (logging, saving, validation)."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from core.data.loading import Batch, ShuffledBatches, Words
from core.experiment.experiment import Loaded
from core.files import append_json, write_json
from core.model.clip4str import CLIP4STR
from core.run_files import PROVENANCE, STATES, TRAINING_LOG
from core.runtime.distributed import DistEnv
from core.runtime.provenance import now
from core.train.batches import batches_of
from core.train.loss_monitor import BadStep, LossMonitor, bad_step_error
from core.train.orders import Orders
from core.train.record import Tally, identity, log_entry, state_identity, train_record
from core.train.state import Interrupted, Stateful, Stopper, save_state
from core.train.step import backward, share_of, step_seed
from core.train.validation import validate
from core.weights.checkpoint import save_model


@dataclass
class Run:
    """A run that is open: everything its steps need.

    Args:
        record: provenance.
        network: `LossModule` of the model, prepared by the accelerator.
        validation: the val/ set, None where there is none.
        average: running average of the weights, if the recipe has one.
        log_every: steps between lines of metrics.jsonl.
    """

    loaded: Loaded
    record: dict
    out: Path
    accelerator: Accelerator
    team: DistEnv
    model: CLIP4STR
    network: nn.Module
    optimiser: torch.optim.Optimizer
    words: Words
    validation: Words | None
    monitor: LossMonitor
    average: AveragedModel | None
    log_every: int

    def __post_init__(self):
        self.optimisation = self.loaded.experiment.optimisation
        self.steps = self.optimisation.total_steps(len(self.words))
        self.identity = identity(self.loaded, self.record)
        self.snapshots = frozenset() if self.average is None else self.optimisation.averaging.steps(self.steps)
        self.tally = Tally(self.model)
        self.images = 0

    @property
    def parts(self) -> dict[str, Stateful]:
        """The resumable state by the names that saved states have (`core.train.state.save_state`)."""
        parts = {"model": self.model, "optimiser": self.optimiser, "watch": self.monitor, "average": self.average}
        parts |= {"scaler": self.accelerator.scaler, "tally": self.tally}
        return {name: part for name, part in parts.items() if part is not None}

    def step(self, step: int, batches: Iterator[Batch], starts: Sequence[int]) -> tuple[Tensor, Tensor, float]:
        """One optimiser step; returns its losses (total, visual, cross), gradient norm and learning rate.

        Args:
            starts: where this process's passes begin among the images of the step.

        Raises:
            BadStep: its loss, or that of the step before, must not reach weights that are kept.
        """
        seed, model = self.record["seed"], self.model
        mine = [next(batches) for _ in starts]
        torch.manual_seed(step_seed(seed, step, self.team.index))  # after the data: a loader that starts draws a number
        shares = self.team.gather(share_of(mine))
        for share in shares:
            self.images += share.words
            for reason, key in share.skipped:
                self.tally.undecodable.add(reason, key)
        orders = Orders(seed, step, self.optimisation.block, model.num_permutations, model.mirrored)
        losses = backward(self.network, model, mine, starts, shares, self.accelerator, orders)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.optimisation.clip_grad_norm)
        self.monitor.record(step, losses, norm)  # before the update: on a CPU a bad step ends here, its weights untouched
        lr = self.optimisation.set_lr(self.optimiser, step - 1, self.steps)
        self.update(torch.isfinite(losses[0]) & torch.isfinite(norm))
        if step in self.snapshots:
            self.average.update_parameters(model)
        return losses, norm, lr

    def update(self, finite: Tensor) -> None:
        """Change the weights, unless loss or gradient is not finite.

        A fused optimiser checks that on the device, without a wait. In float16 the gradient scaler checks it.
        """
        if self.accelerator.scaler is not None:
            self.optimiser.step()
        elif self.optimiser.optimizer.defaults.get("fused"):
            self.optimiser.optimizer.found_inf = (~finite).float()  # as torch's gradient scaler sets it
            self.optimiser.step()
        elif finite:
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def take_average(self) -> None:
        """The averaged weights become the model's; the last thing that happens to them."""
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())

    def log(self, entry: dict) -> None:
        """One more line of metrics.jsonl."""
        if self.team.is_main:
            append_json(self.out / TRAINING_LOG, entry)

    def log_step(self, step: int, losses: Tensor, norm: Tensor, lr: float, seconds: float) -> dict:
        """The line of metrics.jsonl for the steps since the last one, which took so many seconds."""
        entry = log_entry(step, self.steps, losses, norm, lr, self.images, seconds, self.tally.undecodable, self.monitor)
        self.images = 0
        self.log(entry)
        return entry

    def save(self, step: int) -> None:
        """The resumable state after a step."""
        self.monitor.flush()  # before saving: a state may only hold weights whose losses were all judged
        if self.team.is_main:
            save_state(self.parts, self.out, step, state_identity(self.loaded, self.record))
        self.team.wait()

    def validation_due(self, step: int) -> bool:
        return self.validation is not None and (step % self.optimisation.validate_every == 0 or step == self.steps)

    def validate(self, step: int, stopper: Stopper) -> None:
        """Write a validation to metrics.jsonl; if the run is asked to stop meanwhile, it is done after resuming instead."""
        entry = validate(self.model, self.validation, self.loaded.protocol, step, self.team, stopper.asked)
        if entry is not None:
            self.log(entry)

    def finish(self) -> None:
        """Write the trained model, and remove the state."""
        self.monitor.flush()
        if self.team.is_main:
            content = {
                "train": train_record(self.words, self.steps, self.model.started_from),
                "finished": now(),
                **self.tally.state_dict(),
                "skipped_steps": self.monitor.skipped,
            }
            write_json(self.out / PROVENANCE, {**self.record, **content})
            for reason, entry in content["undecodable"].items():
                print(f"{reason}: {entry['count']:,} times while training (e.g. {entry['examples'][0]})")
            # After provenance, for with its model a run is finished; and the state goes last: until then a run resumes from it.
            save_model(self.model, self.loaded.training, self.identity, self.out)
            shutil.rmtree(self.out / STATES, ignore_errors=True)
        self.team.wait()


def train_loop(run: Run, start: int) -> None:
    """All steps after `start`, then the model.

    Raises:
        Interrupted: a signal asked to stop, and the state is saved.
        TrainingError: too many losses are not finite, one has exploded, or a whole batch cannot be decoded.
        DataError: the data went away.
    """
    optimisation, team = run.optimisation, run.team
    micro_batch = optimisation.micro_batch(team.size)
    steps = (optimisation.batch, run.record["seed"], start, run.steps)
    order = ShuffledBatches(len(run.words), *steps, micro_batch, team.index, team.size)
    with (
        Stopper() as stopper,
        contextlib.closing(batches_of(run.words, order, optimisation.workers, run.accelerator.device)) as batches,
        progress(run) as bar,
    ):
        task = bar.add_task("train", total=run.steps, completed=start, note="")
        run.network.train()
        try:
            if start == run.steps:  # stopped while its last step was validated
                run.take_average()
            if start and run.validation_due(start) and not validated(run.out / TRAINING_LOG, start):
                run.validate(start, stopper)
                stop_if_asked(run, stopper, start)
            clock = time.perf_counter()
            for step in range(start + 1, run.steps + 1):
                losses, norm, lr = run.step(step, batches, order.starts())
                if step % run.log_every == 0 or step == run.steps:
                    run.monitor.flush()  # before the clock is read: it waits for the steps
                    entry = run.log_step(step, losses, norm, lr, time.perf_counter() - clock)
                    clock = time.perf_counter()
                    while run.monitor.news:
                        bar.console.print(run.monitor.news.pop(0))
                    note = f"loss {losses[0].item():.3f}  {entry['images_per_s']:.0f} images/s"
                    bar.update(task, completed=step, note=note)
                clock += save_and_validate(run, step, stopper)
            run.finish()
        except BadStep as bad:
            raise bad_step_error(bad, run.words, order, run.out, team) from None


def save_and_validate(run: Run, step: int, stopper: Stopper) -> float:
    """Save the state and validate, where they are due after a step; returns the seconds that this took.

    They are not the steps' own, and the caller leaves them out of their time.

    Raises:
        Interrupted: a process was asked to stop, and the state is saved.
    """
    asked, due = max(run.team.gather(stopper.asked())), run.validation_due(step)
    saved = asked or due or (step % run.optimisation.save_every == 0 and step < run.steps)
    if saved:
        run.monitor.flush()  # before the clock is read: it waits for the steps
    began = time.perf_counter()
    # Save before validating: a run stopped between the two validates again from the state, and loses no step.
    if saved:
        run.save(step)
    if step == run.steps:  # after its state: a run that resumes from it still has both
        run.take_average()
    if due and not asked:
        run.validate(step, stopper)
    seconds = time.perf_counter() - began
    if asked or due:
        stop_if_asked(run, stopper, step)
    return seconds


def stop_if_asked(run: Run, stopper: Stopper, step: int) -> None:
    """All processes of the team leave together; the state of `step` is saved already.

    Raises:
        Interrupted: one of them was asked to stop.
    """
    asked = max(run.team.gather(stopper.asked()))
    if asked:
        raise Interrupted(asked, step)


def validated(log: Path, step: int) -> bool:
    """Whether metrics.jsonl has the validation after a step."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    return any(line["step"] == step and "val_n" in line for line in lines)


def progress(run: Run) -> Progress:
    """The bar, shown by one process."""
    columns = (TextColumn(run.out.parent.name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    return Progress(*columns, TimeRemainingColumn(), disable=not run.team.is_main)
