"""How many seeds a difference takes, against a calculation by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from ablations import plan as planning
from ablations.plan.__main__ import main
from ablations.power import answer, known_noise, question
from ablations.price import Pace, jobs
from core.data.benchmarks import PUBLISHED_SIZES
from core.errors import ConfigError
from reports.columns import columns_of
from reports.layout import StatedNoise, read_layout
from tests.support.results import write_results, write_run

TABLE, BASELINE = "table_VI", "image0-text6"
SETTINGS = {"scale": "paper", "data": None, "seeds": [0], "threads": 1, "peers": []}
FIVE = ("IC15_2077", "WOST", "HOST", "COCO", "Uber")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return planning.make({**SETTINGS, "results": str(tmp_path_factory.mktemp("results"))}, [TABLE], published=True)


def by_hand(points: float, sd: float, discordant: float, level: float) -> int:
    """Normal quantiles: the mean of five benchmarks, whose images each gain +1 or -1 with half of `discordant`."""
    images = 100**2 * discordant * sum(1 / PUBLISHED_SIZES[name] for name in FIVE) / 25
    z = norm.ppf(1 - level / 2) + norm.ppf(0.8)
    return int(np.ceil(2 * sd**2 / ((points / z) ** 2 - images)))


def test_seeds_and_hours_by_hand(plan):
    """An hour per step and none per reading: hours are steps, of ten runs and so many seeds."""
    asked = question(plan, TABLE, 0.8, 0.5, 0.05)
    assert asked.images == sum(PUBLISHED_SIZES[name] for name in FIVE) and asked.rows == 9
    one, any_ = by_hand(0.8, 0.5, 0.05, 0.05), by_hand(0.8, 0.5, 0.05, 0.05 / 9)
    assert (one, any_) == (10, 25)  # a t test takes a little more than normal quantiles
    one, any_ = asked.seeds(0.05), asked.seeds(0.05 / 9)
    assert (one, any_) == (11, 26)
    pace = Pace(step=3600, encode=0, decode=0)
    lines = answer(plan, TABLE, asked, lambda wanted: jobs(wanted, lambda row: pace, 100), price=2, kind="GPU")
    steps = sum(job.steps for job in jobs(plan, lambda row: pace, 100))
    assert "0.8 points to image0-text6, on the mean of IC15 (IC15_2077), WOST, HOST, COCO, Uber" in lines[0]
    expected = f"10 runs x {one} seeds = {10 * one} trainings, 0 of them done already; {one * steps:,} GPU-hours"
    assert f"{expected}, price {2 * one * steps:,}." in lines[3]
    assert f"any of 9 rows, after Holm's correction: {any_} seeds" in lines[4]


def test_a_baseline_alone_shows_no_difference(plan):
    alone = replace(plan, tables={TABLE: [row for row in plan.tables[TABLE] if row.name == BASELINE]})
    with pytest.raises(ConfigError, match="table_VI/table.yaml: no row but the baseline can be run here"):
        question(alone, TABLE, 0.8, 0.5, 0.05)


def test_images_limit_what_seeds_can_show(plan):
    asked = question(plan, TABLE, 0.5, 0.2, 1.0)
    lines = answer(plan, TABLE, asked, lambda wanted: [], None, "GPU")
    least = (norm.ppf(0.975) + norm.ppf(0.8)) * 100 * np.sqrt(sum(1 / PUBLISHED_SIZES[name] for name in FIVE) / 25)
    assert asked.seeds() is None and f"no number of seeds is enough; these images show {least:.2g} points and more" in lines[3]


def test_noise_is_measured_or_stated_or_asked_for(tmp_path):
    """Three trainings of the baseline that read 50, 75 and 75 % of IC15: a standard deviation of 14.4 points."""
    micro = planning.make({**SETTINGS, "scale": "smoke", "results": str(tmp_path)}, [TABLE])
    with pytest.raises(ConfigError, match=r"no training noise is known at smoke scale; give --noise POINTS .* replicates=5"):
        question(micro, TABLE, 1.0, None, 0.05)
    layout = read_layout(TABLE)
    stated = StatedNoise(points=0.7, df=3, source="elsewhere", scale="smoke")
    object.__setattr__(layout, "noise_sd", stated)
    columns = columns_of(layout, True, [])
    known = known_noise(micro, layout, columns)
    assert known.variance == pytest.approx(0.49) and known.df == 3
    with pytest.raises(ConfigError, match="is known at smoke scale for the mean over IC15, WOST alone; give --noise POINTS"):
        known_noise(micro, layout, columns[:2])
    write_results(tmp_path, TABLE, {BASELINE: [1, 1, 0, 0]}, seeds="0 1 2")
    for seed in (1, 2):
        write_run(tmp_path, "micro-00000000", [1, 1, 1, 0], seed)
    micro.tables_folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / f"tables/{TABLE}.runs.csv").rename(micro.tables_folder / f"{TABLE}.runs.csv")
    found = known_noise(micro, layout, columns)
    assert found.variance == pytest.approx(np.var([50, 75, 75], ddof=1)) and found.df == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--power", "table_II", "--points", "1"], "table.yaml: no 'baseline', so there are no differences to show"),
        (["--power", TABLE, "--points", "0"], "--points: expected a positive number, got '0'"),
        (["--power", TABLE, "--points", "nan"], "--points: expected a positive number, got 'nan'"),
        (["--power", TABLE, "--points", "1", "--noise", "-1"], "--noise: expected a positive number, got '-1'"),
        (["--power", TABLE, "--points", "1", "--discordant", "5"], "--discordant: expected a number above 0 and at most 1"),
        (["--power", TABLE], "--power and --points go together"),
        (["--points", "1"], "--power and --points go together"),
        (["table_V", "--power", TABLE, "--points", "1"], "and with no other table"),
        (["--power", "table_L", "--points", "1"], "no table 'table_L'"),
        (["--power", TABLE, "--points", "1"], "no training noise is known at micro scale; give --noise POINTS"),
    ],
)
def test_bad_questions(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        main([*arguments, "--results", str(tmp_path)])
    assert message in capsys.readouterr().err


def test_one_seed_is_an_answer_only_beside_replicates_or_a_stated_noise(plan, tmp_path):
    """A difference of forty points needs one training of each row, if it is known how trainings vary."""
    smoke = planning.make({**SETTINGS, "scale": "smoke", "results": str(tmp_path)}, [TABLE])
    assert question(smoke, TABLE, 40, 0.1, 0.01).seeds() == 2
    assert question(replace(smoke, replicates=[0, 1, 2]), TABLE, 40, 0.1, 0.01).seeds() == 1
    assert question(plan, TABLE, 10, 0.1, 0.05).seeds() == 1


def test_the_page(tmp_path, capsys):
    main(["--power", TABLE, "--points", "5", "--noise", "4", "--results", str(tmp_path)])
    page = capsys.readouterr().out
    assert "table_VI, micro scale: a difference of 5 points to image0-text6" in page
    assert "seeds per row (80 % power)" in page and "hours: --probe or --device" in page


def test_images_in_two_benchmarks_are_correlated(tmp_path):
    """Table V pools 14,315 images, the 1,811 of IC15 twice: twice the weight is four times the variance."""
    plan = planning.make({**SETTINGS, "results": str(tmp_path)}, ["table_V"], published=True)
    asked = question(plan, "table_V", 0.8, 0.5, 0.05)
    once = 14315 - 2 * 1811
    assert asked.images == 14315
    assert asked.image_variance == pytest.approx(100**2 * 0.05 * (once + 4 * 1811) / 14315**2)
