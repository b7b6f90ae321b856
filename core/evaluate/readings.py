"""What a model reads on a set of images: strings as decoded, before scoring."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from rich.progress import track

from core.charset import CHARSETS
from core.data.lmdb import Ledger
from core.data.loading import Batch, Words, in_order
from core.data.workers import delivered
from core.evaluate.metrics import score
from core.experiment.protocol import Protocol
from core.model.clip4str import CLIP4STR
from core.model.transfer import Download
from core.runtime.clock import clock
from core.runtime.distributed import SINGLE, DistEnv
from core.runtime.precision import autocast

OUTPUTS = ("visual_ar", "visual", "cross_ar", "cross")
COLUMNS = ("benchmark", "index", "label", "length", *OUTPUTS, "confidence")


@dataclass
class Readings:
    """What a model read on one set of images.

    Args:
        model_seconds: the device's, from the images' way there to ids and confidences, over all processes: what images
            take to be loaded, and strings to be made, is no part of it.
    """

    rows: pd.DataFrame
    ledger: Ledger
    model_seconds: float

    def accuracy(self, output: str, charset_size: int) -> float:
        return score(list(self.rows.label), list(self.rows[output]), CHARSETS[charset_size]).accuracy


class Stopped(Exception):
    """Reading was given up because a process was asked to stop."""


def read_words(
    model: CLIP4STR,
    words: Words,
    protocols: Sequence[Protocol],
    benchmark: str,
    *,
    workers: int = 0,
    team: DistEnv = SINGLE,
    asked: Callable[[], int] | None = None,
) -> list[Readings]:
    """Run Algorithm 1 over a data set: a row an image, with strings as decoded (before scoring).

    The processes of a team take turns batch by batch, so that each batch is read as one process alone would read it, and
    every process gets all rows.

    Args:
        protocols: ways of decoding; they agree in `encoding`, so the image tower sees every image once.
        workers: processes that load images; they change nothing but time.
        asked: whether to stop, looked at before every batch.

    Returns:
        One a protocol; `model_seconds` counts the shared pass in each, over all processes.

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
    everyones = team.gather((stopped, seconds, read))
    if any(stopped for stopped, _, _ in everyones):
        raise Stopped
    ledger, rows = words.ledger(), [[] for _ in protocols]
    for turn in itertools.zip_longest(*(read for _, _, read in everyones)):
        for found in filter(None, turn):
            for reason, key in found.skipped:
                ledger.add(reason, key)
            for all_rows, new in zip(rows, found.rows, strict=True):
                all_rows += new
    frames = (pd.DataFrame(found, columns=COLUMNS) for found in rows)
    spent = (sum(seconds[number] for _, seconds, _ in everyones) for number in range(len(protocols)))
    return [Readings(frame, ledger, total) for frame, total in zip(frames, spent, strict=True)]


class BatchRead(NamedTuple):
    """What came of one batch: rows (COLUMNS) for each protocol, and what could not be decoded."""

    rows: list[list[tuple]]
    skipped: list[tuple[str, str]]


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
    found = Download(torch.stack(packed)).wait()  # once a batch, whatever is asked of it
    return BatchRead([as_rows(model, ids, [*outputs], batch, benchmark) for ids in found], batch.skipped)


def as_rows(model: CLIP4STR, packed: np.ndarray, outputs: list[str], batch: Batch, benchmark: str) -> list[tuple]:
    """The rows of predictions.parquet that a batch makes of what `Tokenizer.pack` made of these outputs."""
    words, confidences = model.tokenizer.unpack(packed, len(outputs))
    texts = {name: [None] * len(batch.labels) for name in OUTPUTS} | dict(zip(outputs, words, strict=True))
    lengths = map(len, batch.labels)
    columns = (
        itertools.repeat(benchmark, len(batch.labels)),
        batch.indices,
        batch.labels,
        lengths,
        *texts.values(),
        confidences,
    )
    return list(zip(*columns, strict=True))
