"""Word accuracy on val/ while a model is trained."""

from collections.abc import Callable
from pathlib import Path

from core.data.loading import Words, open_lmdbs
from core.data.samples import left_out_text
from core.data.transforms import ToTensor
from core.errors import UserError
from core.evaluate.metrics import unscored
from core.evaluate.readings import Stopped, read_images_of, too_many_at_once
from core.experiment.protocol import Protocol
from core.model.clip4str import CLIP4STR
from core.model.cuda_graphs import forget_parts
from core.runtime.compute import is_out_of_memory
from core.runtime.distributed import DistEnv


def validation_words(data: Path, model: CLIP4STR, protocol: Protocol) -> Words | None:
    """The val/ set under the protocol's normalisation and label rules, or None where there is none."""
    if not (data / "val").is_dir():
        return None
    transform = ToTensor(model.towers.image_size, protocol.normalisation)
    return Words(open_lmdbs(data / "val", *protocol.label_rules), transform)


def validate(
    model: CLIP4STR, words: Words, protocol: Protocol, step: int, team: DistEnv, asked: Callable[[], int]
) -> dict | None:
    """Word accuracy on val/, decoded exactly as in an evaluation; None if a process was asked to stop before the end.

    Raises:
        UserError: memory ran out.
    """
    try:
        (readings,) = read_images_of(model, words, [protocol], "val", team=team, asked=asked)
    except Stopped:
        return None
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise UserError(f"while validating, {too_many_at_once(protocol.batch)}") from error
        raise
    finally:
        forget_parts(model)  # training needs the memory
    uncounted = unscored(readings.rows, protocol.scoring_charset)
    scored = len(readings.rows) - sum(reason["count"] for reason in uncounted.values())
    entry = {"step": step, "val_n": scored}
    if left_out := words.stored - scored:
        entry["val_left_out"] = left_out
    if scored < len(words) and team.is_main:  # what the label rules drop was said at the start
        print(f"validation: {left_out_text(words.stored, readings.ledger.as_dict(), uncounted)}")
    for output in ("visual", "cross"):
        if readings.rows[output].notna().all():
            entry[f"val_{output}"] = readings.accuracy(output, protocol.scoring_charset)
    return entry
