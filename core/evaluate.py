"""Read every image of every benchmark and keep all four outputs; scoring happens on the kept strings.

python -m core.evaluate results/runs/<run>/seed0 ablations/table_VI/image0-text6.gin --data results/data/micro

Several rows that decode one model in several ways share one pass of its image tower.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from rich.progress import track

from core import config
from core.charset import CHARSETS
from core.data.errors import DataError
from core.data.lmdb import Ledger, fingerprint
from core.data.loading import Batch, Words, in_order, open_words
from core.data.transforms import ToTensor
from core.files import atomic_folder, write_json
from core.metrics import score
from core.model.clip4str import CLIP4STR
from core.model.decoding import Prediction
from core.protocol import Protocol, evaluation_digest

OUTPUTS = ("visual_ar", "visual", "cross_ar", "cross")
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Readings:
    """What a model read on one set of images."""

    rows: pd.DataFrame
    ledger: Ledger
    model_seconds: float

    def accuracy(self, output: str, charset_size: int) -> float:
        return score(list(self.rows.label), list(self.rows[output]), CHARSETS[charset_size]).accuracy


def read_words(
    model: CLIP4STR, words: Words, protocols: Sequence[Protocol], benchmark: str, *, workers: int = 0
) -> list[Readings]:
    """Run Algorithm 1 over a data set: a row an image, with strings as decoded (before scoring).

    Args:
        protocols: ways of decoding; they agree in `encoding`, so the image tower sees every image once.

    Returns:
        One a protocol; `model_seconds` counts the shared pass in each.
    """
    device, encoding = next(model.parameters()).device, protocols[0]
    training, ledger = model.training, words.ledger()
    rows: list[list[dict]] = [[] for _ in protocols]
    seconds = [0.0] * len(protocols)
    model.eval()
    autocast = torch.autocast(device.type, DTYPES[encoding.precision], enabled=encoding.precision != "no")
    for batch in track(in_order(words, encoding.batch, workers), f"reading {benchmark}", transient=True):
        for reason, key in batch.skipped:
            ledger.add(reason, key)
        if not batch.labels:
            continue
        start = time.perf_counter()
        with autocast:
            memory = model.encode(batch.images.to(device))
        shared = time.perf_counter() - start
        for number, protocol in enumerate(protocols):
            start = time.perf_counter()
            with autocast:
                prediction = model.decode(memory, protocol.refine_steps, protocol.decode, protocol.fast_cross)
            rows[number] += as_rows(model, prediction, batch, benchmark)
            seconds[number] += shared + time.perf_counter() - start
    model.train(training)
    columns = ["benchmark", "index", "label", "length", *OUTPUTS, "confidence"]
    frames = (pd.DataFrame(found, columns=columns) for found in rows)
    return [Readings(frame, ledger, spent) for frame, spent in zip(frames, seconds, strict=True)]


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


def benchmarks_of(data: Path) -> dict[str, Path]:
    """Benchmark names and folders below data/test, sorted.

    Raises:
        DataError: there is none.
    """
    root = data / "test"
    found = {path.name: path for path in sorted(root.iterdir()) if any(path.rglob("data.mdb"))} if root.is_dir() else {}
    if not found:
        raise DataError(f"{root}: no benchmark here; expected test/<benchmark>/data.mdb")
    return found


def evaluate(model: CLIP4STR, data: Path, wanted: dict[Path, Protocol], workers: int = 0) -> dict[Path, dict]:
    """Read all benchmarks below data/test; write predictions.parquet and metrics.json into each wanted folder.

    A benchmark that cannot be opened is reported and left out, the others are read all the same.

    Args:
        wanted: folders to write, and the protocol of each.

    Returns:
        The content of each metrics.json.
    """
    together: dict[tuple, dict[Path, Protocol]] = {}
    for out, protocol in wanted.items():
        together.setdefault(protocol.encoding, {})[out] = protocol
    results = {}
    for group in together.values():
        results |= evaluate_together(model, data, group, workers)
    return results


def evaluate_together(model: CLIP4STR, data: Path, group: dict[Path, Protocol], workers: int) -> dict[Path, dict]:
    """`evaluate` for protocols that share the image tower's pass."""
    protocols = list(group.values())
    transform = ToTensor(model.towers.image_size, protocols[0].normalisation)
    charset = CHARSETS[94]
    frames: list[list[pd.DataFrame]] = [[] for _ in protocols]
    metrics: list[dict] = [{} for _ in protocols]
    for name, folder in benchmarks_of(data).items():
        start = time.perf_counter()
        try:
            words = Words(open_words(folder, charset, model.max_letters), transform)
        except DataError as error:
            for entry in metrics:
                entry[name] = {"error": str(error)}
            print(f"{name}: left out: {error}")
            continue
        found = read_words(model, words, protocols, name, workers=workers)
        for number, (readings, protocol) in enumerate(zip(found, protocols, strict=True)):
            frames[number].append(readings.rows)
            images = max(1, len(readings.rows))
            metrics[number][name] = {
                **summarise(readings.rows, CHARSETS[protocol.scoring_charset_size]),
                "stored": sum(lmdb.stored for lmdb in words.lmdbs),
                "left_out": readings.ledger.as_dict(),
                "fingerprint": fingerprint(folder),
                "model_seconds_per_image": readings.model_seconds / images,
                "seconds_per_image": (time.perf_counter() - start) / images / len(protocols),
            }
    if not frames[0]:
        raise DataError(f"{data / 'test'}: no benchmark could be read; the messages above say why")
    device = next(model.parameters()).device
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    results = {}
    for (out, protocol), rows, entry in zip(group.items(), frames, metrics, strict=True):
        results[out] = {
            "protocol": asdict(protocol),
            "benchmarks": entry,
            "decoded_together": len(protocols),
            "device": device.type,
            "peak_memory_bytes": peak,
            "captions_cut": model.captions_cut,
        }
        with atomic_folder(out) as folder:
            pd.concat(rows, ignore_index=True).to_parquet(folder / "predictions.parquet", index=False)
            write_json(folder / "metrics.json", results[out])
    return results


