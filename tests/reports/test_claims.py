"""The ledger of claims: its file, what the published numbers alone are worth, the rules of the verdicts, what is written."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import t

from core.data.benchmarks import SUPERSETS
from core.errors import ReportError
from core.files import ABLATIONS, ROOT
from reports.claims import judged as judge_module
from reports.claims.claim import read_ledger
from reports.claims.judged import NOT_PUBLISHED, judge_claim, judge_printed
from reports.claims.measured import measured_effect, measured_margin
from reports.claims.printed import printed_effect, printed_margin
from reports.claims.results import StudyResults
from reports.claims.shown import kind_text
from reports.claims.verdict import CONTRADICTED, NOT_RUN, SAME, SUPPORTED, UNDECIDED, Verdict, judge
from reports.columns import columns_of
from reports.layout import read_layout
from reports.stats.second_training import BENCHMARKS, SECOND, mean_of, published_noise, trainings
from tests.support.checkout import shared_or_skip
from tests.support.claims import BASELINE, OTHER, THIRD, readings, study_of
from tests.support.results import write_results

COSTS = ["+table_II/clip4str-b", "-table_II/clip4str-l"]


@pytest.fixture(scope="module")
def paper():
    return read_ledger(ABLATIONS / "claims.yaml")


def contrast_of(ledger, number: int, place: int = 0):
    return next(claim for claim in ledger.claims if claim.id == str(number)).contrasts[place]


def ledger_of(folder, **changes):
    """A ledger of one claim about Table VI, some keys of its contrast replaced (None: left out)."""
    contrast = {"rows": [f"+table_VI/{OTHER}", f"-table_VI/{BASELINE}"], "kind": "less", **changes}
    contrast = {key: value for key, value in contrast.items() if value is not None}
    claim = {"id": 1, "where": "Table VI", "claim": "Freezing hurts.", "contrasts": [contrast]}
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump({"title": "What we claim", "claims": [claim]}))
    return read_ledger(path)


def test_the_papers_ledger_is_complete_and_its_differences_recompute(paper):
    assert [claim.id for claim in paper.claims] == [str(number) for number in range(1, 25)]
    for claim in paper.claims:
        for contrast in claim.contrasts:
            rounding = 0.5 * 10 ** -(2 if contrast.of_time else 1) + 1e-9
            assert abs(printed_effect(contrast).value - contrast.published) <= rounding, (claim.id, str(contrast))
            for table, row in contrast.weights:
                assert (ROOT / "ablations" / table / f"{row}.gin").is_file()


def test_the_second_trainings_are_those_of_the_authors(paper):
    first, second = trainings()
    nine = contrast_of(paper, 1).compared(columns_of(contrast_of(paper, 1).layout, False, []))
    apart = (mean_of(second, nine) - mean_of(first, nine)).round(2).tolist()
    assert apart == [-0.06, -0.66, 0.03, -0.06]
    noise = published_noise(nine)
    assert noise.variance == pytest.approx(sum(d**2 for d in apart) / 8, rel=0.05) and noise.df == 4
    for table in ("table_III", "table_IV"):
        columns = [entry for entry in read_layout(table).columns if entry["name"] in BENCHMARKS]
        assert columns and all(BENCHMARKS[entry["name"]] == entry["paper"] for entry in columns)


def test_what_a_published_difference_is_worth_by_hand(paper):
    """Claim 5: 91.2 against 90.8 on 14,315 images of which 1,811 count twice, no pairing known, two independent trainings."""
    effect = printed_effect(contrast_of(paper, 5))
    worth = 14315**2 / (14315 + 2 * 1811)
    images = (91.2 * 8.8 + 90.8 * 9.2) / worth + 2 * 0.1**2 / 12
    training = 2 * published_noise(contrast_of(paper, 5).compared(columns_of(contrast_of(paper, 5).layout, False, []))).variance
    assert effect.image_se**2 == pytest.approx(images) and effect.training_se**2 == pytest.approx(training)
    df = 4 * (images + training) ** 2 / training**2
    reach = t.ppf(0.975, df) * np.sqrt(images + training)
    assert effect.interval(0.95) == pytest.approx((0.4, 0.4 - reach, 0.4 + reach)) and SUPERSETS["IC15_1811"] == ("IC15_2077",)


def test_verdicts_by_the_published_numbers_alone(paper):
    """What training noise can make is undecided; freezing, ImageNet and the adapters are not."""
    nowhere = StudyResults(ROOT / "nowhere", ROOT / "nowhere")
    judged = {claim.claim.id: claim for claim in (judge_claim(claim, nowhere) for claim in paper.claims)}
    supported = {number for number, claim in judged.items() if claim.printed.word == SUPPORTED}
    assert supported == {"10", "11", "12", "14", "15", "16"}
    assert {claim.printed.word for number, claim in judged.items() if number not in supported} == {UNDECIDED}
    assert {claim.measured.word for claim in judged.values()} == {NOT_RUN}
    assert "table_V is not in this study" in judged["1"].measured.why
    assert "supported by training noise alone" in judged["13"].printed.why
    assert judge_printed(contrast_of(paper, 20), 2).effect.interval(0.95) is None
    assert printed_margin(contrast_of(paper, 20)) == pytest.approx(0.2 * 3.03)


def test_every_contrast_is_judged_as_one_of_its_claim(paper, monkeypatch):
    """By how many there are intervals are widened: of the measured and of the printed numbers."""
    counts, judged = [], judge_module.judge
    monkeypatch.setattr(judge_module, "judge", lambda *arguments: counts.append(arguments[-1]) or judged(*arguments))
    nowhere = StudyResults(ROOT / "nowhere", ROOT / "nowhere")
    for claim in paper.claims:
        counts.clear()
        judge_claim(claim, nowhere)
        assert len(counts) >= 2 * len(claim.contrasts) and {*counts} == {len(claim.contrasts)}, claim.id


@pytest.mark.parametrize(
    ("kind", "margin", "share", "word"),
    [
        ("less", None, 0.4, SUPPORTED),
        ("more", None, 0.4, CONTRADICTED),
        ("less", None, 0.601, UNDECIDED),
        ("same", 3.0, 0.601, SUPPORTED),
        ("less", 3.0, 0.601, SAME),
        ("same", 3.0, 0.4, CONTRADICTED),
    ],
)
def test_verdicts_on_predictions(tmp_path, kind, margin, share, word):
    scores = {BASELINE: readings(0.6, 3), OTHER: readings(share, 3), THIRD: readings(0.2, 3)}
    claim = judge_claim(ledger_of(tmp_path, kind=kind, margin=margin).claims[0], study_of(tmp_path, scores))
    assert claim.measured.word == word, claim.measured
    assert claim.contrasts[0].measured.effect.seeds == 3 and claim.printed.word != NOT_PUBLISHED


def test_one_training_per_row_supports_nothing(tmp_path):
    scores = {BASELINE: readings(0.9, 1), OTHER: readings(0.1, 1)}
    claim = judge_claim(ledger_of(tmp_path).claims[0], study_of(tmp_path, scores))
    assert claim.measured == Verdict(UNDECIDED, "one training per row cannot tell")
    interval = claim.contrasts[0].measured.effect.interval(0.95)
    assert interval.high < -50  # over images alone


def test_tables_that_are_gone_are_no_part_of_a_study(tmp_path):
    study = study_of(tmp_path, {BASELINE: [[1, 0]], OTHER: [[1, 0]]})
    (tmp_path / "tables/a_table_of_mine.runs.csv").write_bytes((tmp_path / "tables/table_VI.runs.csv").read_bytes())
    assert study.scale == "micro" and study.table("table_V") is None
    assert StudyResults(tmp_path, tmp_path / "nowhere").scale == ""


def test_what_was_not_run_says_why(tmp_path):
    study = study_of(tmp_path, {BASELINE: readings(0.9, 2), OTHER: readings(0.1, 2)})
    rows = [f"+table_VI/{THIRD}", f"-table_VI/{BASELINE}"]
    unlisted = measured_effect(contrast_of(ledger_of(tmp_path, rows=rows), 1), study)
    assert "image9-text6 is not in table_VI.runs.csv" in unlisted.reason
    missing = measured_effect(contrast_of(ledger_of(tmp_path, columns=["HOST"]), 1), study)
    assert missing.reason == "HOST: no folder test/heavily_occluded with a data.mdb"
    (tmp_path / "runs/micro-00000001/seed1/evaluations/00000000/predictions.parquet").unlink()
    gone = measured_effect(contrast_of(ledger_of(tmp_path), 1), StudyResults(tmp_path, tmp_path / "tables"))
    assert gone.reason == "image6-text6 has no predictions of seed 1"


def test_a_row_of_a_sweep_that_is_another_row_here_is_judged_as_that_row(tmp_path):
    study = study_of(tmp_path, {BASELINE: readings(0.9, 2), OTHER: readings(0.1, 2)})
    known = measured_effect(contrast_of(ledger_of(tmp_path), 1), study)
    study.table("table_VI").runs.loc[OTHER, "also"] = f"twice {THIRD}"
    rows = [f"+table_VI/{THIRD}", f"-table_VI/{BASELINE}"]
    assert measured_effect(contrast_of(ledger_of(tmp_path, rows=rows), 1), study).value == known.value != 0


def test_a_contrast_of_four_rows_is_the_sum_of_its_differences(tmp_path):
    names = [BASELINE, OTHER, THIRD, "image12-text6"]
    study = study_of(tmp_path, {row: readings(share, 2) for row, share in zip(names, (0.9, 0.7, 0.6, 0.2), strict=True)})
    signs = ("+", "-", "-", "+")
    both = [f"{sign}table_VI/{row}" for sign, row in zip(signs, names, strict=True)]
    whole = measured_effect(contrast_of(ledger_of(tmp_path, rows=both), 1), study)
    parts = [measured_effect(contrast_of(ledger_of(tmp_path, rows=pair), 1), study) for pair in (both[:2], both[2:])]
    assert whole.value == pytest.approx(sum(part.value for part in parts))
    pair = study.table("table_VI").comparison(
        contrast_of(ledger_of(tmp_path), 1).compared(study.table("table_VI").columns, {"incidental"})
    )
    two = measured_effect(contrast_of(ledger_of(tmp_path), 1), study)
    assert two.interval(0.95)[1:] == pytest.approx((pair.paired(OTHER, BASELINE).low, pair.paired(OTHER, BASELINE).high))


def test_a_margin_keeps_its_share_of_the_baselines_errors(tmp_path):
    """Table VI's baseline reads 90.6 % of IC15 in the paper, and 75 % here: half a point of 9.4 is 1.33 of 25."""
    study = study_of(tmp_path, {BASELINE: [[1, 1, 1, 0]], OTHER: [[1, 1, 0, 0]]})
    contrast = contrast_of(ledger_of(tmp_path, kind="same", margin=0.5), 1)
    assert measured_margin(contrast, study) == pytest.approx(0.5 * 25 / 9.4)
    study.table("table_VI").runs["scale"] = "paper"
    assert measured_margin(contrast, study) == 0.5


