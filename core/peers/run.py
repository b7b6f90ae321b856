"""Benchmarks read by a peer reader, under our data, label rules and scoring."""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

from core.charset import CHARSET_36, CHARSET_94, RejectedLabel, normalise_label
from core.data.benchmarks import benchmarks_of
from core.data.labels import Rules, rules_for
from core.data.loading import Words, in_order, open_lmdbs
from core.data.sets import fingerprint
from core.errors import DataError, PassingError
from core.evaluate.metrics import images_left_out, score, unscored
from core.files import atomic_file, atomic_folder, lines_digest, write_json
from core.peers.reader import Reader, as_entry
from core.run_files import METRICS, PREDICTIONS
from core.runtime.provenance import git, now

NOTE = "A peer reader: it checks data, label rules and scoring, and enters no statistics of an ablation."


def read_benchmark(reader: Reader, folder: Path, name: str, rules: Rules) -> tuple[pd.DataFrame, dict]:
    """One benchmark: one row per image, with strings as the reader writes them, and what metrics.json says beside scores.

    Raises:
        DataError: it cannot be opened, or no label passes the label rules.
    """
    content = fingerprint(folder)
    words = Words(open_lmdbs(folder, *rules), None)
    ledger, rows, reader_seconds, start = words.ledger(), [], 0.0, time.perf_counter()
    for batch in track(in_order(words, 1, 0), f"reading {name}", transient=True):
        for reason, key in batch.skipped:
            ledger.add(reason, key)
        for image, lmdb, index, label in zip(batch.images, batch.lmdbs, batch.indices, batch.labels, strict=True):
            pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())  # H W 3
            before = time.perf_counter()
            text, confidence = reader.read(pixels)
            reader_seconds += time.perf_counter() - before
            rows.append((name, lmdb, index, label, len(label), text, confidence))
    if fingerprint(folder) != content:
        raise PassingError(f"{folder} changed while it was read; the same command reads it again")
    frame = pd.DataFrame(rows, columns=["benchmark", "lmdb", "index", "label", "length", "reading", "confidence"])
    images = max(1, len(frame))
    circumstances = {
        "stored": words.stored,
        "lmdbs": {lmdb.name: lmdb.stored for lmdb in words.lmdbs},
        "left_out": ledger.as_dict(),
        "fingerprint": content,
        "label_charset": rules.charset,
        "threads": reader.threads,
        "model_seconds_per_image": reader_seconds / images,
        "seconds_per_image": (time.perf_counter() - start) / images,
    }
    return frame, circumstances


def scores(rows: pd.DataFrame, scored: str) -> dict:
    """Scores of the strings as they are, and once more with the label rules applied to both sides.

    Args:
        scored: the characters that count.
    """
    rules = rules_for(scored)
    alike = [as_labels_are(reading, rules) for reading in rows.reading]
    own, same = scores_of(rows.label, rows.reading, scored), scores_of(rows.label, alike, scored)
    return {**own, "read_as_labels_are": same, "unscored": unscored(rows, scored)}


def scores_of(labels: Iterable[str], readings: Iterable[str], charset: str) -> dict:
    scored = score(list(labels), list(readings), charset)
    return {"n": scored.n} | scored.as_entry()


def as_labels_are(reading: str, rules: Rules) -> str:
    """A reading under the label rules: "Café" becomes "Cafe", as the label did; our own readers know no other letters."""
    try:
        return normalise_label(reading, rules.charset, sys.maxsize)
    except RejectedLabel:
        return ""


def kept(state: Path, reader: Reader, folder: Path, name: str, rules: Rules) -> tuple[pd.DataFrame, dict] | None:
    """What this reader has read of this benchmark under these label rules before, known by its content; None if nothing.

    Args:
        name: under which the rows are returned.
    """
    content = fingerprint(folder)
    for path in sorted(state.glob(f"*/{METRICS}")):
        earlier = json.loads(path.read_text())
        if earlier["reader"] != asdict(reader.identity) or earlier["read"]["fingerprint"] != content:
            continue
        if earlier["read"].get("label_charset", CHARSET_94) != rules.charset:
            continue
        if "lmdbs" in earlier["read"]:  # not of an earlier version, whose predictions do not name their LMDB
            return pd.read_parquet(path.with_name(PREDICTIONS)).assign(benchmark=name), earlier["read"]
    return None


def folder_name(circumstances: dict) -> str:
    """Where a benchmark is kept: by its content, and by the characters of its labels where they are not the published ones."""
    charset = circumstances["label_charset"]
    suffix = "" if charset == CHARSET_94 else f"-{lines_digest([charset])}"
    return circumstances["fingerprint"] + suffix


def read_benchmarks(reader: Reader, data: Path, out: Path, state: Path | None = None, scored: str = CHARSET_36) -> dict:
    """Read every benchmark below data/test; write out/predictions.parquet and, last, out/metrics.json.

    Every benchmark is kept in `state` when it is finished and read only once, however often the run is interrupted, and
    whatever lies beside it in the test folder.
    One that cannot be opened is reported and left out, the others are read.

    Args:
        state: out/state if None; other test sets may share it.
        scored: the characters that count, by default the published ones, which the readers and the public test sets have in
            common; they decide the label rules too (`core.data.labels.rules_for`).

    Returns:
        The content of metrics.json.

    Raises:
        DataError: no benchmark could be read.
    """
    frames, entries, benchmarks = [], {}, benchmarks_of(data)
    state, rules = state or out / "state", rules_for(scored)
    (out / METRICS).unlink(missing_ok=True)  # from here on it does not belong to what lies beside it
    for name, folder in benchmarks.items():
        try:
            done = kept(state, reader, folder, name, rules)
            frame, circumstances = done or read_benchmark(reader, folder, name, rules)
        except PassingError:
            raise
        except DataError as error:
            entries[name] = {"error": str(error)}
            print(f"{name}: left out: {error}")
            continue
        if done is None:
            with atomic_folder(state / folder_name(circumstances)) as whole:
                frame.to_parquet(whole / PREDICTIONS, index=False)
                write_json(whole / METRICS, {"reader": asdict(reader.identity), "read": circumstances})
        frames.append(frame)
        entries[name] = entry = {**scores(frame, scored), **circumstances}
        reused, left = ", read before" if done else "", images_left_out(entry)
        line = f"{name:20} {entry['accuracy']:5.1f} %  of {entry['n']} words{reused}"
        print("; ".join(filter(None, [line, left])))
    if not frames:
        raise DataError(f"{data / 'test'}: no benchmark could be read; the messages above say why")
    metrics = {
        "reader": as_entry(reader.identity),
        "note": NOTE,
        "scoring_charset": scored,
        "benchmarks": entries,
        "commit": git("rev-parse", "HEAD"),
        "written": now(),
    }
    with atomic_file(out / PREDICTIONS) as partial:
        pd.concat(frames, ignore_index=True).to_parquet(partial, index=False)
    write_json(out / METRICS, metrics)
    return metrics
