"""Rows that could not read every benchmark of their table: what is left of the table and of the claims."""

import numpy as np
import pandas as pd
import pytest

from core.errors import ReportError
from reports.build import build
from reports.claims.claim import Contrast
from reports.claims.measured import measured_effect
from reports.claims.results import StudyResults
from reports.claims.verdict import Effect
from reports.collect.predictions import read_predictions
from reports.collect.runs import read_runs
from reports.render.grid import UNCOMPARED, measured
from reports.render.markdown import markdown
from tests.support.results import lose, write_results, write_run

BASELINE, OTHER, THIRD = ROWS = ("clip4str-b", "clip4str-b-synth", "clip4str-l")


@pytest.fixture
def results(tmp_path):
    """Table III with two of its columns, IIIT5K (regular) and IC15 (incidental)."""
    return write_results(tmp_path, "table_III", dict(zip(ROWS, ([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]), strict=True)))


def built(results):
    return build("table_III", results, results / "tables")


def effect_of(results, ours: str, theirs: str, *columns: str) -> Effect:
    contrast = Contrast({("table_III", ours): 1, ("table_III", theirs): -1}, columns, "more")
    return measured_effect(contrast, StudyResults(results, results / "tables"))


def test_a_row_without_a_column_of_the_mean_is_not_compared_and_others_are(results):
    before = built(results)
    lose(results, "micro-00000001", "incidental")
    table = built(results)
    assert table.averaged == before.averaged == ("IIIT5K", "IC15")
    assert np.isnan(table.rows.difference[OTHER]) and np.isnan(table.rows["mean"][OTHER])
    assert table.rows.loc[THIRD].equals(before.rows.loc[THIRD]) and table.rows.difference[BASELINE] == 0
    assert table.cell(OTHER, "IIIT5K").value == 50 and table.cell(OTHER, "IC15").reason == "incidental: data.mdb is cut off"
    columns = {head.key: dict(zip(ROWS, entries, strict=True)) for head, entries in measured(table).items()}
    assert columns["difference"][OTHER].reason == UNCOMPARED
    assert columns["mean"][OTHER].reason == "a column of it is missing"
    assert "IC15: incidental: data.mdb is cut off" in markdown(table) and "No row is compared" not in markdown(table)


def test_without_a_column_of_the_baseline_no_row_is_compared(results):
    assert "No row is compared" not in markdown(built(results))
    lose(results, "micro-00000000", "incidental")
    table = built(results)
    assert table.rows.difference.isna().all() and table.rows["mean"][OTHER] == 50 and table.agreement is None
    assert "No row is compared: the baseline clip4str-b has no numbers of IC15, which the mean is over." in markdown(table)


@pytest.mark.parametrize("run", ["micro-00000001", "micro-00000002"])
def test_claims_on_columns_that_their_rows_read_keep_their_effects(results, run):
    """IC15 is lost in a row that the claim is about, or in another one."""
    before = effect_of(results, BASELINE, OTHER, "IIIT5K")
    lose(results, run, "incidental")
    assert before.value == 25 and repr(effect_of(results, BASELINE, OTHER, "IIIT5K")) == repr(before)  # equal, nan included


def test_claims_on_the_mean_need_each_of_its_columns_in_their_own_rows_alone(results):
    lose(results, "micro-00000002", "incidental")
    assert effect_of(results, BASELINE, OTHER).value == 25
    assert effect_of(results, THIRD, OTHER).reason == "clip4str-l, IC15: incidental: data.mdb is cut off"


@pytest.mark.parametrize(("run", "row"), [("micro-00000001", OTHER), ("micro-00000000", BASELINE)])
def test_a_claim_on_a_column_that_its_row_or_the_baseline_lacks_says_so(results, run, row):
    lose(results, run, "regular")
    assert effect_of(results, THIRD, OTHER, "IIIT5K").reason == f"{row}, IIIT5K: regular: data.mdb is cut off"


def test_seeds_that_read_other_benchmarks_are_named(results):
    runs = results / "tables" / "table_III.runs.csv"
    frame = pd.read_csv(runs, dtype=str, keep_default_na=False).assign(seeds="0 1")
    frame.to_csv(runs, index=False)
    for number in range(len(ROWS)):
        write_run(results, f"micro-{number:08d}", [1, 1, 1, 0], seed=1, benchmarks=["incidental"])
    with pytest.raises(ReportError, match="regular was read with one of seeds 0 and 1 only; delete both evaluations"):
        read_predictions(results, read_runs(results / "tables", "table_III").loc[OTHER])
