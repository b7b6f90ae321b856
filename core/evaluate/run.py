"""Reading all benchmarks with one model under several protocols, which share passes of its image tower where they can."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from core.data.benchmarks import benchmarks_of, canonical
from core.data.labels import name_of
from core.data.loading import Words, open_words
from core.data.sets import fingerprint, say_copies
from core.data.transforms import ToTensor
from core.errors import DataError, UserError
from core.evaluate.done import MODEL, PREDICTIONS, undone, write_done
from core.evaluate.earlier import METRICS, Earlier, model_digest, own_evaluations, refuse_replacing
from core.evaluate.metrics import images_left_out, score, unscored
from core.evaluate.readings import OUTPUTS, read_words
from core.experiment.experiment import load
from core.experiment.protocol import Protocol, evaluation_digest
from core.files import atomic_folder, lines_digest, write_json
from core.model.clip4str import CLIP4STR
from core.runtime.compute import device_memory, is_out_of_memory
from core.runtime.distributed import SINGLE, DistEnv, device, end_distributed, init_distributed, threads_each, workers_each
from core.runtime.tracking.client import tracking_for
from core.weights.checkpoint import load_model
from core.weights.hub import fetch, is_on_hub


def evaluate_rows(options: argparse.Namespace) -> None:
    """Evaluate a model under the protocols of `core.evaluate`'s rows, print their scores, and record them with wandb."""
    torch.set_num_threads(threads_each(options.threads))
    if is_on_hub(options.model):
        if not options.out:
            raise UserError(f"{options.model} is not a folder to write into: add --out FOLDER")
        options.model = fetch(options.model)
    if options.update and options.model.is_file() and options.model.name != MODEL:
        raise UserError(f"--update {options.model}: expected a run directory or its {MODEL}; leave --update out")
    team = init_distributed()
    run = options.model if options.model.is_dir() else options.model.parent
    folders, protocols = wanted_folders(options, run)
    names, results = [folder.name for folder in protocols], {}
    if options.update:
        # the first process decides for all: another might look when the first has written some already
        unread = team.gather(undone(run, names))[0]
        protocols = {folder: protocol for folder, protocol in protocols.items() if folder.name in unread}
    if protocols:
        workers = workers_each(options.workers, threads_each(options.threads), device())
        model = load_model(options.model).to(device())
        digest = team.gather(model_digest(options.model) if team.is_main else "")[0]
        for folder in protocols:  # before hours of reading
            refuse_replacing(folder, options.model, digest)
        earlier = None
        if team.is_main:
            places = () if options.again else (run / "evaluations", *{folder.parent for folder in protocols})
            earlier = Earlier(digest, places)
        benchmarks = chosen_benchmarks(options.data, options.benchmarks)
        results = within_memory(model, benchmarks, protocols, workers, team, earlier)
    if options.update and team.is_main:
        write_done(run, names)
    for row, (folder, output) in folders.items() if team.is_main else ():
        if folder in results:
            show_scores(row, results[folder]["benchmarks"], output)
        print(f"written to {folder}" if folder in results else f"{row}: read already, {folder}")
    end_distributed()
    if team.is_main and protocols:
        tracking_for(options.tracking, options.rows[0]).evaluated(run, list(protocols))


def chosen_benchmarks(data: Path, names: Sequence[str]) -> dict[str, Path]:
    """The folders of the benchmarks that are named, by their names or their folders', or of all.

    Raises:
        UserError: one is not there.
    """
    benchmarks = benchmarks_of(data)
    by_folder = {folder.name: name for name, folder in benchmarks.items()}
    chosen = [by_folder.get(name, canonical(name, lambda: None)) for name in names]
    for name in chosen:
        if name not in benchmarks:
            raise UserError(f"--benchmarks {name}: {data / 'test'} holds {', '.join(benchmarks)}")
    return {name: folder for name, folder in benchmarks.items() if name in chosen or not chosen}


def within_memory(
    model: CLIP4STR,
    benchmarks: dict[str, Path],
    protocols: dict[Path, Protocol],
    workers: int,
    team: DistEnv,
    earlier: Earlier | None,
) -> dict[Path, dict]:
    """`evaluate_benchmarks`; running out of memory becomes a one-line error.

    Raises:
        UserError: naming the batch, which changes no result.
    """
    try:
        return evaluate_benchmarks(model, benchmarks, protocols, workers, team, earlier)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        batch = max(protocol.batch for protocol in protocols.values())
        raise UserError(
            f"{device_memory()} has too little memory to read {batch} images at once: lower Protocol.batch = {batch} to "
            f"{max(1, batch // 2)}; it changes only speed and memory"
        ) from error


