"""Rows that a table.yaml spans itself: their values, names, files, and what is refused."""

from pathlib import Path

import pytest
import yaml

from ablations import plan as planning
from ablations import rows as rows_module
from ablations.page import swept
from ablations.plan.write import runs_frame
from core.errors import ConfigError, ReportError
from core.experiment.experiment import load
from core.experiment.sweep import Times, one_sweep, read_sweeps, values_of
from core.files import text_digest
from reports import layout as layout_module
from reports.layout import read_layout
from tests.support.plans import SETTINGS

HERE = Path("table.yaml")


def names_of(entry):
    return list(one_sweep(HERE, entry).points)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[0.0, 0.1, 0.3]", [0.0, 0.1, 0.3]),
        ("[0.1, 0.10, 1.0e-1, 1e-1]", [0.1]),  # spellings of one value; YAML reads the last as text
        ("[1, 1.0, true]", [1, True]),
        ("[null, [0.9, 0.98], cloze]", [None, (0.9, 0.98), "cloze"]),
        ("{from: 0, to: 0.3, steps: 4}", [0.0, 0.1, 0.2, 0.3]),
        ("{from: 1, to: 7, steps: 4}", [1, 3, 5, 7]),
        ("{from: 1, to: 8, steps: 4, log: true}", [1, 2, 4, 8]),
        ("{from: 1e-4, to: 1e-2, steps: 3, log: true}", [0.0001, 0.001, 0.01]),
        ("{times: [0.5, 1, 2]}", [Times(0.5), Times(1), Times(2)]),
        ("{times: {from: 0.5, to: 2, steps: 3, log: true}}", [Times(0.5), Times(1.0), Times(2.0)]),
    ],
)
def test_values(text, values):
    found = values_of(HERE, "KNOB", yaml.safe_load(text))
    assert found == values and [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ({"DROPOUT": [0.0, 0.1]}, ["dropout0", "dropout0.1"]),
        ({"PERMUTATIONS": [6], "MIRRORED": [True, False]}, ["permutations6-mirrored", "permutations6-not-mirrored"]),
        ({"DECODE": ["ar", "cloze"]}, ["decode-ar", "decode-cloze"]),
        ({"IMAGE_FROZEN": [None], "BETAS": [[0.9, 0.98]]}, ["image-frozen-none-betas-0.9-0.98"]),
        ({"ENCODER_LR": {"times": [0.5]}, "EPS": ["1e-8"]}, ["encoder-lr-x0.5-eps1e-08"]),
        ({"WEIGHTS": ["a/My Weights.pt"]}, ["weights-a-my-weights.pt"]),
    ],
)
def test_names(entry, names):
    assert names_of(entry) == names


