"""Reading all benchmarks with one model under several protocols, which share passes of its image tower where they can."""

import contextlib
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from core.data.benchmarks import benchmarks_of
from core.data.loading import Words, open_lmdbs
from core.data.samples import left_out_text
from core.data.sets import fingerprint, say_copies
from core.data.transforms import ToTensor
from core.errors import DataError, PassingError
from core.evaluate.metrics import score, unscored
from core.evaluate.previous_readings import UNFINISHED, PreviousReadings
from core.evaluate.readings import OUTPUTS, read_images_of
from core.experiment.protocol import Protocol
from core.files import atomic_folder, write_json
from core.model.clip4str import CLIP4STR
from core.run_files import METRICS, PREDICTIONS
from core.runtime.distributed import SINGLE, DistEnv


def evaluate(
    model: CLIP4STR, data: Path, wanted: dict[Path, Protocol], workers: int = 0, team: DistEnv = SINGLE
) -> dict[Path, dict]:
    """`evaluate_benchmarks` of all benchmarks below data/test."""
    return evaluate_benchmarks(model, benchmarks_of(data), wanted, workers, team)


def evaluate_benchmarks(
    model: CLIP4STR,
    benchmarks: dict[str, Path],
    wanted: dict[Path, Protocol],
    workers: int = 0,
    team: DistEnv = SINGLE,
    earlier: PreviousReadings | None = None,
) -> dict[Path, dict]:
    """Read benchmarks; write predictions.parquet and metrics.json into each wanted folder.

    A benchmark that cannot be opened or read is reported and left out; the others are read, and each is kept as soon as it is
    read, so that an interrupted evaluation goes on with the next. Several processes share the images, and
    one of them writes the same files as a single process would.

    Args:
        wanted: folders to write, and the protocol of each.
        workers: processes that load images, for each of the team's.
        earlier: the main process's, of this model; what it has read is not read again.

    Returns:
        The content of each metrics.json. There, per benchmark: `seconds_per_image` by the clock, loading and all decodings
        that share it included; `model_seconds_per_image` of the device for this protocol, the image tower's shared pass
        included, over all processes; `read_for`, the evaluation that it was first read for, where that is an earlier one.
    """
    together: dict[tuple, dict[Path, Protocol]] = {}
    for out, protocol in wanted.items():
        together.setdefault(protocol.encoding, {})[out] = protocol
    results = {}
    for group in together.values():
        results |= evaluate_together(model, benchmarks, group, workers, team, earlier)
    return results


def evaluate_together(
    model: CLIP4STR,
    benchmarks: dict[str, Path],
    group: dict[Path, Protocol],
    workers: int,
    team: DistEnv,
    earlier: PreviousReadings | None,
) -> dict[Path, dict]:
    """`evaluate_benchmarks` for protocols that share the image tower's pass."""
    frames: list[list[pd.DataFrame]] = [[] for _ in group]
    metrics: list[dict] = [{} for _ in group]
    for name, folder in benchmarks.items():
        # the main process decides for all: the others do not look, as files may appear between two looks
        known = team.gather([earlier and earlier.find(protocol, folder, name) for protocol in group.values()])[0]
        unread = [protocol for protocol, before in zip(group.values(), known, strict=True) if before is None]
        read, problem = read_benchmark(model, folder, name, unread, workers, team) if unread else ([], "")
        if problem:
            for entry in metrics:
                entry[name] = {"error": problem}
        if team.is_main and (problem or not unread):
            print(f"{name}: left out: {problem}" if problem else f"{name}: read before, not again")
        if problem:
            continue
        new = iter(read)
        for number, (before, protocol) in enumerate(zip(known, group.values(), strict=True)):
            rows, entry = before or next(new)
            frames[number].append(rows)
            metrics[number][name] = {**entry, **scores(rows, protocol.scoring_charset)}
        if unread and earlier is not None and team.is_main:
            for (out, protocol), rows, entries in zip(group.items(), frames, metrics, strict=True):
                record = {"protocol": asdict(protocol), "benchmarks": entries, "model": earlier.model}
                write_evaluation(out.parent / UNFINISHED / out.name, rows, record)
    if not frames[0]:
        tests = next(iter(benchmarks.values())).parent
        raise DataError(f"{tests}: no benchmark could be read; the messages above say why")
    return write_evaluations(model, group, frames, metrics, workers, team, earlier)


