"""A whole training run: builds model, data and optimiser from a row, trains, and saves what is needed to resume."""

import contextlib
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch.optim.swa_utils import AveragedModel

from core.choices import LOG_EVERY
from core.data.loading import Words, open_lmdbs
from core.data.sets import fingerprint, train_roots
from core.data.transforms import ToTensor
from core.errors import TrainingError
from core.experiment.experiment import Loaded
from core.files import atomic_file, write_json
from core.model.clip4str import CLIP4STR
from core.run_files import BAD_STEP, OPERATIVE_GIN, PROVENANCE, STATES, TRAINING_LOG
from core.runtime.compute import pick_device
from core.runtime.distributed import DistEnv, init_distributed, on_cpu
from core.runtime.precision import fit_for, name_of
from core.runtime.provenance import provenance
from core.runtime.repeatable import repeatable
from core.runtime.tracking.client import OFF, Tracking
from core.train import tower_graphs
from core.train.loop import Run, train_loop
from core.train.loss_monitor import LossMonitor
from core.train.record import describe, finished, identity, state_identity, train_record
from core.train.state import drop_after, resume, run_lock
from core.train.step import LossModule
from core.train.validation import validation_words
from core.weights.start import Start


def build_model(loaded: Loaded, seed: int) -> CLIP4STR:
    """The model as training starts: seeded random weights, then the towers' pretrained ones, then those of START."""
    name = loaded.experiment.start
    start = Start.read(name).fill if name is not None else None  # before the seed, as reading it draws random numbers
    torch.manual_seed(seed)
    model = loaded.experiment.model(load_weights=True, start=start)
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
        UserError: the START cannot be used.
        Interrupted: a signal asked to stop.
        TrainingError: too many losses are not finite, one has exploded, or a whole batch cannot be decoded.
        OSError: a file could not be written, or another process trains here.
    """
    optimisation = loaded.experiment.optimisation
    precision = fit_for(pick_device(), optimisation.precision)
    unreached = any(weight.requires_grad for weight in loaded.blueprint.towers.unreached())
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True, find_unused_parameters=unreached)
    accelerator = Accelerator(mixed_precision=precision, cpu=on_cpu(), kwargs_handlers=[ddp])
    team = init_distributed()
    if len(kinds := set(team.gather(precision))) > 1:
        raise TrainingError(f"the processes would compute in {' and '.join(sorted(kinds))}; set Optimisation.precision = 'no'")
    optimisation.accumulation(team.size)  # refuses a team that cannot share the batch before anything is opened
    loaded.check_start()
    roots = train_roots(data, loaded.experiment.train_data)
    content = fingerprint(*roots)
    if len(set(team.gather(content))) > 1:
        raise TrainingError(f"the processes see different data below {data / 'train'}: let all of them read the same files")
    record = {**provenance(data, content, seed), "processes": team.size, "precision": name_of(precision)}
    if finished(out, identity(loaded, record)):
        if team.is_main:
            print(f"{out} is trained already")
        return

    run = open_run(loaded, data, roots, out, accelerator, team, record, log_every)
    out.mkdir(parents=True, exist_ok=True)
    with run_lock(out) if team.is_main else contextlib.nullcontext():
        if team.gather(finished(out, run.identity))[0]:  # by another process, while this one waited
            return
        start = resume_or_start(run)
        with (
            tracking.following(out) if team.is_main else contextlib.nullcontext(),
            repeatable(accelerator.device, optimisation.deterministic),
        ):
            if optimisation.graphs:
                graph_tower(run)
            train_loop(run, start)


def graph_tower(run: Run) -> None:
    """The image tower's passes as CUDA graphs from here on, where that is possible; prints where it is not."""
    optimisation, device = run.loaded.experiment.optimisation, run.accelerator.device
    if reason := tower_graphs.reason_not_graphed(run.model, device, run.team.size):
        if run.team.is_main:
            print(f"Optimisation.graphs = True changes nothing: {reason}")
        return
    images = min(optimisation.device_batch, optimisation.batch)
    run.network.graphed_tower = (
        images,
        tower_graphs.graphed_tower(run.model.train(), images, device, run.accelerator.mixed_precision),
    )


def open_run(
    loaded: Loaded,
    data: Path,
    roots: list[Path],
    out: Path,
    accelerator: Accelerator,
    team: DistEnv,
    record: dict,
    log_every: int,
) -> Run:
    """Model, words, optimiser and loss monitor, ready for the first step or for a saved state.

    Args:
        roots: folders of training words.
        record: provenance.

    Raises:
        DataError: the data cannot be used.
    """
    experiment, optimisation, seed = loaded.experiment, loaded.experiment.optimisation, record["seed"]
    model = build_model(loaded, seed)  # first: everything after it may draw random numbers, its weights must not depend on them
    words = Words(
        open_lmdbs(roots, model.tokenizer.charset, model.max_letters),
        ToTensor(model.towers.image_size, experiment.normalisation),
        experiment.augment,
        seed,
        experiment.train_images,
    )
    network, optimiser = accelerator.prepare(LossModule(model), optimisation.optimiser(model))
    lag = int(accelerator.device.type == "cuda")
    scaled = accelerator.scaler is not None
    return Run(
        loaded=loaded,
        record=record,
        out=out,
        accelerator=accelerator,
        team=team,
        model=model,
        network=network,
        optimiser=optimiser,
        words=words,
        validation=validation_words(data, model, loaded.protocol),
        monitor=LossMonitor(optimisation.max_loss_ratio, optimisation.most_skipped, norms=not scaled, lag=lag),
        average=AveragedModel(model) if optimisation.averaging else None,
        log_every=log_every,
    )


def resume_or_start(run: Run) -> int:
    """Load the last saved state if there is one, print and record what will be trained; returns the step to resume from.

    Raises:
        TrainingError: the processes do not see the same states.
    """
    start = resume(run.parts, run.out, state_identity(run.loaded, run.record))
    starts = run.team.gather(start)
    if len(set(starts)) > 1:
        raise TrainingError(f"the processes find states of different steps {starts} in {run.out}: put it on a shared disk")
    if run.team.is_main:
        if start:
            print(f"going on from step {start} ({run.out / STATES})")
        describe(run.model, run.loaded, run.words, run.validation, run.steps, run.team.size)
        with atomic_file(run.out / OPERATIVE_GIN) as partial:
            partial.write_text(run.loaded.operative)
        write_json(run.out / PROVENANCE, {**run.record, "train": train_record(run.words, run.steps, run.model.started_from)})
        drop_after(run.out / TRAINING_LOG, start)
        (run.out / BAD_STEP).unlink(missing_ok=True)
    run.team.wait()
    return start