def test_a_sample_is_of_the_product_and_the_same_for_a_seed():
    grid = {"DROPOUT": {"from": 0, "to": 0.9, "steps": 10}, "PERMUTATIONS": {"from": 1, "to": 10, "steps": 10}}
    whole, some = names_of(grid), names_of({**grid, "sample": 8})
    assert len(whole) == 100 and len(some) == 8 and [name for name in whole if name in some] == some
    assert some == names_of({**grid, "sample": 8, "seed": 0}) != names_of({**grid, "sample": 8, "seed": 1})
    assert names_of({"DROPOUT": [0.0, 0.1], "without": ["dropout0"]}) == ["dropout0.1"]
    large = {f"KNOB_{letter}": {"from": 1, "to": 1000, "steps": 1000} for letter in "ABCDEFGH"}
    assert len(names_of({**large, "sample": 3})) == 3  # of 10^24


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, r"table.yaml: sweep is \{\}; expected knobs with their values"),
        ({"sample": 2}, "expected knobs with their values"),
        ({"DROPOUT": []}, r"sweep: DROPOUT is \[\]; expected a list of values"),
        ({"DROPOUT": 0.1}, "sweep: DROPOUT is 0.1; expected a list of values"),
        ({"DROPOUT": {"from": 0, "to": 1}}, "2 or more `steps`"),
        ({"DROPOUT": {"from": 0, "to": 1, "steps": 2, "logg": True}}, "expected numbers as in"),
        ({"DROPOUT": {"from": 0, "to": 1, "steps": 3, "log": True}}, "a logarithmic range lies above 0"),
        ({"DROPOUT": {"from": 0.1, "to": 0.1, "steps": 3}}, "two ends that differ"),
        ({"DROPOUT": [float("nan")]}, "nan is not a finite number"),
        ({"DROPOUT": [{"a": 1}]}, r"\{'a': 1\} is not a number, text"),
        ({"DROPOUT": {"times": [0]}}, "`times` takes positive numbers"),
        ({"DROPOUT": [0.1], "sample": 2}, "sample is 2; expected a whole number from 1 to 1"),
        ({"DROPOUT": [0.1], "sample": 1, "seed": "a"}, "seed is 'a'"),
        ({"DROPOUT": [0.1], "share": 0}, "share is 0; expected a share"),
        ({"DROPOUT": [0.1], "from": 3}, "from is 3"),
        (
            {"DROPOUT": [0.1], "without": ["dropout1"]},
            "'without' names 'dropout1', which is not a row of the sweep; its rows are dropout0.1",
        ),
        ({"DROPOUT": {"from": 0, "to": 1, "steps": 1000}}, "1000 rows; at most 500"),
        ({"WEIGHTS": ["a b", "a-b"]}, "WEIGHTS = 'a b' and WEIGHTS = 'a-b' would both be named 'weights-a-b'"),
    ],
)
def test_what_makes_no_sense_is_refused(entry, message):
    with pytest.raises(ReportError, match=message):
        one_sweep(HERE, entry)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def study(tmp_path, monkeypatch, results):
    """Plans a table of one file, none.gin, and of a sweep; returns the plan and the rows by name."""
    folder = tmp_path / "ablations" / "swept_by_a_test"
    folder.mkdir(parents=True)
    for module in (layout_module, rows_module):
        monkeypatch.setattr(module, "ABLATIONS", tmp_path / "ablations")
    (folder / "none.gin").write_text("include 'ablations/base.gin'\n\nDROPOUT = 0.1\n")
    monkeypatch.setattr("ablations.sweeps.in_root", str)
    monkeypatch.setattr("ablations.rows.in_root", str)
    monkeypatch.setattr("ablations.row_config.in_root", str)

    def ask(sweep, scale="smoke", shared=False, **changes):
        content = {"title": "T", "about": "A", "baseline": "none", "columns": [{"name": "Avg.", "average": "nine sets"}]}
        (folder / "table.yaml").write_text(yaml.safe_dump({**content, "sweep": sweep, **changes}))
        made = planning.make({**SETTINGS, "scale": scale, "results": str(results)}, [folder.name], shared=shared)
        return made, {row.name: row for row in made.tables[folder.name]}

    ask.folder = folder
    return ask


def test_a_row_of_a_sweep_is_the_row_written_by_hand(study, results, tmp_path):
    plan, rows = study({"DROPOUT": [0, 0.1, 0.3], "PERMUTATIONS": [2]})
    assert list(rows) == ["none", "dropout0-permutations2", "dropout0.3-permutations2"]  # 0.1 is none itself: one run
    assert plan.doubles == {study.folder.name: {"dropout0.1-permutations2": "none"}}
    assert "spans 3 rows" in swept(plan)[0] and "dropout0.1-permutations2 is the row none itself" in swept(plan)[0]
    (tmp_path / "hand.gin").write_text("include 'ablations/base.gin'\nPERMUTATIONS = 2\nDROPOUT = 0.0\n")
    made = results / "sweeps" / "smoke" / study.folder.name / "dropout0-permutations2.gin"
    assert load(made, "smoke").digest == load(tmp_path / "hand.gin", "smoke").digest
    assert rows["dropout0-permutations2"].config.identity == load(tmp_path / "hand.gin", "smoke").identity
    text = made.read_text()
    assert text.startswith("# Which DROPOUT and PERMUTATIONS? Here: DROPOUT = 0, PERMUTATIONS = 2.\n# Made by the sweep of ")
    assert "# Paper: not in the paper. Cost: one training.\ninclude '" in text and text.endswith(
        "\n\nDROPOUT = 0.0\nPERMUTATIONS = 2\n"
    )
    assert "none.gin; change the sweep, not this file" in text


