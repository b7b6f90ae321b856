"""The predictions of runs, image by image, scored under the table's labels and charset.

Raises ReportError for a file that is missing or damaged, or does not fit the others.
"""

from pathlib import Path

import pandas as pd
from pyarrow import parquet

from core.charset import reduce_text
from core.data.labels import rules_for
from core.data.lmdb import WHOLE
from core.data.samples import BEYOND
from core.errors import ReportError
from core.moved import with_new_settings
from core.run_files import METRICS, PREDICTIONS
from reports.collect.labels import corrected, unlabelled
from reports.collect.runs import evaluation_folder, protocol_of
from reports.collect.stored import damaged, read_json

IMAGE = ["benchmark", "lmdb", "index"]  # what identifies an image: its benchmark, the LMDB below it, the key number there


def read_images(path: Path, columns: list[str]) -> pd.DataFrame:
    """IMAGE and other columns of predictions, one line per image.

    Those of earlier versions do not name their LMDB; that is enough where a benchmark is one LMDB.
    """
    with damaged(path):
        named = [name for name in IMAGE if name != "lmdb" or name in parquet.read_schema(path).names]
        frame = pd.read_parquet(path, columns=[*named, *columns])
    if "lmdb" not in frame:
        frame.insert(1, "lmdb", WHOLE)
    twice = frame[frame.duplicated(IMAGE)]
    if len(twice):
        benchmark, lmdb, index = twice.iloc[0][IMAGE]
        raise ReportError(
            f"{path}: image {index} of {benchmark} (LMDB {lmdb}) comes twice, so no label or reading can be matched to it; "
            f"delete {path.parent} and run the command again"
        )
    return frame


def read_predictions(results: Path, line: pd.Series) -> pd.DataFrame:
    """Per-image results of one row's output over its seeds: IMAGE, seed, label, reading, correct.

    Labels are the table's own (`labels` of table.yaml) where it has some; images without a character of the scoring
    charset in their label are left out.
    """
    frames = []
    for seed in line.seeds.split():
        path = evaluation_folder(results, line, seed) / PREDICTIONS
        if not path.is_file():
            raise ReportError(f"row {line.row}: {path} is missing; run the evaluation again")
        frame = read_images(path, ["label", line.output])
        metrics = read_json(path.with_name(METRICS), f"delete {path.parent} and run the command again")
        check_evaluation(line, path, frame, metrics)
        frames.append(frame.rename(columns={line.output: "reading"}).assign(seed=int(seed)))
    for frame in frames[1:]:
        if apart := sorted(set(frame.benchmark) ^ set(frames[0].benchmark)):
            seeds = f"{frames[0].seed.iloc[0]} and {frame.seed.iloc[0]}"
            raise ReportError(
                f"row {line.row}: {apart[0]} was read with one of seeds {seeds} only; delete "
                "both evaluations and run the command again"
            )
    rows = pd.concat(frames, ignore_index=True)
    charset = protocol_of(line)["scoring_charset"]
    if line.labels:
        rows = corrected(rows, Path(line.labels), metrics["benchmarks"], rules_for(charset))
    rows = scored(rows, charset)
    return rows[[*IMAGE, "seed", "label", "reading", "correct"]]


def scored(rows: pd.DataFrame, charset: str) -> pd.DataFrame:
    """Lines with a label that the charset can write, and `correct`: whether `reading` equals `label` under it."""
    label, reading = (rows[name].map(lambda text: reduce_text(text, charset)) for name in ("label", "reading"))
    return rows.assign(correct=label == reading)[label != ""]


def check_evaluation(line: pd.Series, path: Path, frame: pd.DataFrame, metrics: dict) -> None:
    """Refuse predictions of another protocol than the row's, of fewer images than were readable, or without the output."""
    with damaged(path.with_name(METRICS), f"delete {path.parent} and run the command again"):
        recorded = with_new_settings(metrics["protocol"])
        for name, wanted in protocol_of(line).items():
            if (used := recorded.get(name)) != wanted:
                raise ReportError(
                    f"row {line.row}: {path.parent} was read with {name} = {used!r}, the row asks for {wanted!r}; delete that "
                    "folder and run the command again"
                )
        counts = frame.benchmark.value_counts()
        for name, entry in metrics["benchmarks"].items():
            if "error" in entry:
                continue
            expected = entry["stored"] - sum(left["count"] for why, left in entry["left_out"].items() if why != BEYOND)
            if counts.get(name, 0) != expected:
                raise ReportError(
                    f"row {line.row}: {path} holds {counts.get(name, 0)} predictions of {name}, its benchmark has {expected} "
                    "images; delete the file and run the command again"
                )
    if frame[line.output].isna().any():
        raise ReportError(f"row {line.row}: {path} has no output {line.output!r}; set the row's OUTPUT macro")


def read_benchmarks(results: Path, line: pd.Series) -> dict[str, dict]:
    """The entries of each benchmark in the first seed's metrics.json; empty if there is none (tables of costs)."""
    path = evaluation_folder(results, line, line.seeds.split()[0]) / METRICS
    if not path.is_file():
        return {}
    with damaged(path):
        return read_json(path)["benchmarks"]


def problems_of(results: Path, line: pd.Series) -> dict[str, str]:
    """Benchmarks that the row's evaluation could not open, or that have no labels of the table's own, and why."""
    benchmarks = read_benchmarks(results, line)
    unread = {name: entry["error"] for name, entry in benchmarks.items() if "error" in entry}
    return (unlabelled(Path(line.labels), benchmarks) if line.labels else {}) | unread
