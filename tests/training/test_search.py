"""The learning-rate search: what it asks for, and its table (tests/workflow/test_workflow.py runs one)."""

import json

import pandas as pd
import pytest
import yaml

from ablations import plan as planning
from ablations.lr_search import SEARCH, Search
from ablations.sweeps import length_of
from core.errors import ConfigError, ReportError
from core.experiment.sweep import Sweep
from reports import search_table as report
from reports.search import main
from tests.support.checkout import BASELINE

SETTINGS = {"data": None, "seeds": [0], "threads": 1, "peers": []}


def search(tmp_path, scale="smoke", data=None, **changes):
    plan = planning.make({**SETTINGS, "scale": scale, "data": data, "results": str(tmp_path / "results")}, ["table_VII"])
    path = tmp_path / "lr_search.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(SEARCH.read_text()), **changes}))
    return Search(plan, path)


@pytest.mark.parametrize(
    ("scale", "own", "length"), [("micro", 0.032, "TRAIN_STEPS = 960"), ("smoke", 0.032, "TRAIN_STEPS = 2")]
)
def test_a_search_is_short_trainings_around_the_rows_own_value(tmp_path, scale, own, length):
    made = search(tmp_path, scale)
    content = made.trials.content
    values = [trial["value"] for trial in content["trials"]]
    assert values == pytest.approx([own * factor for factor in (0.125, 0.25, 0.5, 1, 2, 4, 8)])
    assert (content["own"], content["share"], content["output"], content["knob"]) == (own, 0.4, "cross", "ENCODER_LR")
    assert content == json.loads(made.inputs[0].read_text()) and len(set(made.inputs)) == 8
    for trial in content["trials"]:
        text = (made.plan.searches / trial["run"] / "train.gin").read_text()
        assert f"\nENCODER_LR = {trial['value']!r}\n" in text and f"\n{length}\n" in text
    row = (tmp_path / f"results/sweeps/{scale}/lr_search/encoder-lr-x0.5.gin").read_text()
    assert row.startswith("# Which ENCODER_LR? Here: ENCODER_LR = 0.5 times the row's own.\n")
    assert "Cost: one training (here 0.4 of its length)." in row


def test_epochs_are_shortened_where_a_row_counts_in_them():
    assert length_of(SEARCH, Sweep("", {}, 0.4), {}, {"TRAIN_STEPS": None, "EPOCHS": 16}) == {"EPOCHS": pytest.approx(6.4)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 1.5}, "share is 1.5; expected a share of the row's training"),
        ({"shares": 0.5}, "sweep: shares is 0.5; expected a list of values"),
        ({"from": ""}, "expected `from`, a gin file, and one knob; it names ENCODER_LR"),
        ({"DROPOUT": [0.0]}, "one knob; it names DROPOUT, ENCODER_LR"),
        ({"ENCODER_LR": {"times": [0.5, 2]}}, "own ENCODER_LR = 0.032 is not among the values; add 1 to `times`"),
        ({"ENCODER_LR": ["fast"]}, "ENCODER_LR = 'fast'"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(tmp_path, changes, message):
    with pytest.raises((ConfigError, ReportError), match=message):
        assert search(tmp_path, **changes).trials


def test_other_words_of_val_are_another_search(tmp_path, world_folder):
    folder = search(tmp_path, data=str(world_folder)).plan.searches
    assert folder.name.startswith("smoke-train-") and "-val-" in folder.name
    assert search(tmp_path).plan.searches.name == "smoke"


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
    found = report.outcome(tmp_path / "a", "cross")
    assert (found["accuracy"], found["n"], found["loss"], found["steps"], found["seconds"]) == (50.0, 8, 0.0, 100, 5.0)
    assert report.outcome(tmp_path / "a", "visual")["accuracy"] == 37.5
    (tmp_path / "a" / "bad-step.json").write_text(json.dumps({"step": 7, "reason": "the loss is nan"}))
    diverged = report.outcome(tmp_path / "a", "cross")
    assert "accuracy" not in diverged and diverged["reason"] == "stopped at step 7: the loss is nan"
    log(tmp_path / "b", *losses)
    with pytest.raises(ReportError, match=r"metrics\.jsonl: no validation"):
        report.outcome(tmp_path / "b", "cross")


def write_search(tmp_path, trials, own=0.01):
    """A search whose trials are (value, accuracy or None, loss)."""
    found = {"row": BASELINE, "knob": "ENCODER_LR", "share": 0.2, "scale": "micro", "data": "d", "own": own, "output": "cross"}
    found |= {"seed": 0, "trials": [{"value": value, "run": f"run{value}"} for value, *_ in trials]}
    for value, accuracy, loss in trials:
        step = {"step": 150, "loss": loss, "seconds": 9.0}
        log(tmp_path / f"run{value}" / "seed0", step, {"step": 150, "val_n": 100, "val_cross": accuracy})
        if accuracy is None:
            (tmp_path / f"run{value}" / "seed0" / "bad-step.json").write_text('{"step": 3, "reason": "the loss is nan"}')
    (tmp_path / "search.json").write_text(json.dumps(found))
    return tmp_path / "search.json"


def test_the_table_has_intervals_and_says_what_they_mean(tmp_path):
    path = write_search(tmp_path, [(0.01, 50.0, 1.0), (0.02, 90.0, 1.0), (0.05, None, 9.0), (0.002, 40.0, 1.0)])
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
    ("trials", "chosen", "verdict"),
    [
        ([(0.01, 50.0, 1), (0.02, 55.0, 1), (0.03, 1.0, 1)], 0.02, "the intervals overlap, so val/ does not tell"),
        ([(0.01, 50.0, 1), (0.02, 55.0, 1)], 0.02, "It is the highest value tried: try values beyond it."),
        ([(0.01, None, 1), (0.02, 55.0, 1), (0.03, 1.0, 1)], 0.02, "The row's own, 0.01, did not train: stopped"),
        ([(0.01, 0.0, 1), (0.02, 0.0, 0.5), (0.03, 0.0, 1)], 0.02, "the lowest training loss decided"),
        ([(0.001, 5.0, 1), (0.01, 50.0, 1), (0.02, 5.0, 1)], 0.01, "It is the row's own value."),
    ],
)
def test_the_verdict(tmp_path, trials, chosen, verdict):
    found, frame = report.read_search(write_search(tmp_path, trials))
    assert list(frame.value[frame.chosen]) == [chosen] and verdict in report.verdict(found, frame)
    assert report.draw(found, frame).axes


def test_a_damaged_search_is_named(tmp_path, capsys):
    with pytest.raises(ReportError, match=r"none\.json cannot be read"):
        report.read_search(tmp_path / "none.json")
    with pytest.raises(ReportError, match="every trial diverged"):
        report.read_search(write_search(tmp_path, [(0.01, None, 1)]))
    (tmp_path / "search.json").write_text('{"row": 1}')
    with pytest.raises(ReportError, match=r"search\.json: key 'knob' is missing"):
        report.read_search(tmp_path / "search.json")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "search.json"), str(tmp_path / "x")])
    assert "error: " in capsys.readouterr().err
