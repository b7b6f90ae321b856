"""Builds rows on torch's meta device (no memory for weights) for `ablations.row_config`. Imported late, as it needs torch."""

from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ablations.row_config import MACHINE, Counts, RowConfig, Work
from core import config
from core.errors import UserError
from core.experiment.experiment import Loaded, load
from core.experiment.operations import cost, released_training_flops
from core.experiment.parameters import summarise
from core.experiment.step_memory import saved_bytes
from core.pretrain.pretraining import Pretraining

COUNTED = 2  # images of a pretraining step whose operations are counted


def read(gin: str, scale: str) -> RowConfig:
    """Read a gin file into the entries of a `RowConfig`.

    Raises:
        ConfigError: naming file and binding.
    """
    loaded = load(gin, scale)
    model, optimisation, protocol = loaded.blueprint, loaded.experiment.optimisation, loaded.protocol
    summary = summarise(model)
    weights = model.state_dict()
    kept = model.kept_tensors() if loaded.experiment.start is None else weights  # with a start an adapted tower is kept whole
    return RowConfig(
        training=loaded.training,
        operative=loaded.operative,
        named=loaded.named,
        files=loaded.files,
        start_row=loaded.start_row or "",
        start_problem=start_problem(loaded),
        train_data=list(loaded.experiment.train_data),
        train_images=loaded.experiment.train_images,
        protocol=protocol.settings,
        protocol_digest=protocol.digest,
        output=protocol.output,
        counts=Counts(
            total=summary.total,
            trainable=summary.trainable,
            frozen=summary.frozen,
            encoders_trainable=summary.encoders_trainable,
            image_layers=summary.image_layers,
            text_layers=summary.text_layers,
        ),
        steps=optimisation.steps,
        epochs=optimisation.epochs,
        batch=optimisation.batch,
        device_batch=optimisation.device_batch,
        precision=optimisation.precision,
        test_precision=protocol.precision,
        validate_every=optimisation.validate_every,
        kept_bytes=sum(tensor.nbytes for tensor in kept.values()),
        state_bytes=sum(tensor.nbytes for tensor in weights.values())
        + 2 * 4 * summary.trainable,  # AdamW's two moments, float32
        machine={name: getattr(optimisation, name) for name in MACHINE},
    )


def start_problem(loaded: Loaded) -> str:
    """Why a row's START cannot be used; empty where it can, or where there is none."""
    try:
        loaded.check_start(planned=True)
    except UserError as error:
        return str(error)
    return ""


def count(gin: str, scale: str, letters: int, captions: float, released_letters: int | None) -> Work:
    """Operations per image of a gin file's model, and what its training step keeps.

    Args:
        letters: length of a step's longest word.
        captions: the share of its captions that differ.
        released_letters: count the released code's training step too, its longest word that long.
    """
    loaded = load(gin, scale)
    model = loaded.blueprint
    found = cost(model, letters=min(letters, model.max_letters), captions=captions, refine_steps=loaded.protocol.refine_steps)
    theirs = released_training_flops(model, released_letters) if released_letters else None
    saved = saved_bytes(model, captions)
    return Work(found.train, found.encode, found.decode, saved.image, saved.once, theirs)


def count_pretraining(recipe: Path) -> tuple[float, int]:
    """Operations of all steps of a pretraining, and the images that it draws.

    Raises:
        ConfigError: its gin file cannot be read.
    """
    plan = config.build(Pretraining, recipe)
    labels = [plan.task.draw(index)[1] for index in range(COUNTED)]
    images = torch.zeros(COUNTED, 3, *plan.task.image_size)
    # the plain kernel: matrix products inside fused ones are not counted on a CPU
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss, _ = plan.task.loss(images, labels, np.random.default_rng(0))
        loss.backward()
    return counter.get_total_flops() / COUNTED * plan.batch * plan.steps, plan.images
