"""The ways of decoding in which a trained model was evaluated: evaluations.json, beside the folder evaluations/.

One job evaluates a model in all the ways that are asked for, in one pass of its image tower. How many they are differs from
model to model, which a rule of a workflow cannot declare, so it declares this list.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from core.files import file_digest, write_json

MODEL = "model.safetensors"
PREDICTIONS = "predictions.parquet"
DONE = "evaluations.json"


def is_current(path: Path, model: Path) -> bool:
    """Whether a file is there and not older than the model it was made with; a model that is gone outdates nothing."""
    return path.is_file() and (not model.is_file() or path.stat().st_mtime >= model.stat().st_mtime)


def undone(run: Path, evaluations: Iterable[str]) -> list[str]:
    """Those of the evaluations whose predictions are missing, or older than the model.

    Predictions on a list that is not older than the model count as current too: `snakemake --touch` makes the model and the
    list younger, and does not know of predictions.

    Args:
        run: run directory, <run>/seed<k>.
        evaluations: names of folders below its evaluations/.
    """
    digests = listed(run) if is_current(run / DONE, run / MODEL) else {}
    return [name for name in evaluations if not is_read(run, name, digests.get(name))]


def is_read(run: Path, name: str, digest: str | None) -> bool:
    """Whether predictions are as young as the model, or those with the digest that a current list has."""
    path = run / "evaluations" / name / PREDICTIONS
    return is_current(path, run / MODEL) or (digest is not None and path.is_file() and file_digest(path) == digest)


def write_done(run: Path, evaluations: Iterable[str]) -> None:
    """List evaluations that are there, each with a digest of its predictions: equal predictions make an equal list."""
    write_json(run / DONE, {name: file_digest(run / "evaluations" / name / PREDICTIONS) for name in sorted(evaluations)})


def settle_done(run: Path, evaluations: Iterable[str]) -> None:
    """Make the list agree with the files: without one of them there is no list, with all of them it names them all.

    A workflow watches the list alone; where predictions were deleted, only its absence has them made again. Predictions
    that are older than the list's invention are listed, so that nothing is read again.
    """
    wanted = set(evaluations)
    if undone(run, wanted):
        (run / DONE).unlink(missing_ok=True)
    elif not wanted <= listed(run).keys():
        write_done(run, wanted)


def listed(run: Path) -> dict[str, str]:
    """The evaluations on the list, each with its digest; none where there is no list, or no valid one."""
    try:
        return dict(json.loads((run / DONE).read_text()))
    except (OSError, ValueError, TypeError):
        return {}
