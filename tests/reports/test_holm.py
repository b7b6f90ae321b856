"""Holm's correction and the refusal of mixed protocols, through whole tables."""

import json

import numpy as np
import pandas as pd
import pytest

from core.errors import ReportError
from reports.build import build
from reports.claims.results import StudyResults
from reports.collect.runs import twins
from reports.columns import mean_columns
from reports.render.grid import measured
from reports.stats.intervals import holm
from tests.support.results import write_results, write_run

ROWS = ("image0-text6", "image0-text0", "image0-text3", "image0-text9")
IMAGES = 400


def by_hand(p_values: dict[str, float]) -> dict[str, float]:
    """The smallest p times the number of tests, the next one times one less, and so on; never smaller than the one before."""
    corrected, before = {}, 0.0
    for place, (row, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        corrected[row] = before = min(1.0, max(before, (len(p_values) - place) * p))
    return corrected


def test_the_correction_itself():
    assert holm([0.01, 0.03, 0.04]) == pytest.approx([0.03, 0.06, 0.06])
    assert by_hand({"a": 0.01, "b": 0.03, "c": 0.04}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_a_twin_is_trained_and_scored_alike():
    """Rows of one run that are read in another way, or of whose readings another output is scored, are rows of their own."""
    names = ["base", "copy", "output", "evaluation", "run", "left out"]
    runs = pd.DataFrame({"run": "a", "evaluation": "x", "output": "cross", "reason": ""}, index=names)
    for name, value in (("output", "visual"), ("evaluation", "y"), ("run", "b")):
        runs.loc[name, name] = value
    runs.loc["left out", "reason"] = "not run"
    assert twins(runs, "base") == ["copy"] and twins(runs, "output") == []


@pytest.fixture
def results(tmp_path):
    """Three seeds of four rows, which read 50, 51, 52 and 53 % with some noise of their own."""
    chance = np.random.default_rng(1)
    difficulty = chance.random(IMAGES)
    trainings = {
        row: [(difficulty < share + chance.normal(0, 0.01)).astype(int).tolist() for _ in range(3)]
        for row, share in zip(ROWS, (0.50, 0.51, 0.52, 0.53), strict=True)
    }
    write_results(tmp_path, "table_VI", {row: seeds[0] for row, seeds in trainings.items()}, seeds="0 1 2")
    for number, seeds in enumerate(trainings.values()):
        for seed in (1, 2):
            write_run(tmp_path, f"micro-{number:08d}", seeds[seed], seed)
    return tmp_path


def test_every_p_of_a_table_is_corrected_for_their_number(results):
    table = build("table_VI", results, results / "tables")
    raw = table.rows.p.dropna().to_dict()
    assert len(raw) == 3 and 0 < min(raw.values()) < 0.05
    assert table.rows.p_holm.dropna().to_dict() == pytest.approx(by_hand(raw))
    assert (table.rows.p_holm.dropna() > table.rows.p.dropna()).any()


def test_what_is_printed_and_marked_is_the_corrected_p(results):
    table = build("table_VI", results, results / "tables")
    rows = table.rows
    uncertain = rows.index[(rows.p < 0.05) & (rows.p_holm >= 0.05)]
    assert len(uncertain), "the made-up rows must hold one that only the correction keeps from being called different"
    columns = {head.key: dict(zip(rows.index, entries, strict=True)) for head, entries in measured(table).items()}
    assert not any(columns["difference"][name].apart for name in uncertain)
    assert all(columns["p"][name].number == rows.p_holm[name] for name in uncertain)


def test_the_baseline_under_another_name_is_no_test(results):
    before = build("table_VI", results, results / "tables")
    path = results / "tables" / "table_VI.runs.csv"
    runs = pd.read_csv(path, dtype=str, keep_default_na=False)
    twin = runs[runs.row == ROWS[0]].assign(row="image0-token")
    pd.concat([runs, twin]).to_csv(path, index=False)
    table = build("table_VI", results, results / "tables")
    assert table.rows.p_holm[list(ROWS)].equals(before.rows.p_holm[list(ROWS)]) and table.rows.p_holm["image0-token"] == 1
    assert table.rows.seeds_needed[list(ROWS)].equals(before.rows.seeds_needed[list(ROWS)])
    assert np.isnan(table.rows.seeds_needed["image0-token"])
    for notes in (" ".join(built.notes) for built in (before, table)):
        assert "after Holm's correction for 3 rows." in notes
    assert "Trained and scored exactly as image0-text6, so no measurement of its own: image0-token." in table.notes


def test_a_table_of_two_protocols_is_refused(results):
    path = results / "tables" / "table_VI.runs.csv"
    runs = pd.read_csv(path)
    other = json.loads(runs.protocol[1]) | {"refine_steps": 3}
    runs.loc[1, "protocol"] = json.dumps(other)
    runs.to_csv(path, index=False)
    with pytest.raises(ReportError, match="refine_steps"):
        build("table_VI", results, results / "tables")


def test_seeds_are_for_the_corrected_test(results):
    """Rows that are different need no more seeds; the others are told those of a test at 5 % over the number of rows."""
    rows = build("table_VI", results, results / "tables").rows.loc[list(ROWS[1:])]
    undecided = rows.p_holm >= 0.05
    assert undecided.any() and not undecided.all() and rows.seeds_needed.notna().equals(undecided)
    study = StudyResults(results, results / "tables").table("table_VI")
    compared = study.comparison(mean_columns(study.columns, study.benchmarks(ROWS[0])))
    pairs = [compared.paired(row, ROWS[0]) for row in rows.index[undecided]]
    expected = [pair.seeds_needed(0.05 / 3) or np.inf for pair in pairs]
    assert rows.seeds_needed[undecided].tolist() == expected and np.isfinite(expected).any()
    assert expected != [pair.seeds_needed(0.05) or np.inf for pair in pairs]
