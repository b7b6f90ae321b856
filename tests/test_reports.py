import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from core.files import ROOT
from reports import stats
from reports.collect import (
    LAYOUT_KEYS,
    Column,
    ReportError,
    check_protocols,
    columns_of,
    read_layout,
    read_predictions,
    read_runs,
)
from reports.tables import averages, compare, make_table, markdown, marked, probability, read_published, shortened, tidy


def test_wilson_interval_by_hand():
    """81 of 263: Wilson's 95 % interval as in Newcombe (1998), example 1."""
    value = stats.accuracy(81, 263)
    assert (value.value, value.low, value.high) == pytest.approx((30.798, 25.53, 36.62), abs=0.01)


def test_exact_mcnemar_by_hand():
    """2 against 8 discordant images: the two-sided binomial is 2 (1 + 10 + 45) / 1024."""
    ours = np.array([True] * 2 + [False] * 8 + [True] * 5)
    baseline = np.array([False] * 2 + [True] * 8 + [True] * 5)
    assert stats.paired_p(ours, baseline) == pytest.approx(112 / 1024)
    assert stats.paired_p(ours, ours) == 1.0


def test_mcnemar_keeps_its_false_positive_rate():
    rng = np.random.default_rng(0)
    p = [stats.paired_p(rng.random(200) < 0.7, rng.random(200) < 0.7) for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) < 0.08


def test_holm_and_kendall_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.agreement([1, 2, 3, 4], [1, 2, 4, 3]).tau == pytest.approx(4 / 6)


def test_published_table_vi_agrees_with_the_counts():
    published = read_published(read_layout("table_VI"))
    assert list(published.loc["image12-text6", ["IC15", "WOST", "HOST", "COCO", "Uber"]]) == [61.2, 55.8, 40.4, 49.5, 20.6]
    assert len(published) == 10 and published.params_M_counted["image3-text6"] == 84.0


def write_run(folder, run, correct, evaluation="0" * 8, images=4):
    labels = [f"w{i}" for i in range(images)]
    readings = [label.upper() if good else "no" for label, good in zip(labels, correct, strict=True)]
    frames = [
        pd.DataFrame({"benchmark": name, "index": range(1, images + 1), "label": labels, "cross": readings})
        for name in ("incidental", "regular")
    ]
    path = folder / "runs" / run / "seed0" / "evaluations" / evaluation
    path.mkdir(parents=True)
    pd.concat(frames).to_parquet(path / "predictions.parquet")
    (path / "metrics.json").write_text('{"protocol": {"scoring_charset_size": 36}}')


@pytest.fixture
def results(tmp_path):
    """Three made-up rows with known scores."""
    scores = {"image0-text6": [1, 1, 1, 0], "image6-text6": [1, 1, 0, 0], "image12-text6": [0, 0, 0, 1]}
    for number, correct in enumerate(scores.values()):
        write_run(tmp_path, f"micro-{number:08d}", correct)
    runs = pd.DataFrame({"row": list(scores), "run": [f"micro-{i:08d}" for i in range(3)], "evaluation": "0" * 8})
    runs = runs.assign(protocol='{"refine_steps": 1, "normalisation": "clip"}', output="cross")
    runs = runs.assign(gin="", params=1_000_000, params_paper=2_000_000, layers="4/4", scale="micro", seeds="0")
    (tmp_path / "tables").mkdir()
    runs.assign(data="rendered micro world").to_csv(tmp_path / "tables" / "table_VI.runs.csv", index=False)
    return tmp_path


def test_a_table_counts_what_was_predicted(results):
    text = make_table("table_VI", results, results / "tables").read_text()
    cells = pd.read_csv(results / "tables" / "table_VI.csv").set_index(["row", "column"])
    assert cells.accuracy["image0-text6", "IC15"] == 75 and cells.accuracy["image12-text6", "IC15"] == 25
    assert cells.difference["image6-text6", "IC15"] == -25
    assert np.isnan(cells.accuracy["image6-text6", "WOST"])
    assert "| absent" in text and "**75.0** ±" in text and "*50.0* ±" in text
    assert "Kendall's tau 1.00" in text


def test_rows_of_different_images_or_protocols_are_refused(results):
    write_run(results, "micro-00000009", [1, 1, 1], images=3)
    path = results / "tables" / "table_VI.runs.csv"
    runs = pd.read_csv(path, dtype=str)
    runs.loc[2, "run"] = "micro-00000009"
    runs.to_csv(path, index=False)
    with pytest.raises(ReportError, match="image12-text6 and baseline image0-text6 were not evaluated on the same images"):
        make_table("table_VI", results, results / "tables")
    runs.loc[2, "evaluation"] = "1" * 8
    with pytest.raises(ReportError, match="row image12-text6: .*predictions.parquet is missing"):
        read_predictions(results, runs.loc[2])
    runs.loc[2, "protocol"] = '{"refine_steps": 0, "normalisation": "clip"}'
    with pytest.raises(ReportError, match="refine_steps is 1 for image0-text6 and 0 for image12-text6; list it under 'var"):
        check_protocols(runs, [])
    check_protocols(runs, ["refine_steps"])
    runs.loc[2, "protocol"] = '{"refine_steps": 0, "normalisation": "half"}'
    with pytest.raises(ReportError, match="normalisation is 'clip' for image0-text6 and 'half' for image12-text6"):
        check_protocols(runs, ["refine_steps"])


