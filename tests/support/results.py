"""Made-up results in the layout that runs leave behind, for tests of reports."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

PROTOCOL = {
    "decode": "ar",
    "fast_cross": False,
    "normalisation": "clip",
    "precision": "no",
    "refine_steps": 1,
    "scoring_charset_size": 36,
}
BENCHMARKS = ("incidental", "regular")


def write_run(
    results: Path,
    run: str,
    correct: Sequence[int] | Mapping[str, Sequence[int]],
    seed: int = 0,
    evaluation: str = "0" * 8,
    benchmarks: Sequence[str] = BENCHMARKS,
) -> None:
    """Predictions of one seed, right where `correct` says so: the same readings in all benchmarks, or by benchmark."""
    by_benchmark = correct if isinstance(correct, Mapping) else dict.fromkeys(benchmarks, correct)
    folder = results / "runs" / run / f"seed{seed}" / "evaluations" / evaluation
    folder.mkdir(parents=True)
    pd.concat([predictions(name, right) for name, right in by_benchmark.items()]).to_parquet(folder / "predictions.parquet")
    entries = {name: {"stored": len(right), "left_out": {}, "n": len(right)} for name, right in by_benchmark.items()}
    metrics = {"protocol": PROTOCOL | {"batch": 256, "output": "cross"}, "benchmarks": entries}
    (folder / "metrics.json").write_text(json.dumps(metrics))


def predictions(benchmark: str, correct: Sequence[int]) -> pd.DataFrame:
    """One line per image of a benchmark."""
    labels = [f"w{i}" for i in range(len(correct))]
    readings = [label.upper() if good else "no" for label, good in zip(labels, correct, strict=True)]
    columns = {"index": range(1, len(correct) + 1), "label": labels, "length": 2, "visual_ar": None, "visual": None}
    columns |= {"cross_ar": readings, "cross": readings, "confidence": 0.5}
    return pd.DataFrame({"benchmark": benchmark, **columns})


def write_results(
    results: Path,
    table: str,
    scores: Mapping[str, Sequence[int] | Mapping[str, Sequence[int]]],
    seeds: str = "0",
    benchmarks: Sequence[str] = BENCHMARKS,
) -> Path:
    """One run per row (seed 0) and the table's list of runs; returns `results`."""
    for number, correct in enumerate(scores.values()):
        write_run(results, f"micro-{number:08d}", correct, benchmarks=benchmarks)
    runs = pd.DataFrame({"row": list(scores), "run": [f"micro-{number:08d}" for number in range(len(scores))]})
    runs = runs.assign(gin="", reason="", protocol=json.dumps(PROTOCOL), output="cross", evaluation="0" * 8)
    runs = runs.assign(params=1_000_000, params_paper=2_000_000, total=1_100_000, frozen=100_000)
    runs = runs.assign(total_paper=158_256_319, frozen_paper=44_402_689, layers="4/4", batch=64, scale="micro", seeds=seeds)
    runs = runs.assign(data="rendered micro world", data_root=str(results / "data"), labels="", peers="", replicates="")
    (results / "tables").mkdir(parents=True, exist_ok=True)
    runs.to_csv(results / "tables" / f"{table}.runs.csv", index=False)
    return results


def lose(results: Path, run: str, benchmark: str, seed: int = 0) -> None:
    """A run's evaluation as it is left where a benchmark could not be opened."""
    (folder,) = results.glob(f"runs/{run}/seed{seed}/evaluations/*")
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame[frame.benchmark != benchmark].to_parquet(folder / "predictions.parquet")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["benchmarks"][benchmark] = {"error": "data.mdb is cut off"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
