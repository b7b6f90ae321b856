"""Milliseconds per image of a trained model on real test images, as Table IX counts them: words end where it ends them."""

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from operator import mul
from pathlib import Path

import torch
from torch import Tensor

from core.bench.beside import jobs_beside
from core.bench.measure import IMAGE_TOWER, Measurement, Seconds, compare, device_name, report, take_turns
from core.bench.read import Way, reading, tower_forward, way_of
from core.bench.words import mean_letters
from core.data.benchmarks import benchmarks_of
from core.data.loading import Words, collate, open_lmdbs
from core.data.transforms import ToTensor
from core.errors import DataError, UserError
from core.experiment.experiment import load
from core.experiment.protocol import Protocol
from core.files import write_json
from core.model.clip4str import CLIP4STR
from core.runtime.compute import pick_device
from core.runtime.precision import name_of
from core.weights.checkpoint import load_model

NOTE = (
    "Test images, read as the model reads them; reference: the image tower's own forward pass. Rows end with their output; the "
    "visual one is timed without the cross-modal branch."
)


def sample_images(model: CLIP4STR, data: Path, protocol: Protocol, count: int) -> tuple[Tensor, list[str]]:
    """At most `count` images of all benchmarks below data/test together, and their labels: N 3 H W.

    A benchmark that cannot be opened is reported and left out, as in an evaluation.

    Raises:
        DataError: no image can be read.
    """
    lmdbs = []
    for name, folder in benchmarks_of(data).items():
        try:
            lmdbs += open_lmdbs(folder, *protocol.label_rules)
        except DataError as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
    words = Words(lmdbs, ToTensor(model.towers.image_size, protocol.normalisation))
    examples = []
    for position in random.Random(0).sample(range(len(words)), len(words)):
        if len(examples) == count:
            break
        example = words[0, position]
        if example.image is not None:
            examples.append(example)
    if not examples:
        raise DataError(f"{data / 'test'}: no image here can be decoded")
    batch = collate(examples)
    return batch.normalised("cpu"), batch.labels


def ways_of(model: CLIP4STR, protocols: Mapping[str, Protocol]) -> dict[str, dict[str, Way]]:
    """For each row, the `Way` to every output that the model has.

    Raises:
        UserError: rows that do not share their images' normalisation and precision, or that ask for a branch that
            the model does not have.
    """
    first_name, first = next(iter(protocols.items()))
    for name, protocol in protocols.items():
        for key in ("normalisation", "precision"):
            here, there = getattr(protocol, key), getattr(first, key)
            if here != there:
                raise UserError(f"{name}: {key} = {here!r}, but {first_name} has {there!r}; measure them in two calls")
        if protocol.output == "cross" and model.cross_decoder is None:
            raise UserError(f"{name}: OUTPUT = 'cross', but the model has the visual branch alone; say 'visual'")
    outputs = ("visual",) if model.cross_decoder is None else ("visual", "cross")
    return {name: {output: way_of(protocol, output) for output in outputs} for name, protocol in protocols.items()}


def measure_trained(
    model: CLIP4STR, data: Path, protocols: Mapping[str, Protocol], *, batch: int, images: int, repeats: int
) -> tuple[list[Measurement], dict]:
    """Milliseconds per image of every row and output, beside the image tower's own forward pass.

    Every way is timed once however many rows read in it, all of them in turns batch by batch. Images wait on the
    device; the clock sees `encode` and `decode` alone.

    Args:
        protocols: by the names under which they are reported.
        images: number of sampled images; fewer if DATA has fewer.

    Returns:
        The measurements, and what the JSON file holds: `readings` has for each row its own output's cost, and under
        `outputs` that of every output of the model (rows that differ in OUTPUT alone share an evaluation); `other_jobs` is how
        many other jobs of the workflow were at work before or after, whichever is more (`core.bench.beside`).
    """
    ways, protocol = ways_of(model, protocols), next(iter(protocols.values()))
    device, precision = next(model.parameters()).device, protocol.precision
    pictures, labels = sample_images(model, data, protocol, images)
    batches = [part.to(device) for part in pictures.split(batch)]
    tasks = {IMAGE_TOWER: lambda number: tower_forward(model, batches[number % len(batches)], precision)}
    for way in dict.fromkeys(way for row in ways.values() for way in row.values()):
        tasks[way] = lambda number, way=way: reading(model, batches[number % len(batches)], way, precision)
    title = f"reading {len(labels)} images {repeats} times"
    before = jobs_beside()
    measured = take_turns(tasks, repeats * len(batches), device, title)
    other_jobs = None if before is None else max(before, jobs_beside() or 0)
    passes = {task: whole_passes(seconds, len(batches)) for task, seconds in measured.items()}
    setting = {"precision": name_of(precision), "batch": batch, "images": len(labels), "mean_letters": mean_letters(labels)}
    per_image = partial(mul, 1000 / len(labels))
    costs, readings = [], {}
    for name, row in ways.items():
        outputs = {}
        for output, way in row.items():
            cost = compare(f"{name}, {output}", passes[way], passes[IMAGE_TOWER], device, setting, value=per_image)
            costs.append(cost)
            outputs[output] = as_entry(cost)
        readings[name] = {**outputs[protocols[name].output], "output": protocols[name].output, "outputs": outputs}
    machine = {"device": device_name(device), "threads": torch.get_num_threads(), "repeats": repeats, "other_jobs": other_jobs}
    return costs, {**machine, **setting, "readings": readings}


def whole_passes(seconds: Sequence[Seconds], batches: int) -> list[Seconds]:
    """The seconds of each repeat, from those of each batch in each repeat."""
    starts = range(0, len(seconds), batches)
    return [Seconds(*map(sum, zip(*seconds[start : start + batches], strict=True))) for start in starts]


def as_entry(cost: Measurement) -> dict[str, float | None]:
    """A measurement as reading_time.json holds it."""
    return {
        "ms_per_image": cost.ours.median,
        "low_ms": cost.ours.low,
        "high_ms": cost.ours.high,
        "floor_ms": cost.reference.median,
        "ratio": cost.ratio.median,
        "cpu_ratio": cost.cpu_ratio,
        "cpu_share": cost.cpu_share,
    }


def protocols_of(rows: Sequence[str], scale: str) -> dict[str, Protocol]:
    """The protocols of gin files, by the files' stems.

    Raises:
        UserError: two files have the same stem.
    """
    protocols: dict[str, Protocol] = {}
    for row in rows:
        if Path(row).stem in protocols:
            raise UserError(f"{row}: another ROW has the stem {Path(row).stem!r}, the key of the file; rename one of them")
        protocols[Path(row).stem] = load(row, scale).protocol
    return protocols


def run(options: argparse.Namespace) -> None:
    model = load_model(options.model).to(pick_device())
    sizes = {"batch": options.batch[0], "images": options.images or 256, "repeats": options.repeats}
    costs, content = measure_trained(model, options.data, protocols_of(options.rows, options.scale), **sizes)
    write_json(options.out, content)
    report(costs, "Reading per image", NOTE, options.json)
    if not options.json:
        print(f"written to {options.out}")
