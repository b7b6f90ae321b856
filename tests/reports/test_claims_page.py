"""The ledger of claims as it is written down: formats, figure, command."""

import json
import re

import numpy as np
import pytest

from core.errors import ReportError
from core.files import ABLATIONS
from reports.claims.__main__ import main
from reports.claims.claim import read_ledger
from reports.claims.judged import judge_claim
from reports.claims.results import StudyResults
from reports.claims.shown import write_claims
from reports.claims.verdict import SUPPORTED
from reports.figures.claims import claims_figure
from tests.reports.test_figures import overlaps_note
from tests.reports.test_latex import PROBLEMS, compiled
from tests.support.claims import BASELINE, OTHER, THIRD, readings, study_of


@pytest.fixture(scope="module")
def paper():
    return read_ledger(ABLATIONS / "claims.yaml")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The ledger of a study in which Table VI was run with three seeds."""
    folder = tmp_path_factory.mktemp("study")
    names = ("image0-text0", BASELINE, "image0-token", OTHER, THIRD, "image12-text6", "image0-text12")
    shares = (0.88, 0.9, 0.9, 0.8, 0.6, 0.2, 0.89)
    study_of(folder, {row: readings(share, 3) for row, share in zip(names, shares, strict=True)})
    write_claims(StudyResults(folder, folder / "tables"), folder / "figures")
    return folder


def test_every_rendering_says_the_same(written):
    tables = written / "tables"
    record = json.loads((tables / "claims.json").read_text(), parse_constant=pytest.fail)
    claims = {claim["id"]: claim for claim in record["ledgers"][0]["claims"]}
    assert record["scale"] == "micro" and len(claims) == 24
    assert claims["11"]["measured"] == {"verdict": SUPPORTED, "why": ""}
    assert claims["10"]["published"] == claims["10"]["measured"] == {"verdict": SUPPORTED, "why": ""}
    (contrast,) = claims["11"]["contrasts"]
    assert contrast["measured"]["seeds"] == 3 and contrast["measured"]["high"] < 0
    assert contrast["published"]["value"] == pytest.approx(-38.22)
    page, text, tex = ((tables / f"claims.{suffix}").read_text() for suffix in ("html", "md", "tex"))
    links = re.findall(r'\b(?:src|href)="([^"]*)"', page)  # everything a page would load
    assert all(link.startswith(("data:", "#")) for link in links) and page.count("data:image/png") == 1
    for sentence in ("Freezing the image tower hurts more than freezing the text tower.", "24 claims.", "two one-sided tests"):
        assert sentence in page and sentence in text and sentence in tex
    assert "A margin is points at the paper" in text and "../figures/claims.png" in text
    assert (written / "figures/claims.png").is_file() and (written / "figures/claims.svg").is_file()


def test_the_latex_is_whole(written):
    """What can be seen of it without TeX: what is opened is closed, and rows have as many cells as their table."""
    text = (written / "tables/claims.tex").read_text()
    assert re.findall(r"\\begin{(\w+)}", text).count("longtable") == text.count(r"\end{longtable}") == 2
    assert text.replace(r"\{", "").replace(r"\}", "").count("{") == text.replace(r"\{", "").replace(r"\}", "").count("}")
    for table in text.split(r"\begin{longtable}")[1:]:
        rows = [line for line in table.split(r"\end{longtable}")[0].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {table.split("\n")[0].count(r"\linewidth")}


def test_the_latex_compiles(written):
    log = compiled(written / "tables", (written / "tables/claims.tex").read_text())
    assert not [line for line in PROBLEMS.findall(log) if line]


def test_the_figure_has_a_mark_for_every_effect(paper, written):
    study = StudyResults(written, written / "tables")
    judged = [judge_claim(claim, study) for claim in paper.claims]
    accuracies = [each for claim in judged for each in claim.contrasts if not each.contrast.of_time]
    printed, measured = (figure := claims_figure(judged)).axes
    assert not overlaps_note(figure)
    marks = [[line for line in axes.lines if line.get_marker() in "<>s"] for axes in (printed, measured)]
    assert [line.get_xdata()[0] for line in marks[0]] == [each.printed.effect.value for each in accuracies]
    shown = [each.measured.effect.value for each in accuracies if not np.isnan(each.measured.effect.value)]
    assert [line.get_xdata()[0] for line in marks[1]] == shown and len(shown) == 6
    with pytest.raises(ReportError, match="no claim is about accuracies"):
        claims_figure([])


def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("reports.claims.judged.ledger_paths", lambda: [])
    with pytest.raises(SystemExit):
        main(["--results", str(tmp_path)])
    assert (
        "error: no claims to judge: there is no ablations/claims.yaml, and no claims.yaml beside a table.yaml"
        in capsys.readouterr().err
    )


def test_a_folder_of_results_that_is_not_there_is_no_empty_ledger(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--results", str(tmp_path / "misspelt")])
    assert f"--results {tmp_path / 'misspelt'}: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "misspelt").exists()