def wanted_folders(options: argparse.Namespace, run: Path) -> tuple[dict[str, tuple[Path, str]], dict[Path, Protocol]]:
    """For each row the folder to write and the output that is scored, and the protocol of each folder.

    Raises:
        UserError: two rows of one name would be written to one folder.
    """
    test_data = fingerprint(options.data / "test")
    if options.benchmarks:
        chosen = chosen_benchmarks(options.data, options.benchmarks)
        test_data = lines_digest(f"{name} {fingerprint(folder)}" for name, folder in chosen.items())
    places = run / "evaluations" if options.update else options.out  # folders that are named as files are
    folders: dict[str, tuple[Path, str]] = {}
    protocols: dict[Path, Protocol] = {}
    for row in options.rows:
        protocol = load(row, options.scale).protocol
        own = own_evaluations(options.model) / evaluation_digest(protocol, test_data)
        folder = places / Path(row).stem if places else own
        if protocols.get(folder, protocol).settings != protocol.settings:
            raise UserError(f"{row}: another row of that name is written to {folder} already; omit --out")
        protocols[folder], folders[row] = protocol, (folder, protocol.output)
    return folders, protocols


def show_scores(row: str, benchmarks: dict[str, dict], output: str) -> None:
    """Print the accuracies of a row; those of the visual branch if the model has no cross-modal one."""
    print(row)
    for name, metrics in benchmarks.items():
        if "n" in metrics:
            shown = output if output in metrics else "visual"
            left = images_left_out(metrics)
            scored = f"{name:20} {metrics[shown]['accuracy']:5.1f} %  of {metrics['n']} words ({shown})"
            print("; ".join(filter(None, [scored, left])))


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
    earlier: Earlier | None = None,
) -> dict[Path, dict]:
    """Read benchmarks; write predictions.parquet and metrics.json into each wanted folder.

    A benchmark that cannot be opened is reported and left out; the others are read. Several processes share the images, and
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
    earlier: Earlier | None,
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
    if not frames[0]:
        tests = next(iter(benchmarks.values())).parent
        raise DataError(f"{tests}: no benchmark could be read; the messages above say why")
    return write_evaluations(model, group, frames, metrics, workers, team, earlier)


def read_benchmark(
    model: CLIP4STR, folder: Path, name: str, protocols: list[Protocol], workers: int, team: DistEnv
) -> tuple[list[tuple[pd.DataFrame, dict]], str]:
    """For each protocol the rows of a benchmark and its entry of metrics.json without scores; or why it cannot be opened."""
    start = time.perf_counter()
    words, problem = open_benchmark(folder, model.towers.image_size, protocols[0], team)
    if problem:
        return [], problem
    for line in say_copies(lmdb.path for lmdb in words.lmdbs) if team.is_main else ():
        print(f"{name}: {line}")
    read = read_words(model, words, protocols, name, workers=workers, team=team)
    seconds = time.perf_counter() - start  # all rows are on the host: nothing is left to wait for
    content, results = fingerprint(folder), []
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
        words = Words(open_words(folder, *protocol.label_rules), ToTensor(image_size, protocol.normalisation))
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
    earlier: Earlier | None,
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
            with atomic_folder(out) as folder:
                pd.concat(rows, ignore_index=True).to_parquet(folder / PREDICTIONS, index=False)
                write_json(folder / METRICS, results[out])
    team.wait()  # for the files, which every process may look for
    return results


def scores(rows: pd.DataFrame, charset: str) -> dict:
    """n, correct, accuracy and 1-NED of every output the model has, and the labels that cannot be scored."""
    keys = (f"{lmdb}: {name_of(index)}" for lmdb, index in zip(rows["lmdb"], rows["index"], strict=True))
    summary = {"unscored": unscored(rows.label, keys, charset)}
    for output in OUTPUTS:
        if rows[output].notna().all():
            scored = score(list(rows.label), list(rows[output]), charset)
            summary["n"] = scored.n
            summary[output] = {
                "correct": scored.correct,
                "accuracy": scored.accuracy,
                "one_minus_ned": scored.one_minus_ned,
            }
    return summary
