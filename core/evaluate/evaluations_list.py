"""evaluations.json: the list of protocols under which a trained model was evaluated, beside the folder evaluations/.

One job evaluates a model under all protocols that rows need, in one pass of its image tower. Their number differs between
models, which a Snakemake rule cannot declare as outputs, so the rule declares this list as its only output.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from core.files import file_digest, write_json
from core.run_files import EVALUATIONS, EVALUATIONS_LIST, MODEL, PREDICTIONS


def is_current(path: Path, model: Path) -> bool:
    """Whether a file exists and is not older than the model it was made with; if the model is gone, it counts as current."""
    return path.is_file() and (not model.is_file() or path.stat().st_mtime >= model.stat().st_mtime)


def missing_evaluations(run: Path, evaluations: Iterable[str]) -> list[str]:
    """Those of the evaluations whose predictions are missing, or older than the model.

    Predictions on a list that is not older than the model count as current too: `snakemake --touch` makes the model and the
    list younger, and does not know of predictions.

    Args:
        run: run directory, <run>/seed<k>.
        evaluations: names of folders below its evaluations/.
    """
    digests = listed_evaluations(run) if is_current(run / EVALUATIONS_LIST, run / MODEL) else {}
    return [name for name in evaluations if not is_read(run, name, digests.get(name))]


def is_read(run: Path, name: str, digest: str | None) -> bool:
    """Whether predictions are not older than the model, or have the digest recorded in a current list."""
    path = run / EVALUATIONS / name / PREDICTIONS
    return is_current(path, run / MODEL) or (digest is not None and path.is_file() and file_digest(path) == digest)


def write_evaluations_list(run: Path, evaluations: Iterable[str]) -> None:
    """Write the list of existing evaluations, each with a digest of its predictions: equal predictions, equal list."""
    write_json(
        run / EVALUATIONS_LIST, {name: file_digest(run / EVALUATIONS / name / PREDICTIONS) for name in sorted(evaluations)}
    )


def settle_evaluations_list(run: Path, evaluations: Iterable[str]) -> None:
    """Make the list agree with the files: if one of them is missing the list is deleted, otherwise it names them all.

    A workflow watches the list alone; where predictions were deleted, only its absence has them made again. Predictions
    that are older than the list's invention are listed, so that nothing is read again.
    """
    wanted = set(evaluations)
    if missing_evaluations(run, wanted):
        (run / EVALUATIONS_LIST).unlink(missing_ok=True)
    elif not wanted <= listed_evaluations(run).keys():
        write_evaluations_list(run, wanted)


def listed_evaluations(run: Path) -> dict[str, str]:
    """The evaluations on the list, each with its digest; empty if the list is missing or not valid."""
    try:
        return dict(json.loads((run / EVALUATIONS_LIST).read_text()))
    except (OSError, ValueError, TypeError):
        return {}