def test_files_of_an_earlier_sweep_go_and_others_stay_as_they_are(study, results):
    folder = results / "sweeps" / "smoke" / study.folder.name
    study({"DROPOUT": [0.2, 0.3]})
    (folder / "mine.gin").write_text("# a file of mine\n")
    before = (folder / "dropout0.2.gin").stat().st_mtime_ns
    study({"DROPOUT": [0.2, 0.4]})
    assert {path.name for path in folder.iterdir()} == {"dropout0.2.gin", "dropout0.4.gin", "mine.gin"}
    assert (folder / "dropout0.2.gin").stat().st_mtime_ns == before
    (folder / "mine.gin").unlink()


def test_files_that_another_workflow_works_with_stay(study, results):
    folder = results / "sweeps" / "smoke" / study.folder.name
    study({"DROPOUT": [0.2, 0.3]})
    _, rows = study({"DROPOUT": [0.2, 0.4]}, shared=True)
    assert {"dropout0.2", "dropout0.4"} < rows.keys() and "dropout0.3" not in rows and (folder / "dropout0.3.gin").is_file()
    before = (folder / "dropout0.2.gin").read_text()
    with pytest.raises(
        ConfigError, match="dropout0.2.gin: the workflow that is at work there has another sweep than .*table.yaml"
    ):
        study({"DROPOUT": [0.2], "share": 0.5}, shared=True)
    assert (folder / "dropout0.2.gin").read_text() == before


def test_order_baseline_and_reasons_may_name_rows_of_a_sweep(study):
    plan, rows = study(
        [{"DROPOUT": [0.2, 0.3]}, {"ENCODER_LR": {"times": [0.5]}, "share": 0.5}],
        order=["encoder-lr-x0.5", "dropout0.3"],
        baseline="dropout0.2",
        not_at_micro={"dropout0.3": "too large"},
    )
    assert list(rows) == ["encoder-lr-x0.5", "dropout0.3", "none", "dropout0.2"]
    assert rows["dropout0.3"].skip_reason == "too large" and not rows["dropout0.3"].runnable
    assert "ENCODER_LR = 0.016\n" in rows["encoder-lr-x0.5"].config.operative and rows["encoder-lr-x0.5"].config.steps == 3
    assert set(read_layout(study.folder.name).rows) == set(rows)
    assert "dropout0.2" in runs_frame(plan, study.folder.name).row.to_list()


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"DROPUT": [0.1]}, r"table.yaml: sweep: DROPUT is not a knob of .*none.gin \(DROPUT = 0.1\); DROPOUT\?"),
        ({"dropout": [0.1]}, r"dropout is not a knob of .*; DROPOUT\?"),
        ({"DROPOUT": [0.2], "smaple": [2]}, r"smaple is not a knob of .*; sample\?"),
        ({"PERMUTATIONS": [2.5]}, "PERMUTATIONS = 2.5 is not a whole number"),
        ({"DECODE": {"times": [2]}}, "DECODE has `times`, but .* sets it to 'ar', which is not a number"),
        ({"DECODE": ["rl"]}, "sweep: DECODE = 'rl': .*expected one of ar, cloze"),
        ({"DROPOUT": [1.5]}, "sweep: DROPOUT = 1.5: .*dropout1.5.gin"),
        ({"TRAIN_STEPS": [3], "share": 0.5}, "share is 0.5, and TRAIN_STEPS is a knob of it; leave one out"),
        ({"DROPOUT": [0.2], "from": "nowhere"}, "from is 'nowhere', which is neither a row beside it nor a file"),
    ],
)
def test_what_the_starting_row_cannot_take_is_refused(study, sweep, message):
    with pytest.raises(ConfigError, match=message):
        study(sweep)


