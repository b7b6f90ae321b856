"""Train one row's model.

    python -m core.train ablations/table_VI/image0-text6.gin --data results/data/micro --out results/runs/mine/seed0

Killed or interrupted, the same command goes on from the last saved state and ends in the same weights: data order,
augmentation, permutations and dropout depend on nothing but the seed and the step.
"""

import argparse
import contextlib
import faulthandler
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch.optim.swa_utils import AveragedModel

from core import config
from core.compute import pick_device
from core.data.lmdb import fingerprint, train_roots
from core.data.loading import Words, open_words
from core.data.transforms import ToTensor
from core.experiment import Loaded, load
from core.files import atomic_file, write_json
from core.model.clip4str import CLIP4STR
from core.precision import fit_for, name_of
from core.provenance import provenance
from core.state import Interrupted, alone_in, drop_after, resume
from core.team import join_team, leads, leave_team, on_cpu, threads_each
from core.tracking import MODES, OFF, Tracking, tracking_for
from core.training.errors import TrainingError
from core.training.loop import LOG_EVERY, Run, go_on
from core.training.memory import fitting
from core.training.record import describe, finished, identity, state_identity, train_record
from core.training.step import Trained
from core.training.validation import validation_words
from core.training.watch import Watch


def build_model(loaded: Loaded, seed: int) -> CLIP4STR:
    """The model as training starts: seeded random weights, then the towers' pretrained ones."""
    torch.manual_seed(seed)
    model = loaded.experiment.model(load_weights=True)
    model.normalisation = loaded.experiment.normalisation
    if loaded.experiment.optimisation.compile:
        compile_blocks(model)
    return model


def compile_blocks(model: CLIP4STR) -> None:
    """torch.compile every block of the towers in place: names, weights and files stay as they are."""
    for layers in (model.towers.image_layers(), model.towers.text_layers()):
        for block in layers.blocks if layers is not None else ():
            block.compile()


def train(loaded: Loaded, data: Path, out: Path, seed: int, log_every: int = LOG_EVERY, tracking: Tracking = OFF) -> None:
    """One whole training run, or the rest of one, into the run directory `out`; as one of a team where it was launched.

    Raises:
        DataError: the data cannot be used, or went away.
        Interrupted: a signal asked to stop.
        TrainingError: too many losses are not finite, one has exploded, or a whole batch cannot be decoded.
        OSError: a file could not be written, or another process trains here.
    """
    experiment, optimisation = loaded.experiment, loaded.experiment.optimisation
    precision = fit_for(pick_device(), optimisation.precision)
    unreached = any(weight.requires_grad for weight in loaded.blueprint.towers.unreached())
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True, find_unused_parameters=unreached)
    accelerator = Accelerator(mixed_precision=precision, cpu=on_cpu(), kwargs_handlers=[ddp])
    team = join_team()
    if len(kinds := set(team.gather(precision))) > 1:
        raise TrainingError(f"the processes would compute in {' and '.join(sorted(kinds))}; set Optimisation.precision = 'no'")
    optimisation.accumulation(team.size)  # refuses a team that cannot share the batch before anything is opened
    roots = train_roots(data, experiment.train_data)
    record = {**provenance(data, fingerprint(*roots), seed), "processes": team.size, "precision": name_of(precision)}
    if finished(out, identity(loaded, record)):
        if team.leads:
            print(f"{out} is trained already")
        return

    model = build_model(loaded, seed)
    words = Words(
        open_words(roots, model.tokenizer.charset, model.max_letters),
        ToTensor(model.towers.image_size, experiment.normalisation),
        experiment.augment,
        seed,
    )
    steps = optimisation.total_steps(len(words))
    network, optimiser = accelerator.prepare(Trained(model), optimisation.optimiser(model))
    lag = int(accelerator.device.type == "cuda")
    watch = Watch(optimisation.explosion, optimisation.most_skipped, norms=precision != "fp16", lag=lag)
    parts = {"model": model, "optimiser": optimiser, "watch": watch}
    average = AveragedModel(model) if optimisation.averaging else None
    if average is not None:
        parts["average"] = average
    if accelerator.scaler is not None:
        parts["scaler"] = accelerator.scaler
    validation = validation_words(data, model, loaded.protocol)
    run = Run(
        loaded=loaded,
        record=record,
        out=out,
        accelerator=accelerator,
        team=team,
        model=model,
        network=network,
        optimiser=optimiser,
        words=words,
        validation=validation,
        watch=watch,
        average=average,
        parts=parts,
        steps=steps,
        log_every=log_every,
    )
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out) if team.leads else contextlib.nullcontext():
        if team.gather(finished(out, run.identity))[0]:  # by another process, while this one waited
            return
        start = take_up(run)
        with tracking.following(out) if team.leads else contextlib.nullcontext():
            go_on(run, start)


def take_up(run: Run) -> int:
    """Load the last saved state, say what will happen, write what is known; returns the step to go on from.

    Raises:
        TrainingError: the processes do not see the same states.
    """
    start = resume(run.parts, run.out, state_identity(run.loaded, run.record))
    starts = run.team.gather(start)
    if len(set(starts)) > 1:
        raise TrainingError(f"the processes find states of different steps {starts} in {run.out}: put it on a shared disk")
    if run.team.leads:
        if start:
            print(f"going on from step {start} ({run.out / 'state'})")
        describe(run.model, run.loaded, run.words, run.steps, run.team.size)
        with atomic_file(run.out / "operative.gin") as partial:
            partial.write_text(run.loaded.operative)
        write_json(run.out / "provenance.json", {**run.record, "train": train_record(run.words, run.steps)})
        drop_after(run.out / "metrics.jsonl", start)
        (run.out / "bad-step.json").unlink(missing_ok=True)
    run.team.wait()
    return start


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
    parser.add_argument(
        "--log-every", type=int, default=LOG_EVERY, help=f"steps between lines of metrics.jsonl (default: {LOG_EVERY})"
    )
    parser.add_argument(
        "--attempt",
        type=int,
        default=1,
        help="which try this is of a workflow that starts failed jobs again; what ran out of memory is not tried twice",
    )
    parser.add_argument(
        "--tracking", choices=MODES, default="auto", help="wandb: online, offline, off; auto is online where it is logged in"
    )
    options = parser.parse_args(arguments)
    faulthandler.enable()  # a disk that goes away under LMDB ends the process with SIGBUS: say where
    with config.user_errors():
        torch.set_num_threads(threads_each(options.threads))
        if options.log_every < 1:
            raise ValueError(f"--log-every {options.log_every}: expected a number of steps")
        loaded = load(options.row, options.scale, options.set)
        if not options.data.is_dir():
            raise FileNotFoundError(f"data root {options.data} does not exist; it should hold train/, val/ and test/")
        try:
            tracking = tracking_for(options.tracking, options.row)
            optimisation, processes = loaded.experiment.optimisation, int(os.environ.get("WORLD_SIZE", 1))
            optimisation.accumulation(processes)  # refuses a team that cannot share the batch before anything is opened
            with fitting(optimisation, processes, options.out, options.attempt):
                train(loaded, options.data, options.out, options.seed, options.log_every, tracking)
        except Interrupted as stop:
            if leads():
                print(stop, file=sys.stderr)
            sys.exit(stop.exit_status)
        leave_team()


if __name__ == "__main__":
    main()