def read_benchmark(
    model: CLIP4STR, folder: Path, name: str, protocols: list[Protocol], workers: int, team: DistEnv
) -> tuple[list[tuple[pd.DataFrame, dict]], str]:
    """For each protocol the rows of a benchmark and its entry of metrics.json without scores; or why it cannot be read."""
    start, content = time.perf_counter(), fingerprint(folder)
    words, problem = open_benchmark(folder, model.towers.image_size, protocols[0], team)
    if problem:
        return [], problem
    for line in say_copies(lmdb.path for lmdb in words.lmdbs) if team.is_main else ():
        print(f"{name}: {line}")
    try:
        read = read_images_of(model, words, protocols, name, workers=workers, team=team)
    except DataError as error:
        if team.size > 1 or isinstance(error, PassingError):  # other processes wait for this one's words; or try again
            raise
        return [], str(error)
    seconds = time.perf_counter() - start  # all rows are on the host: nothing is left to wait for
    if not team.gather(len(read[0].rows))[0]:  # the first process has all of them
        return [], f"none of {words.stored:,} images can be read: {left_out_text(words.stored, read[0].ledger.as_dict(), {})}"
    if fingerprint(folder) != content:
        raise PassingError(f"{folder} changed while it was read; the same command reads it again")
    results = []
    for readings in read:
        images = max(1, len(readings.rows))
        entry = {
            "stored": words.stored,
            "lmdbs": {lmdb.name: lmdb.stored for lmdb in words.lmdbs},
            "left_out": readings.ledger.as_dict(),
            "fingerprint": content,
            "model_seconds_per_image": readings.model_seconds / images,
            "seconds_per_image": seconds / images,
        }
        results.append((readings.rows, entry))
    return results, ""


def open_benchmark(folder: Path, image_size: tuple[int, int], protocol: Protocol, team: DistEnv) -> tuple[Words | None, str]:
    """The words of a benchmark, or why a process of the team cannot open it: then all of them leave it out.

    The protocol's label rules decide which words count, whatever the model: one that writes shorter words has the longer
    ones wrong, so that all models are compared on the same images.
    """
    words, problem = None, ""
    try:
        words = Words(open_lmdbs(folder, *protocol.label_rules), ToTensor(image_size, protocol.normalisation))
    except DataError as error:
        problem = str(error)
    return words, next(filter(None, team.gather(problem)), "")


def write_evaluations(
    model: CLIP4STR,
    group: dict[Path, Protocol],
    frames: list[list[pd.DataFrame]],
    metrics: list[dict],
    workers: int,
    team: DistEnv,
    earlier: PreviousReadings | None,
) -> dict[Path, dict]:
    """Both files of each protocol, by one process; returns what each metrics.json holds.

    Args:
        frames: rows of each benchmark, for each protocol.
        metrics: by benchmark, for each protocol.
    """
    device = next(model.parameters()).device
    circumstances = {
        "model": earlier.model if earlier else None,
        "decoded_together": len(group),
        "device": device.type,
        "processes": team.size,
        "workers": workers,
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "captions_cut": sum(team.gather(model.captions_cut)),
    }
    results = {}
    for (out, protocol), rows, entry in zip(group.items(), frames, metrics, strict=True):
        results[out] = {"protocol": asdict(protocol), "benchmarks": entry, **circumstances}
        if team.is_main:
            write_evaluation(out, rows, results[out])
            remove_unfinished(out)
    team.wait()  # for the files, which every process may look for
    return results


def write_evaluation(out: Path, rows: list[pd.DataFrame], record: dict) -> None:
    """Both files of an evaluation, or none."""
    with atomic_folder(out) as folder:
        pd.concat(rows, ignore_index=True).to_parquet(folder / PREDICTIONS, index=False)
        write_json(folder / METRICS, record)


def remove_unfinished(out: Path) -> None:
    """Remove what was kept for an interruption of an evaluation."""
    kept = out.parent / UNFINISHED
    shutil.rmtree(kept / out.name, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are unfinished there, or there is none
        kept.rmdir()


def scores(rows: pd.DataFrame, charset: str) -> dict:
    """n, correct, accuracy and 1-NED of every output the model has, and the labels that cannot be scored."""
    summary = {"unscored": unscored(rows, charset)}
    for output in OUTPUTS:
        if rows[output].notna().all():
            scored = score(list(rows.label), list(rows[output]), charset)
            summary["n"] = scored.n
            summary[output] = scored.as_entry()
    return summary
