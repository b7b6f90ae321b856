"""Benchmarks that a model has read already, each known by its content: only new and changed ones are read again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from core.data.sets import fingerprint
from core.errors import DataError, UserError
from core.evaluate.readings import COLUMNS
from core.experiment.protocol import Protocol
from core.files import read_json_object, refuse_existing
from core.run_files import EVALUATIONS, METRICS, MODEL, PREDICTIONS, TRACKING
from core.weights.checkpoint import description_of

UNFINISHED = "unfinished"  # folder beside evaluations: what one that was interrupted has read


def own_evaluations(model: Path) -> Path:
    """The folder of a model's evaluations: evaluations/ of its run directory, or evaluations/<file's name> beside other files.

    A run directory has one model.safetensors; beside another file, such as a released checkpoint, there may be more.
    """
    if model.is_dir():
        return model / EVALUATIONS
    return model.with_name(EVALUATIONS) / ("" if model.name == MODEL else model.name)


def model_digest(path: Path) -> str:
    """Changes with any byte of a model's weights, and with the description beside them; `path` as `load_model` takes it."""
    file = path / MODEL if path.is_dir() else path
    with file.open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256")
    if file.suffix == ".safetensors" and (description := description_of(file)):
        digest.update(description.read_bytes())
    return digest.hexdigest()[:16]


def refuse_replacing(folder: Path, model: Path, digest: str) -> None:
    """Raise DataError if writing an evaluation would delete another model's, or anything but an evaluation.

    Among a model's own evaluations those of earlier weights are replaced: it has been trained again.
    """
    place = next(path for path in folder.absolute().parents if path.exists())
    if not place.is_dir():
        raise DataError(f"{place} is a file, so {folder} cannot be written: name another --out")
    refuse_existing(folder, (PREDICTIONS, METRICS, TRACKING))
    is_own = folder.parent.resolve() == own_evaluations(model).resolve()
    read_by = read_json_object(folder / METRICS).get("model") if (folder / METRICS).is_file() and not is_own else None
    if read_by not in (None, digest):
        raise DataError(f"{folder} holds an evaluation of another model: name another --out, or delete it")


@dataclass(frozen=True)
class PreviousReadings:
    """What one model has read before.

    Args:
        model: its digest; what other weights have read is not used.
        places: folders of evaluations, each a folder with predictions and metrics.
    """

    model: str
    places: tuple[Path, ...]

    @cached_property
    def evaluations(self) -> list[tuple[Path, dict]]:
        """Every evaluation of this model with its metrics; what cannot be read is none."""
        found = []
        for path in sorted({path for place in self.places for path in place.glob(f"*/{METRICS}")}):
            try:
                record = read_json_object(path)
            except DataError:
                continue
            if record.get("model") == self.model:
                found.append((path.parent, record))
        return found

    def find(self, protocol: Protocol, folder: Path, name: str) -> tuple[pd.DataFrame, dict] | None:
        """The rows and the entry of metrics.json of a benchmark that was read in this way of decoding, or None.

        Args:
            folder: the benchmark's, by whose content it is found; it may have had another name.
            name: under which its rows are returned.
        """
        content = fingerprint(folder)
        for evaluation, record in self.evaluations:
            for known, entry in record["benchmarks"].items() if same(record.get("protocol"), protocol) else ():
                if entry.get("fingerprint") == content:
                    rows = pd.read_parquet(evaluation / PREDICTIONS, filters=[("benchmark", "==", known)])
                    if tuple(rows.columns) == COLUMNS:  # not of an older version of this code
                        return rows.assign(benchmark=name), {"read_for": evaluation.name} | entry
        return None


def is_reading_of(folder: Path, protocol: Protocol, content: Mapping[str, str]) -> bool:
    """Whether an evaluation is of this protocol and of these test words, all of them read.

    One whose record is missing or damaged counts as such.

    Args:
        content: the fingerprint of every benchmark that there is, by name.
    """
    try:
        record = read_json_object(folder / METRICS)
    except DataError:
        return True
    entries = {name: entry for name, entry in record.get("benchmarks", {}).items() if "error" not in entry}
    read = {name: entry["fingerprint"] for name, entry in entries.items() if "fingerprint" in entry}
    changed = [name for name in content if name not in entries or read.get(name, content[name]) != content[name]]
    return same(record.get("protocol"), protocol) and not changed


def same(recorded: dict | None, protocol: Protocol) -> bool:
    """Whether a recorded protocol makes the same predictions and scores."""
    try:
        return Protocol.from_settings(recorded).settings == protocol.settings
    except (TypeError, UserError):  # of an older version of this code
        return False
