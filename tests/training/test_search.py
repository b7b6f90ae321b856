"""The learning-rate search: its plan, its trials, its table; with Ray where Ray is installed."""

import importlib.util
import json
import subprocess
import sys

import pandas as pd
import pytest

from core import config
from core.errors import ConfigError, ReportError, TrialError
from core.search import tuner
from core.search.__main__ import main as search
from core.search.run import best
from core.search.study import Search, budget
from core.search.trial import OUTCOME, Training, finished, identity, outcome_of, run_trial
from reports import search_table as report
from reports.search import main
from tests.support.checkout import BASELINE

PLAN = "ablations/lr_search.gin"
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (the optional extra: pip install '.[search]')"
)


def training(out, **changes):
    known = {"row": BASELINE, "data": "data", "out": str(out), "scale": "smoke", "macro": "ENCODER_LR"}
    known |= {"bindings": ("TRAIN_STEPS = 2",), "seed": 0, "threads": 1, "fingerprint": "f", "output": "cross"}
    return Training(**known | changes)


@pytest.mark.parametrize(
    ("scale", "own", "length"),
    [("micro", 0.012, "TRAIN_STEPS = 300"), ("smoke", 0.012, "TRAIN_STEPS = 2"), ("paper", 8.4e-5, "EPOCHS = 6.4")],
)
def test_the_budget_is_a_share_of_the_rows_own_training(scale, own, length):
    shortened = budget(config.build(Search, PLAN, scale), scale)
    assert shortened.own == own and shortened.output == "cross"
    assert shortened.low == pytest.approx(own / 8) and shortened.high == pytest.approx(own * 8)
    name, value = shortened.bindings[0].split(" = ")
    assert name == length.split(" = ")[0] and float(value) == pytest.approx(float(length.split(" = ")[1]))


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("study.Search.span = 1", "Search.span = 1: must be above 1"),
        ("study.Search.trials = 1", "Search.trials = 1: the least is 2"),
        ("study.Search.share = 1.5", "Search.share = 1.5: must be above 0"),
        ("study.Search.shares = 1.5", "shares"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(binding, message):
    with pytest.raises(ConfigError, match=message):
        config.build(Search, PLAN, bindings=[binding])


@pytest.mark.parametrize("macro", ["NORMALISATION", "EPOCHS", "MIRRORED"])
def test_only_a_positive_number_can_be_searched(macro):
    plan = config.build(Search, PLAN, bindings=[f"study.Search.macro = '{macro}'"])
    with pytest.raises(ConfigError, match=f"Search.macro = '{macro}': .*image0-text6.gin sets it to"):
        budget(plan, "micro")


def test_without_ray_the_error_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tuner, "NEEDED", ("no_such_package",))
    with pytest.raises(SystemExit) as end:
        search([PLAN, "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert end.value.code == 1 and "pip install '.[search]'" in capsys.readouterr().err


@needs_ray
def test_values_are_the_same_for_a_seed_and_hold_the_rows_own():
    values = tuner.draw(0.012, 0.0015, 0.096, 8, seed=0)
    assert values == tuner.draw(0.012, 0.0015, 0.096, 8, seed=0) and values[0] == 0.012 and len(set(values)) == 8
    assert values[1:] != tuner.draw(0.012, 0.0015, 0.096, 8, seed=1)[1:]
    assert all(0.0015 <= value <= 0.096 for value in values)
    many = pd.Series(tuner.draw(1.0, 0.01, 100.0, 400, seed=0))
    assert 0.42 < (many < 1).mean() < 0.58  # log-uniform: half of the values below the middle


def log(folder, *lines):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_an_outcome_is_the_last_validation_and_the_last_losses(tmp_path):
    losses = [{"step": step, "loss": float(100 - step), "seconds": 0.5} for step in range(10, 101, 10)]
    validations = [
        {"step": 50, "val_n": 8, "val_cross": 25.0},
        {"step": 100, "val_n": 8, "val_cross": 50.0, "val_visual": 37.5},
    ]
    log(tmp_path / "a", *losses, *validations)
    found = outcome_of(tmp_path / "a", 0.1, "cross", diverged=False)
    assert (found.accuracy, found.n, found.loss, found.steps, found.seconds) == (50.0, 8, 0.0, 100, 5.0)
    assert outcome_of(tmp_path / "a", 0.1, "visual", diverged=False).accuracy == 37.5
    (tmp_path / "a" / "bad-step.json").write_text(json.dumps({"step": 7, "reason": "the loss is nan"}))
    diverged = outcome_of(tmp_path / "a", 0.1, "cross", diverged=True)
    assert diverged.accuracy is None and diverged.reason == "stopped at step 7: the loss is nan"
    log(tmp_path / "b", *losses)
    with pytest.raises(TrialError, match=r"metrics\.jsonl: no validation"):
        outcome_of(tmp_path / "b", 0.1, "cross", diverged=False)


def test_a_finished_trial_is_not_trained_again_unless_something_changed(tmp_path, monkeypatch):
    asked = training(tmp_path)
    assert asked.folder(0.012).name == "encoder_lr-0.012"
    assert " --set TRAIN_STEPS = 2 --set ENCODER_LR = 0.012 --seed 0 " in " ".join(asked.command(0.012))
    asked.folder(0.012).mkdir(parents=True)
    kept = {"value": 0.012, "accuracy": 5.0}
    (asked.folder(0.012) / OUTCOME).write_text(json.dumps({"training": identity(asked), "outcome": kept}))
    monkeypatch.setattr(subprocess, "Popen", None)  # nothing is started
    assert run_trial(asked, 0.012) == kept
    assert run_trial(training(tmp_path, threads=2, data="elsewhere"), 0.012) == kept
    for change in ({"fingerprint": "g"}, {"seed": 1}, {"bindings": ("TRAIN_STEPS = 3",)}):
        assert finished(asked.folder(0.012), identity(training(tmp_path, **change))) is None


def test_a_trial_that_cannot_train_says_why(tmp_path, monkeypatch):
    asked = training(tmp_path)
    monkeypatch.setattr(Training, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('error: no disk')"])
    with pytest.raises(TrialError, match=r"ENCODER_LR = 0.5 ended with status 1 .*train.log\): error: no disk"):
        run_trial(asked, 0.5)
    assert not (asked.folder(0.5) / OUTCOME).exists()


def trial(value, accuracy, loss=1.0):
    reason = "" if accuracy is not None else "stopped at step 3: the loss is nan"
    numbers = {"n": 100, "loss": loss} if accuracy is not None else {"n": None, "loss": None}
    return {"value": value, "accuracy": accuracy, **numbers, "steps": 150, "seconds": 9.0, "reason": reason}


def test_the_best_is_the_most_accurate_then_the_lowest_loss():
    trials = [trial(1, 40.0, 0.1), trial(2, 50.0, 2.0), trial(3, 50.0, 1.5), trial(4, None)]
    assert best(trials)["value"] == 3
    with pytest.raises(ValueError, match="every trial diverged"):
        best(trials[3:])


def write_search(tmp_path, trials, chosen, own=0.01):
    found = {"row": BASELINE, "macro": "ENCODER_LR", "share": 0.2, "scale": "micro", "data": "d", "own": own, "low": 0.001}
    found |= {"high": 0.1, "output": "cross", "seed": 0, "chosen": chosen, "trials": trials}
    (tmp_path / "search.json").write_text(json.dumps(found))
    return tmp_path / "search.json"


def test_the_table_has_intervals_and_says_what_they_mean(tmp_path):
    path = write_search(tmp_path, [trial(0.01, 50.0), trial(0.02, 90.0), trial(0.05, None), trial(0.002, 40.0)], 0.02)
    text = report.write(path, tmp_path / "lr_search").read_text()
    frame = pd.read_csv(tmp_path / "lr_search.csv")
    assert list(frame.value) == [0.002, 0.01, 0.02, 0.05]
    # Wilson for 50 of 100: centre 0.5, half-width z sqrt(p q / n + z^2 / 4 n^2) / (1 + z^2 / n) = 0.0962
    assert frame.low[1] == pytest.approx(40.38, abs=0.01) and frame.high[1] == pytest.approx(59.62, abs=0.01)
    assert "| **0.02** " in text and "| 0.01 (the row's own) " in text and "| 50.0 [40.4, 59.6] " in text
    assert "The row's own, 0.01, reached 50.0 %; the intervals are apart." in text and "the loss is nan" in text
    content = json.loads((tmp_path / "lr_search.json").read_text())
    assert content["chosen"] == 0.02 and content["trials"][3]["accuracy"] is None
    assert (tmp_path / "lr_search.png").stat().st_size > 5000 and (tmp_path / "lr_search.svg").is_file()


@pytest.mark.parametrize(
    ("trials", "chosen", "said"),
    [
        (
            [trial(0.01, 50.0), trial(0.02, 55.0), trial(0.03, 1.0)],
            0.02,
            "the intervals overlap, so val/ does not tell",
        ),
        ([trial(0.01, 50.0), trial(0.02, 55.0)], 0.02, "It is the highest value tried: widen Search.span."),
        (
            [trial(0.01, None), trial(0.02, 55.0), trial(0.03, 1.0)],
            0.02,
            "The row's own, 0.01, did not train: stopped",
        ),
        ([trial(0.01, 0.0), trial(0.02, 0.0, 0.5), trial(0.03, 0.0)], 0.02, "the lowest training loss decided"),
        ([trial(0.001, 5.0), trial(0.01, 50.0), trial(0.02, 5.0)], 0.01, "It is the row's own value."),
    ],
)
def test_the_verdict(tmp_path, trials, chosen, said):
    found = report.read_search(write_search(tmp_path, trials, chosen))
    assert said in report.verdict(found, report.tidy(found))
    assert report.draw(found, report.tidy(found)).axes


def test_a_damaged_search_is_named(tmp_path, capsys):
    with pytest.raises(ReportError, match=r"none\.json cannot be read"):
        report.read_search(tmp_path / "none.json")
    (tmp_path / "search.json").write_text('{"row": 1}')
    with pytest.raises(ReportError, match=r"search\.json: key 'macro' is missing"):
        report.read_search(tmp_path / "search.json")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "search.json"), str(tmp_path / "x")])
    assert "error: " in capsys.readouterr().err
