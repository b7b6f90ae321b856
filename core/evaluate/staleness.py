"""Whether a run was trained and tested on the data that is in the data folder now."""

import ast
import re
from pathlib import Path

from core.data.benchmarks import benchmarks_of
from core.data.environments import environment
from core.data.folders import folders_below
from core.data.keys import COUNT_KEY
from core.data.sets import find_lmdbs, fingerprint, train_roots
from core.errors import DataError
from core.files import read_json_object
from core.run_files import EVALUATIONS, METRICS, OPERATIVE_GIN, PROVENANCE


def stale_reason(run_folder: Path, data: Path) -> str:
    """Why a run's results no longer belong to the data below `data`; empty while they do.

    Compared is `core.data.sets.fingerprint`, which the run recorded: names of the LMDBs, and all bytes of each data.mdb.

    Raises:
        DataError: it is not a run directory, or what it recorded does not parse.
    """
    record = read_json_object(run_folder / PROVENANCE)
    reasons = [training_change(run_folder, record, data)]
    for path in sorted(run_folder.glob(f"{EVALUATIONS}/*/{METRICS}")):
        for name, metrics in read_json_object(path).get("benchmarks", {}).items():
            if "fingerprint" in metrics:
                reasons.append(test_change(name, metrics, data))
    return "; ".join(dict.fromkeys(filter(None, reasons)))


def runs_on(runs: Path, data: Path) -> tuple[list[Path], list[Path]]:
    """Run directories (with provenance.json) below a folder: those trained on `data`, and those on something else.

    A run was trained on `data` if it was there, whatever lies there now, or if its training words lie there now.
    """
    ours, others = [], []
    for folder in sorted(folder for folder, files in folders_below(runs) if PROVENANCE in files):
        record = read_json_object(folder / PROVENANCE)
        here = Path(record.get("data", "")).resolve() == data.resolve() or not training_change(folder, record, data)
        (ours if here else others).append(folder)
    return ours, others


def training_change(run_folder: Path, record: dict, data: Path) -> str:
    """`compare_training`, or why it cannot be done."""
    try:
        return compare_training(run_folder, record, data)
    except DataError as error:
        return f"its training data cannot be compared: {error}"


def compare_training(run_folder: Path, record: dict, data: Path) -> str:
    """What changed in the training sets of a run since; empty for nothing.

    Args:
        record: its provenance.json.

    Raises:
        DataError: they are not there, or the run does not say which they were.
    """
    roots = train_roots(data, train_data(run_folder / OPERATIVE_GIN))
    now = fingerprint(*roots)
    expected = record.get("data_fingerprint")
    if now == expected:
        return ""
    known = {entry["path"]: entry["stored"] for entry in record.get("train", {}).get("lmdbs", [])}
    changes = train_changes(known, Path(record.get("data", "")), data, roots)
    detail = f" ({', '.join(changes)})" if changes else " (the same LMDBs with as many samples, their bytes differ)"
    return f"training data changed since: fingerprint {now}, the run has {expected}{detail}"


def train_changes(known: dict[str, int], before: Path, data: Path, roots: list[Path]) -> list[str]:
    """The differences between the LMDBs that a run listed and those that are there now."""
    then = {Path(path).relative_to(before).as_posix(): stored for path, stored in known.items() if before in Path(path).parents}
    now = {folder.relative_to(data).as_posix(): folder for root in roots for folder in find_lmdbs(root)}
    changes = [f"{name} is gone" for name in sorted(then.keys() - now.keys())]
    changes += [f"{name} is new" for name in sorted(now.keys() - then.keys())]
    for name in sorted(then.keys() & now.keys()):
        with environment(now[name]).begin() as transaction:
            stored = int(transaction.get(COUNT_KEY) or 0)
        if stored != then[name]:
            changes.append(f"{name} stores {stored:,} samples, then {then[name]:,}")
    return changes


def test_change(name: str, metrics: dict, data: Path) -> str:
    try:
        now = fingerprint(benchmarks_of(data)[name])
    except (DataError, KeyError):
        return f"benchmark {name} is gone"
    if now == metrics["fingerprint"]:
        return ""
    return f"benchmark {name} changed since: fingerprint {now}, the run has {metrics['fingerprint']}"


def train_data(operative: Path) -> tuple[str, ...]:
    """TRAIN_DATA of a run's operative.gin.

    Raises:
        DataError: it has none.
    """
    text = operative.read_text() if operative.is_file() else ""
    value = re.search(r"(?:^TRAIN_DATA|\.train_data)\s*=\s*\\?\s*(\([^)]*\)|\[[^\]]*\])", text, re.MULTILINE)
    if value is None:
        raise DataError(f"{operative} names no TRAIN_DATA, the folders below train/; train the run again")
    return tuple(ast.literal_eval(value[1]))
