"""Claims across two tables: claim 24, one model scored with the stored labels in Table III and with cleaned ones in Table X."""

import json

import numpy as np
import pandas as pd
import pytest

from core.files import ABLATIONS
from reports.claims.claim import read_ledger
from reports.claims.judged import judge_claim
from reports.claims.measured import measured_effect
from reports.claims.results import StudyResults
from reports.claims.shown import write_claims
from reports.claims.verdict import NOT_RUN
from tests.support.results import PROTOCOL, write_results, write_run


@pytest.fixture(scope="module")
def claim():
    return next(claim for claim in read_ledger(ABLATIONS / "claims.yaml").claims if claim.id == "24")


@pytest.fixture
def on_ic15(claim):
    return next(contrast for contrast in claim.contrasts if contrast.columns == ("IC15",))


def relabelled(folder, words: list[str], **changes) -> StudyResults:
    """One row, a run with seeds 0 to 5 of which Table III lists three; Table X lists it with other labels and `changes`."""
    write_results(folder, "table_III", {"clip4str-b": [1, 1, 0, 0]}, "0 1 2")
    for seed in range(1, 6):
        write_run(folder, "micro-00000000", [1, 1, 0, 0], seed)
    (folder / "labels").mkdir()
    labels = pd.DataFrame({"index": range(1, len(words) + 1), "label": words})
    labels.to_csv(folder / "labels/incidental.csv", index=False)
    runs = pd.read_csv(folder / "tables/table_III.runs.csv", dtype=str, keep_default_na=False)
    runs.assign(labels=str(folder / "labels"), **changes).to_csv(folder / "tables/table_X.runs.csv", index=False)
    return StudyResults(folder, folder / "tables")


def test_rows_of_two_tables_are_compared_on_the_same_images(tmp_path, on_ic15):
    found = measured_effect(on_ic15, relabelled(tmp_path, ["w0", "w1", "no", "w3"]))
    assert found.value == pytest.approx(25) and found.seeds == 3 and found.unshared == 0


def test_images_that_one_table_cannot_score_are_left_out_and_counted(tmp_path, on_ic15):
    """A cleaned label without a character of the charset."""
    study = relabelled(tmp_path, ["w0", "w1", "no", "?"])
    found = measured_effect(on_ic15, study)
    assert found.value == pytest.approx(100 / 3) and found.unshared == 1
    write_claims(study, tmp_path / "figures")
    assert "images left out, as not all rows scored them: 1" in (tmp_path / "tables/claims.md").read_text()
    assert '"unshared_images": 1' in (tmp_path / "tables/claims.json").read_text()


def test_the_order_of_seeds_does_not_matter(tmp_path, on_ic15):
    assert measured_effect(on_ic15, relabelled(tmp_path, ["w0", "w1", "no", "w3"], seeds="2 0 1")).value == pytest.approx(25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": "0"}, "seeds is 0 for table_X/clip4str-b and 0 1 2 for table_III/clip4str-b, which were planned apart; "),
        ({"seeds": "0 1"}, "seeds is 0 1 for "),
        ({"seeds": "3 4 5"}, "seeds is 3 4 5 for "),
        ({"scale": "small"}, "scale is small for "),
        ({"data_root": "elsewhere"}, "data_root is elsewhere for "),
        ({"protocol": json.dumps(PROTOCOL | {"scoring_charset_size": 94})}, "scoring_charset is "),
    ],
)
def test_rows_of_tables_that_were_planned_apart_are_not_compared(tmp_path, claim, on_ic15, changes, message):
    study = relabelled(tmp_path, ["w0", "w1", "no", "w3"], **changes)
    found = measured_effect(on_ic15, study)
    assert found.reason.startswith(message) and np.isnan(found.value)
    assert found.reason.endswith("; `snakemake table_X table_III` with one set of settings makes both anew")
    assert judge_claim(claim, study).measured.word == NOT_RUN
