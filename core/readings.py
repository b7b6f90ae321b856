"""What a model reads on a set of images: strings as decoded, before scoring."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from rich.progress import track

from core.charset import CHARSETS
from core.data.lmdb import Ledger
from core.data.loading import Batch, Words, in_order
from core.metrics import score
from core.model.clip4str import CLIP4STR
from core.model.decoding import Prediction
from core.precision import autocast
from core.protocol import Protocol
from core.team import ALONE, Team

OUTPUTS = ("visual_ar", "visual", "cross_ar", "cross")


@dataclass
class Readings:
    """What a model read on one set of images."""

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
    team: Team = ALONE,
    asked: Callable[[], int] | None = None,
) -> list[Readings]:
    """Run Algorithm 1 over a data set: a row an image, with strings as decoded (before scoring).

    The processes of a team take turns batch by batch, so that each batch is read as one process alone would read it, and
    every process gets all rows.

    Args:
        protocols: ways of decoding; they agree in `encoding`, so the image tower sees every image once.
        asked: whether to stop, looked at before every batch.

    Returns:
        One a protocol; `model_seconds` counts the shared pass in each, over all processes.

    Raises:
        Stopped: a process was asked to stop.
    """
    training, seconds, stopped = model.training, [0.0] * len(protocols), False
    read: list[BatchRead] = []
    model.eval()
    loader = in_order(words, protocols[0].batch, workers, team.index, team.size)
    for batch in track(loader, f"reading {benchmark}", transient=True, disable=not team.leads):
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
    columns = ["benchmark", "index", "label", "length", *OUTPUTS, "confidence"]
    frames = (pd.DataFrame(found, columns=columns) for found in rows)
    spent = (sum(seconds[number] for _, seconds, _ in everyones) for number in range(len(protocols)))
    return [Readings(frame, ledger, total) for frame, total in zip(frames, spent, strict=True)]


class BatchRead(NamedTuple):
    """What came of one batch: rows for each protocol, and what could not be decoded."""

    rows: list[list[dict]]
    skipped: list[tuple[str, str]]


def read_batch(model: CLIP4STR, batch: Batch, protocols: Sequence[Protocol], benchmark: str, seconds: list[float]) -> BatchRead:
    """One batch in every way of decoding; adds to the model's seconds of each."""
    rows: list[list[dict]] = [[] for _ in protocols]
    if not batch.labels:
        return BatchRead(rows, batch.skipped)
    device, precision = next(model.parameters()).device, protocols[0].precision
    start = time.perf_counter()
    with autocast(device, precision):
        memory = model.encode(batch.normalised(device))
    shared = time.perf_counter() - start
    for number, protocol in enumerate(protocols):
        start = time.perf_counter()
        with autocast(device, precision):
            prediction = model.decode(memory, protocol.refine_steps, protocol.decode, protocol.fast_cross)
        rows[number] += as_rows(model, prediction, batch, benchmark)
        seconds[number] += shared + time.perf_counter() - start
    return BatchRead(rows, batch.skipped)


def as_rows(model: CLIP4STR, prediction: Prediction, batch: Batch, benchmark: str) -> list[dict]:
    """The rows of predictions.parquet that a batch makes."""
    outputs = {name: getattr(prediction, name) for name in OUTPUTS}
    decoded = {name: model.tokenizer.decode(logits)[0] for name, logits in outputs.items() if logits is not None}
    confidence = model.tokenizer.decode(prediction.output)[1]
    rows = []
    for i, (index, label) in enumerate(zip(batch.indices, batch.labels, strict=True)):
        texts = {name: decoded[name][i] if name in decoded else None for name in OUTPUTS}
        row = {"benchmark": benchmark, "index": index, "label": label, "length": len(label)}
        rows.append({**row, **texts, "confidence": confidence[i]})
    return rows
