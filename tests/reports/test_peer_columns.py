"""Peer readers beside Table III: scored as rows are, and part of no statistic."""

import json

import pandas as pd
import pytest

from core.charset import CHARSET_36
from core.errors import ReportError
from reports.build import build
from reports.collect.peers import one_reader
from reports.columns import Column
from reports.render.html import html
from reports.render.latex import latex
from reports.render.markdown import markdown
from reports.stats.intervals import accuracy
from tests.support.results import write_results


@pytest.fixture
def results(tmp_path):
    """Table III with one measured row, and a reader that reads three of four regular words, one without its case."""
    results = write_results(tmp_path, "table_III", {"clip4str-b": [1, 1, 0, 0], "clip4str-l": [1, 1, 1, 0]})
    folder = results / "peers" / "rapidocr"
    folder.mkdir(parents=True)
    words = {
        "benchmark": "regular",
        "index": [1, 2, 3, 4],
        "label": ["w0", "w1", "w2", "w3"],
        "reading": ["W0", "w1", "w2", ""],
    }
    pd.DataFrame(words).to_parquet(folder / "predictions.parquet")
    (folder / "metrics.json").write_text(json.dumps({"reader": {"name": "rapidocr", "version": "3.10.0"}}))
    return results


def test_a_reader_that_was_asked_for_stands_apart(results):
    path = results / "tables" / "table_III.runs.csv"
    without = build("table_III", results, results / "tables")
    assert without.peers.empty and "External" not in markdown(without)
    pd.read_csv(path, dtype=str, keep_default_na=False).assign(peers=str(results / "peers")).to_csv(path, index=False)
    table = build("table_III", results, results / "tables")
    (line,) = table.peers.to_dict("records")
    assert line["method"] == "rapidocr 3.10.0" and line["IIIT5K"].value == 75 and line["IC15"] is None
    assert table.rows.drop(columns="seed_sd").equals(without.rows.drop(columns="seed_sd")) and table.notes == without.notes
    for text in (markdown(table), html(table, {}), latex(table)):
        assert "rapidocr 3.10.0" in text and "75.0" in text and "measured here" in text


def test_an_average_that_counts_images_twice_is_as_wide_for_peer_readers(tmp_path):
    """IC15's 1,811 images are among its 2,077; here 30 among 40: 70 counts that say as much as 70^2 / (40 + 3 x 30)."""
    benchmarks = ["IC15_1811"] * 30 + ["IC15_2077"] * 40
    frame = pd.DataFrame({"benchmark": benchmarks, "index": range(70), "label": "word"})
    frame.assign(reading=["word"] * 50 + [""] * 20).to_parquet(tmp_path / "predictions.parquet")
    (tmp_path / "metrics.json").write_text(json.dumps({"reader": {"name": "reader", "version": "1"}}))
    line = one_reader(tmp_path, [Column("Avg.", ("IC15_1811", "IC15_2077"))], CHARSET_36, frame.assign(lmdb="."))
    assert line["Avg."] == accuracy(50, 70, 70**2 / (40 + 3 * 30))


def test_a_reader_of_other_images_is_refused(results):
    runs = results / "tables" / "table_III.runs.csv"
    pd.read_csv(runs, dtype=str, keep_default_na=False).assign(peers=str(results / "peers")).to_csv(runs, index=False)
    path = results / "peers" / "rapidocr" / "predictions.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(
        ReportError, match="1 images of regular were read by this reader or by the rows alone .first: 1 of LMDB"
    ):
        build("table_III", results, results / "tables")


def test_what_is_left_out_and_a_row_that_is_its_baseline_stand_below_the_table(tmp_path):
    """Two rows of one run; of 60 stored images 56 are left out."""
    results = write_results(tmp_path, "table_III", {"clip4str-b": [1, 1, 0, 0], "clip4str-l": [1, 1, 1, 0]})
    path = results / "tables" / "table_III.runs.csv"
    pd.read_csv(path, dtype=str, keep_default_na=False).assign(run="micro-00000000").to_csv(path, index=False)
    metrics = next(results.glob("runs/micro-00000000/seed0/evaluations/*/metrics.json"))
    content = json.loads(metrics.read_text())
    left_out = {"longer than 25 characters": {"count": 56, "examples": ["somewhere: label-000000005"]}}
    content["benchmarks"]["regular"] = {"stored": 60, "left_out": left_out, "n": 4}
    metrics.write_text(json.dumps(content))
    notes = build("table_III", results, results / "tables").notes
    assert (
        "Images that count in no number: regular: 56 of 60 stored are left out: longer than 25 characters "
        "(e.g. somewhere: label-000000005)." in notes
    )
    assert "Trained and scored exactly as clip4str-b, so no measurement of its own: clip4str-l." in notes
