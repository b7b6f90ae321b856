"""What `python -m core.evaluate` does: which protocols and benchmarks are wanted, in which folders, and what is printed."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from core.data.benchmarks import benchmarks_of, canonical
from core.data.sets import fingerprint
from core.errors import UserError
from core.evaluate.evaluations_list import missing_evaluations, write_evaluations_list
from core.evaluate.metrics import images_left_out
from core.evaluate.previous_readings import (
    UNFINISHED,
    PreviousReadings,
    is_reading_of,
    model_digest,
    own_evaluations,
    refuse_replacing,
)
from core.evaluate.readings import too_many_at_once
from core.evaluate.run import evaluate_benchmarks
from core.experiment.experiment import check_contexts, load
from core.experiment.protocol import Protocol, evaluation_digest
from core.files import lines_digest
from core.model.clip4str import CLIP4STR
from core.run_files import EVALUATIONS, MODEL, OPERATIVE_GIN
from core.runtime.compute import is_out_of_memory
from core.runtime.distributed import DistEnv, device, end_distributed, init_distributed, threads_each, workers_each
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
        unread = team.gather(to_read(options.data, run, protocols) if team.is_main else [])[0]
        protocols = {folder: protocol for folder, protocol in protocols.items() if folder.name in unread}
    if protocols:
        workers = workers_each(options.workers, threads_each(options.threads), device())
        model = load_model(options.model).to(device())
        digest = team.gather(model_digest(options.model) if team.is_main else "")[0]
        for folder, protocol in protocols.items():  # before hours of reading
            refuse_replacing(folder, options.model, digest)
            check_contexts(options.model, model, protocol)
            if team.is_main:
                note_normalisation(options.model, model, protocol, run)
        earlier = None
        if team.is_main:
            places = (run / EVALUATIONS, *{folder.parent for folder in protocols}) if not options.again else ()
            earlier = PreviousReadings(digest, tuple(place / sub for place in places for sub in ("", UNFINISHED)))
        benchmarks = chosen_benchmarks(options.data, options.benchmarks)
        results = within_memory(model, benchmarks, protocols, workers, team, earlier)
    if options.update and team.is_main:
        write_evaluations_list(run, names)
    for row, (folder, output) in folders.items() if team.is_main else ():
        if folder in results:
            show_scores(row, results[folder]["benchmarks"], output)
        print(f"written to {folder}" if folder in results else f"{row}: read already, {folder}")
    end_distributed()
    if team.is_main and protocols:
        tracking_for(options.tracking, options.rows[0]).evaluated(run, list(protocols))


def to_read(data: Path, run: Path, protocols: dict[Path, Protocol]) -> list[str]:
    """The evaluations of a run that are missing, older than the model, or of another protocol or other test words."""
    missing = missing_evaluations(run, [folder.name for folder in protocols])
    content = {name: fingerprint(folder) for name, folder in chosen_benchmarks(data, ()).items()}
    others = [folder.name for folder, protocol in protocols.items() if not is_reading_of(folder, protocol, content)]
    return list(dict.fromkeys([*missing, *others]))


def note_normalisation(path: Path, model: CLIP4STR, protocol: Protocol, run: Path) -> None:
    """Print a line where a row asks for another normalisation than the model was trained with."""
    own = run / OPERATIVE_GIN
    if protocol.normalisation != model.normalisation and own.is_file():
        print(
            f"note: {path} was trained with NORMALISATION = {model.normalisation!r} and is read with "
            f"{protocol.normalisation!r}, as the row here says; {own} is the row that it was trained by"
        )


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
    earlier: PreviousReadings | None,
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
        raise UserError(too_many_at_once(batch)) from error


def wanted_folders(options: argparse.Namespace, run: Path) -> tuple[dict[str, tuple[Path, str]], dict[Path, Protocol]]:
    """For each row the folder to write and the output that is scored, and the protocol of each folder.

    Raises:
        UserError: two rows of one name would be written to one folder.
    """
    test_data = fingerprint(options.data / "test")
    if options.benchmarks:
        chosen = chosen_benchmarks(options.data, options.benchmarks)
        test_data = lines_digest(f"{name} {fingerprint(folder)}" for name, folder in chosen.items())
    places = run / EVALUATIONS if options.update else options.out  # folders that are named as files are
    folders: dict[str, tuple[Path, str]] = {}
    protocols: dict[Path, Protocol] = {}
    for row in options.rows:
        protocol = load(row, options.scale).protocol
        own = own_evaluations(options.model) / evaluation_digest(protocol.digest, test_data)
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