@pytest.mark.parametrize(("sweep", "length"), [({"TRAIN_STEPS": [3]}, (3, None)), ({"EPOCHS": [1.5]}, (None, 1.5))])
def test_a_length_is_a_knob_in_either_unit(study, sweep, length):
    """Also where another scale counts in the other one."""
    _, rows = study(sweep)
    config = list(rows.values())[1].config
    assert (config.steps, config.epochs) == length


def test_names_that_files_have_are_refused(study):
    (study.folder / "dropout0.2.gin").write_text("include 'ablations/base.gin'\n")
    with pytest.raises(ReportError, match="DROPOUT = 0.2 makes a row named 'dropout0.2', as dropout0.2.gin does"):
        study({"DROPOUT": [0.2]})
    with pytest.raises(ReportError, match="makes a row named 'dropout0.4', as the sweep's DROPOUT = 0.4 does"):
        read_sweeps(study.folder / "table.yaml", [{"DROPOUT": [0.4]}, {"DROPOUT": [0.4]}])


def test_a_baseline_that_is_another_row_is_named(study):
    with pytest.raises(ConfigError, match="baseline names 'dropout0.1', which is the row none here; name that"):
        study({"DROPOUT": [0.1, 0.2], "from": "none"}, baseline="dropout0.1")


def test_a_table_without_files_starts_from_clip4str_b(study):
    (study.folder / "none.gin").unlink()
    plan, rows = study({"REFINE_STEPS": [1, 2]}, baseline="refine-steps1")
    assert list(rows) == ["refine-steps1", "refine-steps2"] and len({row.run for row in rows.values()}) == 1
    text = (plan.results / "sweeps" / "smoke" / study.folder.name / "refine-steps2.gin").read_text()
    assert "include 'ablations/base.gin'" in text and "Cost: none, it decodes" in text


def test_one_order_is_scored_without_refinement_and_trained_as_before(tmp_path):
    plan = planning.make({**SETTINGS, "scale": "micro", "results": str(tmp_path)}, ["method_choices"])
    one = next(row for row in plan.tables["method_choices"] if "permutations1-" in row.name)
    assert load(one.gin, "micro").protocol.refine_steps == 0 and "refine_steps" in read_layout("method_choices").varies
    assert text_digest(one.config.identity) == "c62cebfc"  # of the runs that were scored with refinement once


def test_once_the_rows_own_value_is_that_value_to_the_last_digit(study):
    (study.folder / "none.gin").write_text("include 'ablations/base.gin'\n\nENCODER_LR = 0.0001640625\n")
    plan, rows = study({"ENCODER_LR": {"times": [0.5, 1]}})
    assert list(rows) == ["none", "encoder-lr-x0.5"] and plan.doubles[study.folder.name] == {"encoder-lr-x1": "none"}


def test_a_share_is_the_same_as_a_whole_number(study):
    _, rows = study({"IMAGE_FROZEN": [0, 1], "TEXT_FROZEN": [1.0]})
    _, same = study({"IMAGE_FROZEN": [0.0, 1.0], "TEXT_FROZEN": [1]})
    assert [row.run for row in rows.values()] == [row.run for row in same.values()] and len(rows) == 3


def test_a_row_that_a_sweep_is_too_is_listed_with_its_name(study):
    plan, _ = study({"DROPOUT": [0, 0.1, 0.3]})
    listed = runs_frame(plan, study.folder.name).set_index("row")
    assert listed.also["none"] == "dropout0.1" and not listed.also.drop("none").any()


def test_multiples_of_a_length_name_the_other_unit(study):
    with pytest.raises(ConfigError, match="at this scale it counts in EPOCHS: name a length by `share`"):
        study({"TRAIN_STEPS": {"times": [0.5]}})
