"""Rows built without memory for their weights: what `ablations.reading` keeps of them. Needs torch, so it is imported late."""

from ablations.reading import Counts, Reading, Work
from core.cost import cost, released
from core.experiment import load
from core.summary import summarise


def read(gin: str, scale: str) -> Reading:
    """What the plan needs of a gin file.

    Raises:
        ConfigError: naming file and binding.
    """
    loaded = load(gin, scale)
    model, optimisation, protocol = loaded.blueprint, loaded.experiment.optimisation, loaded.protocol
    summary = summarise(model)
    weights = model.state_dict().values()
    return Reading(
        training=loaded.training,
        operative=loaded.operative,
        named=[str(model.towers.arch), str(model.towers.weights)],
        files=loaded.files,
        train_data=list(loaded.experiment.train_data),
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
        kept_bytes=sum(tensor.nbytes for tensor in model.kept_tensors().values()),
        state_bytes=sum(tensor.nbytes for tensor in weights) + 2 * 4 * summary.trainable,  # AdamW's two moments, float32
    )


def count(gin: str, scale: str, letters: int, captions: float, as_released: bool) -> Work:
    """Operations an image of a gin file's model; `as_released` counts the released code's training step too."""
    loaded = load(gin, scale)
    found = cost(loaded.blueprint, letters=letters, captions=captions, refine_steps=loaded.protocol.refine_steps)
    theirs = released(loaded.blueprint, letters) if as_released else None
    return Work(found.train, found.encode, found.decode, theirs)