def summarise(rows: pd.DataFrame, charset: str) -> dict:
    """n, correct, accuracy and 1-NED of every output the model has."""
    summary = {}
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


def main(arguments: Sequence[str] | None = None) -> None:
    from core.checkpoint import load_model
    from core.experiment import load
    from core.train import pick_device

    parser = argparse.ArgumentParser(
        description="Read every benchmark below DATA/test with a trained model; keep predictions and scores."
    )
    parser.add_argument("model", type=Path, help="run directory, model.safetensors or released checkpoint")
    parser.add_argument(
        "rows",
        nargs="+",
        metavar="ROW",
        help="gin files whose protocols are used, e.g. ablations/table_VI/image0-text6.gin; for a released checkpoint "
        "ablations/released/as_published.gin or consistent.gin",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with test/<benchmark>/data.mdb")
    parser.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images (default: 0, in the main one)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder to write: each ROW into a folder of its file's name (default: below MODEL/evaluations, into one named "
        "after a digest of protocol and test data)",
    )
    options = parser.parse_args(arguments)
    with config.user_errors():
        torch.set_num_threads(options.threads or os.cpu_count() or 1)
        run = options.model if options.model.is_dir() else options.model.parent
        test_data = fingerprint(options.data / "test")
        wanted, scored = {}, {}
        for row in options.rows:
            protocol = load(row, options.scale).protocol
            digest = evaluation_digest(protocol, test_data)
            folder = options.out / Path(row).stem if options.out else run / "evaluations" / digest
            if wanted.get(folder, protocol).settings != protocol.settings:
                raise ValueError(f"{row}: another row of that name is written to {folder} already; leave --out away")
            wanted[folder], scored[row] = protocol, (folder, protocol.output)
        model = load_model(options.model).to(pick_device())
        results = evaluate(model, options.data, wanted, options.workers)
        for row, (folder, output) in scored.items():
            print(row)
            for name, metrics in results[folder]["benchmarks"].items():
                if "n" in metrics:
                    output = output if output in metrics else "visual"
                    print(f"{name:20} {metrics[output]['accuracy']:5.1f} %  of {metrics['n']} words ({output})")
            print(f"written to {folder}")


if __name__ == "__main__":
    main()
