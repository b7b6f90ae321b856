"""Milliseconds an image of a trained model on real test images, as Table IX counts them: words end where it ends them."""

import random
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.bench.read import FLOOR, Way, floor, reading, way_of
from core.bench.timing import by_clock, by_processor, device_name, ratios, spread, take_turns
from core.bench.words import mean_letters
from core.charset import CHARSET_94
from core.data.benchmarks import benchmarks_of
from core.data.loading import Words, collate, open_words
from core.data.transforms import ToTensor
from core.errors import DataError, UserError
from core.experiment.protocol import Protocol
from core.model.clip4str import CLIP4STR
from core.runtime.precision import name_of


def sample_images(model: CLIP4STR, data: Path, normalisation: str, count: int, seed: int = 0) -> tuple[Tensor, list[str]]:
    """At most `count` images of all benchmarks below data/test together, and their labels: N 3 H W.

    A benchmark that cannot be opened is reported and left out, as in an evaluation.

    Raises:
        DataError: no image can be read.
    """
    lmdbs = []
    for name, folder in benchmarks_of(data).items():
        try:
            lmdbs += open_words(folder, CHARSET_94, model.max_letters)
        except DataError as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
    words = Words(lmdbs, ToTensor(model.towers.image_size, normalisation))
    order = random.Random(seed).sample(range(len(words)), len(words))
    examples = []
    for position in order:
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
    """Of each row the ways to every output the model has.

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
) -> dict:
    """Milliseconds an image of each row, beside the image tower's own forward pass.

    Every way is timed once however many rows read in it, all of them in turns batch by batch. Images wait on the
    device; the clock sees `encode` and `decode` alone.

    Args:
        protocols: by the names under which they are reported.
        images: how many are sampled; fewer where DATA has fewer.

    Returns:
        What the JSON file holds: `readings` has for each row its own output's cost, and under `outputs` that of every
        output of the model (rows that differ in OUTPUT alone share an evaluation).
    """
    ways = ways_of(model, protocols)
    protocol = next(iter(protocols.values()))
    device = next(model.parameters()).device
    pictures, labels = sample_images(model, data, protocol.normalisation, images)
    batches = [part.to(device) for part in pictures.split(batch)]
    tasks = {FLOOR: lambda number: floor(model, batches[number % len(batches)], protocol.precision)}
    for way in dict.fromkeys(way for row in ways.values() for way in row.values()):
        tasks[way] = lambda number, way=way: reading(model, batches[number % len(batches)], way, protocol.precision)
    rounds = repeats * len(batches)
    measured = take_turns(tasks, rounds, device, f"reading {len(labels)} images {repeats} times")
    clock = {task: passes(seconds, repeats, len(labels)) for task, seconds in by_clock(measured).items()}
    processor = {task: passes(seconds, repeats, len(labels)) for task, seconds in by_processor(measured).items()}
    cpu_ratios = {
        task: ratios(found, processor[FLOOR]).median if device.type == "cpu" else None for task, found in processor.items()
    }
    readings = {}
    for name, row in ways.items():
        outputs = {output: cost(clock[way], clock[FLOOR], cpu_ratios[way]) for output, way in row.items()}
        own = protocols[name].output
        readings[name] = {**outputs[own], "output": own, "outputs": outputs}
    return {
        "device": device_name(device),
        "precision": name_of(protocol.precision),
        "batch": batch,
        "threads": torch.get_num_threads(),
        "images": len(labels),
        "repeats": repeats,
        "mean_letters": mean_letters(labels),
        "readings": readings,
    }


def passes(seconds: list[float], repeats: int, images: int) -> list[float]:
    """Milliseconds an image of each repeat, from the seconds of each batch in each repeat."""
    return (1000 / images * np.reshape(seconds, (repeats, -1)).sum(1)).tolist()


def cost(milliseconds: list[float], floors: list[float], cpu_ratio: float | None) -> dict[str, float | None]:
    """One line of the file: median and range over the repeats."""
    read = spread(milliseconds)
    return {
        "ms_per_image": read.median,
        "low_ms": read.low,
        "high_ms": read.high,
        "floor_ms": spread(floors).median,
        "ratio": ratios(milliseconds, floors).median,
        "cpu_ratio": cpu_ratio,
    }
