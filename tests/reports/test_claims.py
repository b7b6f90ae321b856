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
from reports.claims.__main__ import main
from reports.claims.claim import read_ledger
from reports.claims.judged import NOT_PUBLISHED, judge_claim, judge_printed
from reports.claims.measured import measured_effect, measured_margin
from reports.claims.printed import printed_effect, printed_margin
from reports.claims.results import StudyResults
from reports.claims.shown import kind_text, write_claims
from reports.claims.verdict import CONTRADICTED, NOT_RUN, SAME, SUPPORTED, UNDECIDED, Verdict, judge
from reports.columns import columns_of
from reports.figures.claims import claims_figure
from reports.layout import read_layout
from reports.stats.second_training import BENCHMARKS, SECOND, mean_of, published_noise, trainings
from tests.reports.test_figures import overlaps_note
from tests.reports.test_latex import PROBLEMS, compiled
from tests.support.checkout import shared_or_skip
from tests.support.results import write_results, write_run

IMAGES = 500
COSTS = ["+table_II/clip4str-b", "-table_II/clip4str-l"]
BASELINE, OTHER, THIRD = "image0-text6", "image6-text6", "image9-text6"


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


def study_of(folder, scores: dict[str, list[list[int]]]) -> StudyResults:
    """Table VI of a study: one list of right and wrong images per row and seed."""
    seeds = " ".join(str(seed) for seed in range(len(scores[BASELINE])))
    write_results(folder, "table_VI", {row: by_seed[0] for row, by_seed in scores.items()}, seeds)
    for number, by_seed in enumerate(scores.values()):
        for seed, correct in enumerate(by_seed[1:], 1):
            write_run(folder, f"micro-{number:08d}", correct, seed)
    return StudyResults(folder, folder / "tables")


def readings(share: float, seeds: int, differing: float = 0.1) -> list[list[int]]:
    """Right and wrong of one row: the same hard images for every row, a share of images by luck of the training."""
    rng = np.random.default_rng(round(1000 * share) + seeds)
    hard = np.linspace(0, 1, IMAGES)
    return [
        (np.where(rng.random(IMAGES) < differing, rng.random(IMAGES), hard) < share).astype(int).tolist() for _ in range(seeds)
    ]


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
    assert missing.reason == "HOST: no folder test/heavily_occluded"
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


def test_the_second_trainings_are_those_of_the_released_readme():
    readme = pd.read_csv(shared_or_skip("paper/released_readme.csv")).set_index("row")
    ours = pd.read_csv(SECOND).set_index("row").rename(columns={"IC15 (1811)": "IC15_1811", "IC15": "IC15_2077"})
    assert (readme.loc[ours.index, ours.columns] == ours).all(axis=None)
