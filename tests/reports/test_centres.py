"""What tables show of a row's columns together: one line of CENTRES is a column in every format."""

import pytest

from reports import build, table
from reports.render import FORMATS, frames, grid, notes
from tests.support.results import write_results


def test_another_centre_is_one_line(tmp_path, monkeypatch):
    centres = {**table.CENTRES, "median": lambda values: values.median(skipna=False)}
    for module in (build, table, grid, frames, notes):
        monkeypatch.setattr(module, "CENTRES", centres)
    results = write_results(tmp_path, "table_VI", {"image0-text6": [1, 1, 0, 0], "image0-text0": [1, 0, 0, 0]})
    made = build.build("table_VI", results, results / "tables")
    assert made.rows["median"].tolist() == made.rows["mean"].tolist()  # both benchmarks are read alike
    assert {"median", "median_published"} <= set(frames.tidy(made).columns)
    if len(made.averaged) > 1:
        assert any(head.title == "median" for head in grid.measured(made))


def test_a_centre_of_a_missing_column_is_missing(tmp_path):
    results = write_results(tmp_path, "table_VI", {"image0-text6": [1, 1], "image0-text0": [1, 0]})
    made = build.build("table_VI", results, results / "tables")
    assert made.rows.loc["image0-text0", "mean"] == pytest.approx(50) and set(FORMATS) >= {"md", "tex", "html"}