def test_a_contrast_is_written_with_its_signs_and_its_margin(tmp_path, paper):
    rows = [f"-table_VI/{BASELINE}", f"+table_VI/{OTHER}", f"-table_VI/{THIRD}", f"+table_VI/{OTHER}"]
    summed = contrast_of(ledger_of(tmp_path, rows=rows, columns=["HOST"]), 1)
    minus = "\N{MINUS SIGN}"
    assert str(summed) == f"{minus} {BASELINE} + 2 x {OTHER} {minus} {THIRD} on HOST"
    study = study_of(tmp_path, {BASELINE: readings(0.9, 2), OTHER: readings(0.1, 2)})
    (same,) = judge_claim(ledger_of(tmp_path, kind="same", margin=0.5).claims[0], study).contrasts
    (less,) = judge_claim(ledger_of(tmp_path).claims[0], study).contrasts
    assert re.fullmatch(r"same \(±0.5, here ±[\d.]+\)", kind_text(same)) and kind_text(less) == "less"


def test_times_are_judged_by_the_spread_of_their_repeats(tmp_path, paper):
    write_results(tmp_path, "table_IX", {"cross-ar": [1, 0], "visual-ar": [1, 0]})
    for number, (low, middle, high) in enumerate([(3.4, 3.5, 3.6), (2.9, 3.0, 3.1)]):
        cost = {"ms_per_image": middle, "low_ms": low, "high_ms": high}
        reading = {"readings": {"00000000": {"outputs": {"cross": cost}}}}
        (tmp_path / f"runs/micro-{number:08d}/seed0/reading_time.json").write_text(json.dumps(reading))
    study = StudyResults(tmp_path, tmp_path / "tables")
    found = measured_effect(contrast_of(paper, 20), study)
    assert found.value == pytest.approx(0.5) and found.spread == pytest.approx((0.3, 0.7)) and found.seeds == 1
    assert measured_margin(contrast_of(paper, 20), study) == pytest.approx(0.6)
    assert judge("same", 0.6, found).word == UNDECIDED and judge("same", 0.71, found).word == SUPPORTED
    assert measured_effect(contrast_of(paper, 20, 1), study).reason.startswith("cross-eq8 is not in table_IX.runs.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": ["+table_VI/image5", f"-table_VI/{BASELINE}"]}, "contrast 1: unknown row 'image5' of table_VI; there are"),
        (
            {"rows": ["+table_L/a", "-table_L/b"]},
            "contrast 1: unknown table 'table_L' in table_L/a; there are cyrillic, finetune, method_choices",
        ),
        ({"rows": ["table_VI/a", "-table_VI/b"]}, r"claim 1, contrast 1, row 1: 'table_VI/a'; write a row with its sign, like"),
        ({"rows": [f"+table_VI/{OTHER}", f"+table_VI/{BASELINE}"]}, "are not a difference; give as many with"),
        ({"rows": [f"+table_VI/{OTHER}", f"-table_VI/{OTHER}"]}, "are not a difference"),
        ({"kind": "better"}, "claim 1, contrast 1, kind: 'better'; give one of more, less, same"),
        ({"kind": "same"}, "kind 'same' has no margin; give one in points"),
        ({"margin": 0}, "claim 1, contrast 1, margin: 0; give a number above 0"),
        ({"margin": -0.5}, "margin: -0.5; give a number above 0"),
        ({"margin": float("nan")}, "margin is nan; give a finite number"),
        ({"margin_percent": 20}, "margin_percent does not suit an accuracy; give margin"),
        ({"seeds": 3}, "claim 1, contrast 1: unknown key 'seeds'; the keys are rows, columns, kind"),
        ({"rows": None}, "claim 1, contrast 1: key 'rows' is missing"),
        ({"columns": ["SVT"]}, "unknown column 'SVT' of table_VI; there are IC15, WOST, HOST, COCO, Uber"),
        ({"rows": COSTS}, "table_II prints no accuracies; name a column of times"),
        ({"rows": COSTS, "columns": ["Hours"]}, "column 'Hours' is hours; claims are made of"),
        ({"rows": ["+table_X/clip4str-b", "-table_III/clip4str-b"]}, "have no common mean; name the columns"),
        ({"rows": ["+table_IX/cross-ar", "-table_IX/visual-ar"], "columns": ["Time (ms)", "Avg."]}, "are accuracies and times"),
    ],
)
def test_bad_ledgers_are_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(ReportError, match=message) as error:
        ledger_of(tmp_path, **changes)
    assert str(tmp_path / "claims.yaml") in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("title: [", "cannot be read"), ("- 1", "is not of type 'object'"), ("title: x", "key 'claims' is missing")],
)
def test_files_that_are_not_a_ledger_are_refused(tmp_path, text, message):
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(ReportError, match=message):
        read_ledger(tmp_path / "claims.yaml")


def test_two_claims_of_one_id_are_refused(tmp_path):
    path = ledger_of(tmp_path).path
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {"claims": content["claims"] * 2}))
    with pytest.raises(ReportError, match="two claims have the id '1'"):
        read_ledger(path)


def test_the_second_trainings_are_those_of_the_released_readme():
    readme = pd.read_csv(shared_or_skip("paper/released_readme.csv")).set_index("row")
    ours = pd.read_csv(SECOND).set_index("row").rename(columns={"IC15 (1811)": "IC15_1811", "IC15": "IC15_2077"})
    assert (readme.loc[ours.index, ours.columns] == ours).all(axis=None)