def test_columns_follow_the_data():
    layout = read_layout("table_VI")
    rendered = columns_of(layout, True, ["incidental", "regular"])
    assert rendered[0].heading == "IC15 (incidental)" and rendered[-1].name == "regular" and not rendered[-1].published
    real = columns_of(layout, False, ["SVT"])
    assert [column.benchmarks[0] for column in real] == ["IC15_2077", "WOST", "HOST", "COCO", "Uber", "SVT"]
    assert columns_of(layout, False, ["IC15"])[-1].name == "IC15 (here)"


def test_an_average_pools_the_images_of_its_benchmarks(results):
    """Table V: one column over nine benchmarks, absent where one of them is."""
    scores = {"base": [1, 1, 1, 0], "cross": [1, 0, 0, 0], "my-idea": [0, 0, 0, 0]}
    for number, correct in enumerate(scores.values()):
        write_run(results, f"micro-{number + 100:08d}", correct)
    runs = read_runs(results / "tables", "table_VI")
    runs = runs.assign(row=list(scores), run=[f"micro-{i + 100:08d}" for i in range(3)], output=["visual", "cross", "cross"])
    layout = read_layout("table_V")
    pooled = [Column("Avg.", ("incidental", "regular"), True), Column("x", ("incidental", "gone"), False)]
    for run in runs.run:
        path = results / "runs" / run / "seed0" / "evaluations" / "00000000" / "predictions.parquet"
        frame = pd.read_parquet(path)
        frame.assign(visual=frame.cross).to_parquet(path)
    cells = tidy(layout, runs, results, pooled, read_published(layout)).set_index(["row", "column"])
    assert cells.accuracy["base", "Avg."] == 75 and cells.n["base", "Avg."] == 8 and cells.published["base", "Avg."] == 89.2
    assert np.isnan(cells.accuracy["base", "x"])
    means = averages(cells.reset_index(), pooled[:1])
    paired = compare(layout, runs, results, pooled[:1])
    text = markdown(layout, runs, cells.reset_index().query("column == 'Avg.'"), pooled[:1], means, paired, ["my-idea"])
    assert "my-idea (ours)" in text and "| base " in text and "Avg. (2 sets pooled)" in text and "| visual" in text
    assert "Rows marked (ours) are not in the paper" in text


def test_parameters_are_shortened_as_printed():
    assert [shortened(n) for n in (0, 262_144, 4_096_134, 86_040_576)] == ["0", "262 K", "4.1 M", "86.0 M"]


@pytest.mark.parametrize("table", ["table_IX", "table_V", "table_VI", "table_VII", "table_VIII"])
def test_published_rows_are_ours_or_known_methods(table):
    layout = read_layout(table)
    rows = {path.stem for path in (ROOT / "ablations" / table).glob("*.gin")}
    assert set(read_published(layout).index) - rows <= {"ABINet", "PARSeq-A"}


def test_marks():
    assert [marked("1.0", rank) for rank in (1, 2, 3)] == ["**1.0**", "*1.0*", "1.0"]
    cells = pd.DataFrame({"row": ["a", "a"], "column": ["x", "y"], "accuracy": [1.0, 3.0], "published": [5.0, np.nan]})
    means = averages(cells.assign(from_paper=[True, False]), columns_of(read_layout("table_VI"), True, ["x", "y"])[-2:])
    assert means.loc["a"].tolist() == [2.0, 5.0]


def test_unknown_layout_key_is_named(monkeypatch, tmp_path):
    folder = tmp_path / "ablations" / "table_VI"
    folder.mkdir(parents=True)
    (folder / "table.yaml").write_text("title: x\nbaselin: y\n")
    monkeypatch.setattr("reports.collect.ROOT", tmp_path)
    with pytest.raises(ReportError, match="table.yaml: unknown key 'baselin'; the keys are"):
        read_layout("table_VI")
    assert "baseline" in LAYOUT_KEYS


def test_reports_run_without_torch():
    program = "import sys, reports.tables; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_p_values_are_never_printed_as_zero():
    assert [probability(p) for p in (0.0, 0.04321, 1e-160)] == ["< 1e-300", "0.043", "1e-160"]
