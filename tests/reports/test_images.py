"""Rows and seeds of a table must have read the same images, also of columns that no mean is over."""

import json

import numpy as np
import pandas as pd
import pytest

from core.errors import ReportError
from reports.build import build
from reports.collect.images import check_images
from reports.layout import read_layout
from reports.stats.intervals import pooled_accuracy
from tests.support.results import write_results, write_run

BASELINE, OTHER, THIRD = ROWS = ("image0-text6", "image6-text6", "image12-text6")
READ = [1, 1, 1, 0]


@pytest.fixture
def results(tmp_path):
    """Table VI with its column IC15 (incidental), and with photographs (SVT), which take part in no mean."""
    write_results(tmp_path, "table_VI", dict.fromkeys(ROWS, READ), seeds="0 1")
    for number in range(3):
        write_run(tmp_path, f"micro-{number:08d}", READ, seed=1)
    for path in tmp_path.glob("runs/*/seed*/evaluations/*"):
        frame = pd.read_parquet(path / "predictions.parquet")
        frame.replace({"benchmark": {"regular": "SVT"}}).to_parquet(path / "predictions.parquet")
        metrics = json.loads((path / "metrics.json").read_text())
        metrics["benchmarks"]["SVT"] = metrics["benchmarks"].pop("regular")
        (path / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path


def cannot_decode(results, run: int, seed: int, benchmark: str, images: int) -> None:
    """A training's evaluation without the last images of a benchmark, as on a machine that could not decode them."""
    (folder,) = results.glob(f"runs/micro-{run:08d}/seed{seed}/evaluations/*")
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame[(frame.benchmark != benchmark) | (frame["index"] <= 4 - images)].to_parquet(folder / "predictions.parquet")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["benchmarks"][benchmark] |= {
        "left_out": {"image cannot be decoded": {"count": images, "examples": ["image-000000004"]}}
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))


def built(results):
    return build("table_VI", results, results / "tables")


def test_several_seeds_count_an_image_of_two_benchmarks_as_one_seed_does():
    frame = pd.DataFrame({"benchmark": ["IC15_1811"] * 4 + ["IC15_2077"] * 5, "correct": [1, 0, 1, 1, 1, 0, 1, 1, 0]})
    both = pd.concat([frame.assign(seed=seed) for seed in (0, 1)])
    assert pooled_accuracy(both, 2) == pooled_accuracy(frame) != pooled_accuracy(frame.assign(benchmark="SVT"))


def test_an_image_that_nobody_could_decode_counts_for_nobody(results):
    for run in range(3):
        for seed in (0, 1):
            cannot_decode(results, run, seed, "SVT", 1)
    assert built(results).cell(OTHER, "SVT (photographs)").value == 100 and built(results).cell(OTHER, "IC15").value == 75


def test_a_row_of_fewer_images_is_refused_also_outside_the_mean(results):
    assert built(results).averaged == ("IC15",)
    for seed in (0, 1):
        cannot_decode(results, 2, seed, "SVT", 2)
    message = f"row {THIRD} and baseline {BASELINE}: 2 images of SVT .the first is number 3. were read by one of them alone"
    with pytest.raises(ReportError, match=message) as error:
        built(results)
    assert str(error.value).startswith(str(read_layout("table_VI").path)) and "\n" not in str(error.value)


def test_a_seed_of_fewer_images_is_refused_also_outside_the_mean(results):
    cannot_decode(results, 1, 1, "SVT", 1)
    with pytest.raises(ReportError, match=f"row {OTHER} and baseline {BASELINE}: 1 images of SVT .the first is number 4"):
        built(results)
    for run in (0, 2):
        cannot_decode(results, run, 1, "SVT", 1)
    with pytest.raises(ReportError, match=f"row {BASELINE}, seeds 0 and 1: 1 images of SVT .the first is number 4"):
        built(results)


def test_a_benchmark_that_is_not_shown_is_not_looked_at(results):
    """Families that stand for columns of other tables."""
    layout = read_layout("table_VI")
    frame = pd.DataFrame({"benchmark": "street", "lmdb": ".", "index": [1, 2, 3], "seed": 0})
    check_images(layout, {BASELINE: frame, OTHER: frame[:2]}, {"incidental"})
    check_images(layout, {BASELINE: frame, OTHER: frame[::-1]}, {"street"})
    with pytest.raises(ReportError, match=f"row {THIRD} and row {OTHER}: 1 images of street"):
        check_images(layout, {OTHER: frame, THIRD: frame[:2]}, {"street"})


def test_an_accuracy_above_all_images_cannot_come_out():
    scored = pd.DataFrame({"benchmark": "SVT", "seed": np.repeat([0, 1], [200, 199]), "correct": True})
    with pytest.raises(ReportError, match="200 with seed 0, 199 with seed 1 were read"):
        pooled_accuracy(scored, 2)
    assert pooled_accuracy(scored[:200]).value == 100
