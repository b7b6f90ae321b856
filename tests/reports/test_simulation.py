"""The quick simulation keeps its promises, and the page shows what the full one gave."""

import numpy as np
import pandas as pd
import pytest

from core.files import ROOT
from reports.figures.coverage import WANTED, coverage
from reports.simulation import main
from reports.stats import simulated
from reports.stats.simulated import NOISES, QUICK, SHAPES, Case, choices_in_words, in_words, outcomes, strata_of, summary


@pytest.fixture(scope="module")
def found():
    """Without training noise, and with most of it; trainings of one baseline serve all numbers of seeds."""
    cases = [Case("equal", 0.0, 600), Case("equal", 6.0, 600), Case("unequal", 6.0, 600)]
    return pd.concat([summary(case, outcomes(case, 12, seed=1)) for case in cases], ignore_index=True)


def test_intervals_hold_the_truth_and_p_is_honest(found):
    """Twelve tables of nine rows: the bounds that the page reports of many more, with room for their chance."""
    tested = found[found.false_positives.notna()]
    assert set(tested.seeds) == {"1 seed, 5 of the baseline", "2 seeds", "3 seeds", "5 seeds"}
    assert tested.coverage.min() > 88 and tested.coverage.mean() > 93 and tested.false_positives.mean() < 6


def test_one_seed_alone_covers_its_own_images_and_prints_no_p(found):
    alone = found[found.seeds == "1 seed"].set_index(["shape", "points"])
    assert alone.false_positives.isna().all()
    assert alone.coverage["equal", 0.0] > 90 > 70 > alone.coverage["equal", 6.0]


def test_the_figure_shows_studies_with_a_p(found):
    figure = coverage(found)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["equal, 600 images", "unequal, 600 images"]
    assert len(figure.axes[0].get_legend().get_texts()) == 4


def test_the_command_explains_itself(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "python -m reports.simulation" in text and "seconds instead of minutes" in text and list(QUICK) == [600]


def test_the_page_shows_what_the_full_simulation_gave():
    page = (ROOT / "docs" / "statistics.md").read_text()
    full = pd.read_csv(ROOT / "docs" / "statistics.csv")
    assert in_words(full) in page and choices_in_words(pd.read_csv(ROOT / "docs" / "choices.csv")) in page
    assert set(full["shape"]) == set(SHAPES) and set(full.points) == set(NOISES) and set(full.images) == {600, 14315}
    tested = full[full.false_positives.notna() & (full["shape"] != "quiet baseline")]
    assert tested.coverage.between(*WANTED).all() and (tested.false_positives <= 7).all()
    assert (tested.false_positives[tested.seeds.isin(["2 seeds", "3 seeds", "5 seeds"])] <= 6).all()


def test_the_command_makes_the_page_s_numbers(tmp_path, monkeypatch):
    """The first line of its second table whole, and files in its layout."""
    monkeypatch.setattr(simulated, "EXTREMES", {"equal": SHAPES["equal"]})
    monkeypatch.setattr(simulated, "SEEDS", (1, 2))
    monkeypatch.setattr(simulated, "cases", lambda images: [Case("equal", 0.0, 600)])
    monkeypatch.setattr(simulated, "TABLES", {600: 1})
    (tmp_path / "figures").mkdir()
    simulated.simulate(False, 0, tmp_path)
    choices, full = (pd.read_csv(ROOT / "docs" / f"{name}.csv") for name in ("choices", "statistics"))
    expected = choices[(choices["shape"] == "equal") & (choices.seeds == 2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "choices.csv"), expected)
    assert list(pd.read_csv(tmp_path / "statistics.csv").columns) == list(full.columns)
    assert (tmp_path / "figures" / "statistics.png").is_file()


def test_simulated_rows_read_as_much_as_they_should():
    """Without training noise: the mean is 69 % and a row's gain; trainings of one row agree more than two rows do."""
    strata = strata_of(40_000)
    correct = simulated.simulated(Case("equal", 0.0, 40_000), strata, np.random.default_rng(0))
    assert correct.shape == (40_000, 10, 5)
    means = strata.mean(100 * correct.reshape(40_000, -1).astype(float)).reshape(10, 5)
    assert means.mean(axis=1) == pytest.approx([69, 69, 69, 69, 69, 70, 71, 72, 73, 74], abs=0.6)
    one_row, two_rows = (float((correct[:, 1, 0] == other).mean()) for other in (correct[:, 1, 1], correct[:, 2, 0]))
    assert 0.99 > one_row > two_rows + 0.02 > 0.75


def test_every_kind_of_study_is_simulated_once_and_without_noise_of_one_shape():
    made = simulated.cases([600, 1200])
    assert len(set(made)) == len(made) == 2 * (1 + len(SHAPES) * (len(NOISES) - 1)) and 0.0 in NOISES
    assert [case.shape for case in made if not case.points] == ["equal", "equal"]


def test_trainings_that_would_read_more_than_everything_read_nearly_everything():
    strata = strata_of(600)
    correct = simulated.simulated(Case("equal", 200.0, 600), strata, np.random.default_rng(0))
    shares = strata.mean(100 * correct.reshape(600, -1).astype(float))
    assert 0.4 < (shares > 98).mean() < 0.6 and 0.2 < (shares < 2).mean() < 0.4  # of the rest a deviation is within its range


def test_simulated_trainings_vary_as_stated():
    deviation = []
    for seed in range(40):
        correct = simulated.simulated(Case("unequal", 6.0, 600), strata_of(600), np.random.default_rng(seed))
        deviation.append(strata_of(600).mean(100 * correct.reshape(600, -1).astype(float)).reshape(10, 5))
    spread = np.stack(deviation).std(axis=(0, 2))  # of 200 trainings of each row
    assert spread == pytest.approx(np.hypot(6 * SHAPES["unequal"], 2.5), rel=0.2)  # 2.5: of the images


def test_p_values_are_counted_of_the_rows_that_gain_nothing():
    baseline, *others = simulated.ROWS
    gains = dict(zip(simulated.ROWS, simulated.GAINS, strict=True))
    assert gains[baseline] == 0 and tuple(row for row in others if gains[row] == 0) == simulated.NULL
