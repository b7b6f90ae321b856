"""Predictions of a model on a set of images: strings as decoded, before scoring."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from rich.progress import track

from core.data.lmdb import Ledger
from core.data.loading import Batch, Words, in_order
from core.data.workers import delivered
from core.evaluate.metrics import score
from core.experiment.protocol import Protocol
from core.model.clip4str import CLIP4STR
from core.model.transfer import Download
from core.runtime.clock import clock
from core.runtime.compute import device_memory
from core.runtime.distributed import SINGLE, DistEnv
from core.runtime.precision import autocast

OUTPUTS = ("visual_ar", "visual", "cross_ar", "cross")
COLUMNS = ("benchmark", "lmdb", "index", "label", "length", *OUTPUTS, "confidence")


@dataclass
class Readings:
    """The predictions of a model on one set of images.

    Args:
        model_seconds: the device's, from the images' way there to ids and confidences, over all processes: what images
            take to be loaded, and strings to be made, is not counted.
    """

    rows: pd.DataFrame
    ledger: Ledger
    model_seconds: float

    def accuracy(self, output: str, charset: str) -> float:
        return score(list(self.rows.label), list(self.rows[output]), charset).accuracy


class Stopped(Exception):
    """Reading was given up because a process was asked to stop."""


class BatchRead(NamedTuple):
    """The result of one batch: rows (COLUMNS) for each protocol, and the images that could not be decoded."""

    rows: list[list[tuple]]
    skipped: list[tuple[str, str]]


def read_images_of(
    model: CLIP4STR,
    words: Words,
    protocols: Sequence[Protocol],
    benchmark: str,
    *,
    workers: int = 0,
    team: DistEnv = SINGLE,
    asked: Callable[[], int] | None = None,
) -> list[Readings]:
    """Run Algorithm 1 over a data set: one row per image, with strings as decoded (before scoring).

    The processes of a team take turns batch by batch, so that each batch is read as one process alone would read it, and
    every process gets all rows.

    Args:
        protocols: ways of decoding; they agree in `encoding`, so the image tower sees every image once.
        workers: processes that load images; they change nothing but time.
        asked: whether to stop, looked at before every batch.

    Returns:
        One for each protocol; `model_seconds` counts the shared pass in each, over all processes.

    Raises:
        Stopped: a process was asked to stop.
        DataError: the data went away.
    """
    training, seconds, stopped = model.training, [0.0] * len(protocols), False
    read: list[BatchRead] = []
    model.eval()
    loader = in_order(words, protocols[0].batch, workers, team.index, team.size)
    batches = track(
        delivered(loader, words), f"reading {benchmark}", total=len(loader), transient=True, disable=not team.is_main
    )
    for batch in batches:
        if asked is not None and asked():
            stopped = True
            break
        read.append(read_batch(model, batch, protocols, benchmark, seconds))
    model.train(training)
    everyones = team.gather((stopped, seconds, read))  # also of a process that stops: the others wait for it here
    if any(stopped for stopped, _, _ in everyones):
        raise Stopped
    return in_turns(words.ledger(), [read for _, _, read in everyones], [seconds for _, seconds, _ in everyones])


def too_many_at_once(batch: int) -> str:
    """The error message for memory that ran out while so many images were read."""
    if batch == 1:
        return f"{device_memory()} has too little memory to read a single image"
    return (
        f"{device_memory()} has too little memory to read {batch} images at once: lower Protocol.batch = {batch} to "
        f"{batch // 2}; it changes only speed and memory"
    )


def in_turns(ledger: Ledger, read: list[list[BatchRead]], seconds: list[list[float]]) -> list[Readings]:
    """The predictions of all processes, in the order in which a single process would have made them.

    Args:
        ledger: samples that the label rules left out; images that could not be decoded are added.
        read, seconds: for each process, its batches, and the model's seconds for each protocol.
    """
    rows: list[list[tuple]] = [[] for _ in seconds[0]]
    for turn in itertools.zip_longest(*read):
        for batch in filter(None, turn):
            for reason, key in batch.skipped:
                ledger.add(reason, key)
            for all_rows, new in zip(rows, batch.rows, strict=True):
                all_rows += new
    totals = map(sum, zip(*seconds, strict=True))
    return [Readings(pd.DataFrame(own, columns=COLUMNS), ledger, total) for own, total in zip(rows, totals, strict=True)]


def read_batch(model: CLIP4STR, batch: Batch, protocols: Sequence[Protocol], benchmark: str, seconds: list[float]) -> BatchRead:
    """One batch in every way of decoding; adds to the model's seconds of each."""
    if not batch.labels:
        return BatchRead([[] for _ in protocols], batch.skipped)
    device, precision = next(model.parameters()).device, protocols[0].precision
    start, packed = clock(device), []
    with autocast(device, precision):
        memory = model.encode(batch.normalised(device))
    shared = clock(device) - start
    for number, protocol in enumerate(protocols):
        start = clock(device)
        with autocast(device, precision):
            prediction = model.decode(memory, protocol.refine_steps, protocol.decode, protocol.fast_cross)
        outputs = {name: logits for name in OUTPUTS if (logits := getattr(prediction, name)) is not None}
        packed.append(model.tokenizer.pack([*outputs.values()]))  # the last one is what Algorithm 1 returns
        seconds[number] += shared + clock(device) - start
    host = Download(torch.stack(packed)).wait()  # one copy per batch, however many protocols and outputs
    return BatchRead([as_rows(model, ids, [*outputs], batch, benchmark) for ids in host], batch.skipped)


def as_rows(model: CLIP4STR, packed: np.ndarray, outputs: list[str], batch: Batch, benchmark: str) -> list[tuple]:
    """The rows of predictions.parquet that a batch makes of what `Tokenizer.pack` made of these outputs."""
    words, confidences = model.tokenizer.unpack(packed, len(outputs))
    texts = {name: [None] * len(batch.labels) for name in OUTPUTS} | dict(zip(outputs, words, strict=True))
    where = ([benchmark] * len(batch.labels), batch.lmdbs, batch.indices, batch.labels, map(len, batch.labels))
    return list(zip(*where, *texts.values(), confidences, strict=True))
