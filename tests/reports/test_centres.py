"""What tables show of a row's columns together: one line of CENTRES is a column in every format."""

import pytest

from reports import build, table
from reports.render import frames, grid, notes
from tests.support.results import write_results
from tests.support.tables import make_table


def test_another_centre_is_one_line(tmp_path, monkeypatch):
    centres = {**table.CENTRES, "median": lambda values: values.median(skipna=False)}
    for module in (build, table, grid, frames, notes):
        monkeypatch.setattr(module, "CENTRES", centres)
    results = write_results(tmp_path, "table_VI", {"image0-text6": [1, 1, 0, 0], "image0-text0": [1, 0, 0, 0]})
    made = build.build("table_VI", results, results / "tables")
    assert made.rows["median"].tolist() == made.rows["mean"].tolist()  # both benchmarks are read alike
    assert {"median", "median_published"} <= set(frames.tidy(made).columns)
    assert len(made.averaged) == 1 and "median" not in {head.title for head in grid.measured(made)}  # one column has no centre


def test_a_row_that_lacks_a_column_has_no_centre():
    """Of two columns; the row `huge` of the made-up table has no numbers, the others have the mean of theirs."""
    made = make_table()
    columns = [column for column in made.columns if column.name in made.averaged]
    means = build.centres(made.cells, columns)["mean"]
    assert len(columns) == 2 and means.isna().tolist() == [name == "huge" for name in means.index]
    assert means["cross"] == pytest.approx((made.cell("cross", "IC15").value + made.cell("cross", "HOST").value) / 2)
    shown = {head.title: entries for head, entries in grid.measured(made).items()}
    assert [entry.text for entry in shown["mean"]][:1] == [f"{made.rows['mean'].iloc[0]:.1f}"]
