"""Read every image of every benchmark once and keep all four outputs; scoring happens on the kept strings.

python -m core.evaluate results/runs/<run>/seed0 ablations/table_VI/image0-text6.gin --data results/data/micro
"""

import argparse
import json
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
from core.data.loading import Words, in_order, open_words
from core.data.transforms import NORMALISATIONS, ToTensor
from core.files import atomic_folder, write_json
from core.metrics import score
from core.model.clip4str import CLIP4STR
from core.model.decoding import FIRST_PASS

OUTPUTS = ("visual_ar", "visual", "cross_ar", "cross")
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Protocol:
    """How a trained model is read and scored; tables never mix two of them.

    Args:
        normalisation: of test images, "clip" or "half" (as the released test loader does).
        decode: "ar" or "cloze", the first pass of Algorithm 1.
        refine_steps: T_i.
        fast_cross: Eq. (8) in place of the cross-modal branch's own first pass.
        scoring_charset_size: 36 (published) or 94.
        precision: "no" (float32), "bf16" or "fp16".
        batch: images a forward pass; changes nothing but speed and memory.
    """

    normalisation: str
    decode: str
    refine_steps: int
    fast_cross: bool
    scoring_charset_size: int
    precision: str
    batch: int

    def __post_init__(self):
        if self.decode not in FIRST_PASS:
            raise ValueError(f"DECODE = {self.decode!r}: expected one of {', '.join(FIRST_PASS)}")
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(f"NORMALISATION = {self.normalisation!r}: expected one of {', '.join(NORMALISATIONS)}")
        if self.refine_steps < 0:
            raise ValueError(f"REFINE_STEPS = {self.refine_steps} is negative")
        if self.precision not in DTYPES:
            raise ValueError(f"Protocol.precision = {self.precision!r}: expected one of {', '.join(DTYPES)}")
        if self.scoring_charset_size not in CHARSETS:
            raise ValueError(f"Protocol.scoring_charset_size = {self.scoring_charset_size}: expected 36 or 94")

    @property
    def digest(self) -> str:
        """Eight hex digits of everything that can change a score."""
        settings = {name: value for name, value in asdict(self).items() if name != "batch"}
        return config.digest(json.dumps(settings, sort_keys=True))


def evaluation_digest(protocol: Protocol, test_data: str) -> str:
    """Names an evaluation: eight hex digits of the protocol and of what the test data is."""
    return config.digest(protocol.digest + test_data)


@dataclass
class Readings:
    """What a model read on one set of images."""

    rows: pd.DataFrame
    ledger: Ledger
    model_seconds: float

    def accuracy(self, output: str, charset_size: int) -> float:
        return score(list(self.rows.label), list(self.rows[output]), CHARSETS[charset_size]).accuracy


def read_words(model: CLIP4STR, words: Words, protocol: Protocol, benchmark: str, *, workers: int = 0) -> Readings:
    """Run Algorithm 1 over a data set: a row an image, with strings as decoded (before scoring)."""
    device = next(model.parameters()).device
    training, seconds, rows, ledger = model.training, 0.0, [], words.ledger()
    model.eval()
    autocast = torch.autocast(device.type, DTYPES[protocol.precision], enabled=protocol.precision != "no")
    for batch in track(in_order(words, protocol.batch, workers), f"reading {benchmark}", transient=True):
        for reason, key in batch.skipped:
            ledger.add(reason, key)
        if not batch.labels:
            continue
        start = time.perf_counter()
        with autocast:
            prediction = model.predict(batch.images.to(device), protocol.refine_steps, protocol.decode, protocol.fast_cross)
        outputs = {name: getattr(prediction, name) for name in OUTPUTS}
        decoded = {name: model.tokenizer.decode(logits)[0] for name, logits in outputs.items() if logits is not None}
        confidence = model.tokenizer.decode(prediction.output)[1]
        seconds += time.perf_counter() - start
        for i, (index, label) in enumerate(zip(batch.indices, batch.labels, strict=True)):
            texts = {name: decoded[name][i] if name in decoded else None for name in OUTPUTS}
            row = {"benchmark": benchmark, "index": index, "label": label, "length": len(label)}
            rows.append({**row, **texts, "confidence": confidence[i]})
    model.train(training)
    columns = ["benchmark", "index", "label", "length", *OUTPUTS, "confidence"]
    return Readings(pd.DataFrame(rows, columns=columns), ledger, seconds)


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


def evaluate(model: CLIP4STR, data: Path, protocol: Protocol, out: Path, workers: int = 0) -> dict:
    """Read all benchmarks below data/test; write predictions.parquet and metrics.json under `out`.

    A benchmark that cannot be opened is reported and left out, the others are read all the same.

    Returns:
        The content of metrics.json.
    """
    transform = ToTensor(model.towers.image_size, protocol.normalisation)
    charset = CHARSETS[94]
    frames, metrics = [], {}
    for name, folder in benchmarks_of(data).items():
        start = time.perf_counter()
        try:
            words = Words(open_words(folder, charset, model.max_letters), transform)
        except DataError as error:
            metrics[name] = {"error": str(error)}
            print(f"{name}: left out: {error}")
            continue
        readings = read_words(model, words, protocol, name, workers=workers)
        frames.append(readings.rows)
        images = max(1, len(readings.rows))
        metrics[name] = {
            **summarise(readings.rows, CHARSETS[protocol.scoring_charset_size]),
            "stored": sum(lmdb.stored for lmdb in words.lmdbs),
            "left_out": readings.ledger.as_dict(),
            "fingerprint": fingerprint(folder),
            "model_seconds_per_image": readings.model_seconds / images,
            "seconds_per_image": (time.perf_counter() - start) / images,
        }
    if not frames:
        raise DataError(f"{data / 'test'}: no benchmark could be read; the messages above say why")
    device = next(model.parameters()).device
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    cut = model.caption_tokenizer.truncated  # distinct captions longer than the text tower's context
    result = {
        "protocol": asdict(protocol),
        "benchmarks": metrics,
        "device": device.type,
        "peak_memory_bytes": peak,
        "captions_cut": cut,
    }
    with atomic_folder(out) as folder:
        pd.concat(frames, ignore_index=True).to_parquet(folder / "predictions.parquet", index=False)
        write_json(folder / "metrics.json", result)
    return result


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
    parser.add_argument("row", help="gin file whose protocol is used, e.g. ablations/table_VI/image0-text6.gin")
    parser.add_argument("--data", type=Path, required=True, help="folder with test/<benchmark>/data.mdb")
    parser.add_argument("--scale", default="micro", help=f"one of {', '.join(config.SCALES)} (default: micro)")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images (default: 0, in the main one)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    parser.add_argument(
        "--out", type=Path, help="folder to write (default: MODEL/evaluations/<digest of protocol and test data>)"
    )
    options = parser.parse_args(arguments)
    with config.user_errors():
        torch.set_num_threads(options.threads or os.cpu_count() or 1)
        protocol = load(options.row, options.scale).protocol
        run = options.model if options.model.is_dir() else options.model.parent
        out = options.out or run / "evaluations" / evaluation_digest(protocol, fingerprint(options.data / "test"))
        model = load_model(options.model).to(pick_device())
        result = evaluate(model, options.data, protocol, out, options.workers)
        for name, metrics in result["benchmarks"].items():
            if "n" in metrics:
                output = "cross" if "cross" in metrics else "visual"
                print(f"{name:20} {metrics[output]['accuracy']:5.1f} %  of {metrics['n']} words ({output})")
        print(f"written to {out}")


if __name__ == "__main__":
    main()
