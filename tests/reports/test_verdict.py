"""The rules that turn an effect with its uncertainty into a verdict."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from reports.claims.verdict import CONTRADICTED, NOT_RUN, SAME, SUPPORTED, UNDECIDED, Effect, Verdict, judge, together
from reports.stats.intervals import seeds_needed


def effect(value: float, error: float, seeds: int = 3, **changes) -> Effect:
    known = Effect(value, image_se=error / 2**0.5, training_se=error / 2**0.5, df=1e6, seeds=seeds)
    return replace(known, seed_variance=seeds * error**2 / 2, seed_df=1e6, floor_variance=error**2 / 100, **changes)


@pytest.mark.parametrize(
    ("kind", "margin", "value", "word"),
    [
        ("more", None, 1.97, SUPPORTED),
        ("more", None, 1.95, UNDECIDED),
        ("more", None, -1.97, CONTRADICTED),
        ("less", None, -1.97, SUPPORTED),
        ("less", None, 1.97, CONTRADICTED),
        ("more", 3.0, 1.2, SAME),  # the 90 % interval reaches 1.645 further
        ("more", 3.0, 1.4, UNDECIDED),
        ("more", 9.0, 2.0, SUPPORTED),  # small, but what was claimed
        ("same", 3.0, 1.35, SUPPORTED),
        ("same", 3.0, 1.36, UNDECIDED),
        ("same", 3.0, 4.9, UNDECIDED),
        ("same", 3.0, -4.97, CONTRADICTED),
        ("same", 0.5, 0.0, UNDECIDED),  # no difference is seen, and none is shown to be small
    ],
)
def test_the_rules(kind, margin, value, word):
    assert judge(kind, margin, effect(value, 1.0)).word == word


def test_what_is_not_decided_says_why():
    assert judge("more", None, effect(1.0, 1.0)).why == "13 seeds per row would decide it"  # 1.5 / K + 0.01 <= (1 / 2.80)^2
    assert "no number of seeds" in judge("more", None, effect(0.1, 1.0)).why
    unknown = effect(9.0, 1.0, training_se=np.nan, reason="one training per row cannot tell")
    assert judge("more", None, unknown) == judge("same", 9.0, unknown) == Verdict(UNDECIDED, unknown.reason)
    assert judge("same", 1.0, Effect(reason="not yet")) == Verdict(NOT_RUN, "not yet")
    seeds = int(judge("same", 1.0, effect(0.0, 1.0)).why.split()[0])
    errors = [np.sqrt(1.5 / k + 0.01) for k in (seeds - 1, seeds)]
    power = [2 * t.cdf(1.0 / error - t.ppf(0.95, 1e6), 1e6) - 1 for error in errors]
    assert power[0] < 0.8 <= power[1]


@pytest.mark.parametrize(
    ("kind", "margin", "value", "level"),
    [
        ("more", None, -2.2, 0.05 / 10),  # one contrast of ten on the wrong side would contradict, at a corrected level
        ("less", None, 2.2, 0.05 / 10),
        ("more", None, 1.8, 0.05),  # all ten must be on the right side, which needs no correction
        ("same", 2.0, 4.2, 0.05 / 10),
        ("same", 2.0, -4.2, 0.05 / 10),
    ],
)
def test_the_seeds_that_would_decide_are_counted_at_the_level_that_decides(kind, margin, value, level):
    observed = effect(value, 1.0)
    distance = abs(value) - (margin or 0)
    seeds = seeds_needed(distance, observed.seed_variance, observed.seed_df, observed.floor_variance, level)
    assert judge(kind, margin, observed, contrasts=10) == Verdict(UNDECIDED, f"{seeds} seeds per row would decide it")
    assert seeds == 5 or value == 1.8


@pytest.mark.parametrize(
    ("kind", "margin", "value"),
    [("more", None, 0.0), ("less", None, 0.0), ("same", 0.5, 0.5), ("same", 90.8 - 90.3, -0.5), ("same", 0.5, 90.8 - 90.3)],
)
def test_no_seeds_tell_on_which_side_a_value_on_the_boundary_lies(kind, margin, value):
    assert (
        judge(kind, margin, effect(value, 1.0)).why == "the value lies on the boundary: no number of seeds tells on which side"
    )
    assert "on these images" in judge(kind, margin, effect(value + 0.01, 1.0)).why


def test_a_claim_of_several_contrasts():
    """Supported if each is; contradicted if one is, for which its interval is wider."""
    yes, no, open_, same, gone = (Verdict(word) for word in (SUPPORTED, CONTRADICTED, UNDECIDED, SAME, NOT_RUN))
    assert together([yes, yes]).word == SUPPORTED and together([yes, open_]).word == UNDECIDED
    assert together([yes, open_, no]) == Verdict(CONTRADICTED, "1 of 3 contrasts")
    assert together([yes, same]).word == SAME and together([gone, gone]).word == NOT_RUN
    assert together([yes, gone]) == Verdict(UNDECIDED, "contrasts: 1 supported, 1 not run")
    assert judge("more", None, effect(-2.2, 1.0)).word == CONTRADICTED
    assert judge("more", None, effect(-2.2, 1.0), contrasts=10).word == UNDECIDED
    assert judge("more", None, effect(2.2, 1.0), contrasts=10).word == SUPPORTED
