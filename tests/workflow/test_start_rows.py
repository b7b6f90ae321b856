"""Rows that begin with the trained model of another row of their table, on a given number of images."""

import json
from dataclasses import replace

import pytest

from ablations import plan as planning
from ablations.rows import with_starts
from ablations.sweeps import experiment_of
from core.data.loading import Words, open_lmdbs
from core.errors import ConfigError, DataError, UserError
from core.experiment.experiment import load
from core.train.__main__ import main
from core.train.run import train
from tests.support.checkout import BASELINE
from tests.support.plans import SETTINGS

SYNTHETIC = "ablations/finetune/synthetic.gin"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return planning.make({**SETTINGS, "results": str(tmp_path_factory.mktemp("results"))}, ["finetune"])


def by_name(plan):
    return {row.name: row for row in plan.tables["finetune"]}


def changed(row, **values):
    return replace(row, config=replace(row.config, **values))


def test_a_run_is_named_after_the_run_it_begins_with_and_waits_for_its_model(plan):
    rows = by_name(plan)
    begun = [row for name, row in rows.items() if name.startswith("start-synthetic")]
    assert [row.start for row in begun] == [rows["synthetic"].run] * 3 and rows["clip"].start == ""
    assert len({row.run for row in rows.values()}) == len(rows) == 10
    model = plan.results / "runs" / rows["synthetic"].run / "seed2" / "model.safetensors"
    assert plan.start_of(begun[0].run, "2") == [model] and plan.start_of(rows["clip"].run, "2") == []
    others = [replace(rows["synthetic"], run="smoke-00000000"), begun[0]]
    again = with_starts(others, plan.source, "smoke")[1]
    assert again.start == "smoke-00000000" and again.run != begun[0].run and experiment_of(again) != experiment_of(begun[0])


def test_starts_of_starts_and_those_that_are_not_there(plan):
    rows = by_name(plan)
    first, second, third = rows["synthetic"], rows["clip"], rows["start-synthetic-train-images1000"]
    chain = [changed(second, start_row=third.gin), third, first]
    assert [row.start for row in with_starts(chain, plan.source, "smoke")] == [third.run, first.run, ""]
    with pytest.raises(ConfigError, match="starts from this row itself"):
        with_starts([changed(first, start_row=second.gin), changed(second, start_row=first.gin)], plan.source, "smoke")
    with pytest.raises(ConfigError, match=f"{third.gin}: START = '{SYNTHETIC}' is no row of its table"):
        with_starts([third, second], plan.source, "smoke")
    lacking = with_starts([third, replace(first, run="", skip_reason="not run: no synth")], plan.source, "smoke")[0]
    assert not lacking.runnable and lacking.skip_reason == "its START: not run: no synth"


@pytest.mark.parametrize(
    ("bindings", "message"),
    [
        (["START = 'ablations/finetune/none.gin'"], "START = 'ablations/finetune/none.gin' does not exist"),
        ([f"START = '{SYNTHETIC}'", "DECODER_DEPTH = 2"], "does not fit the model: its DECODER_DEPTH is 1, the model's 2"),
        (["START = 'ablations/table_VIII/lst-r2.gin'"], "was trained with an adapter, LadderSideTuning"),
    ],
)
def test_a_plan_refuses_a_row_that_is_no_start(bindings, message):
    with pytest.raises(UserError, match=message):
        load(BASELINE, "smoke", bindings).check_start(planned=True)


def test_a_training_takes_the_model_that_the_workflow_gives_it(world_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("faulthandler.enable", lambda: None)  # pytest's stderr is no file
    few = ["TRAIN_STEPS = 2"]
    train(load(SYNTHETIC, "smoke", few), world_folder, tmp_path / "synthetic", 0)
    row, run = f"START = '{SYNTHETIC}'", tmp_path / "run"
    arguments = [BASELINE, "--data", str(world_folder), "--scale", "smoke", "--set", row, "--set", few[0], "--tracking", "off"]
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path / "none")])
    assert "is a row: train it first, and give its run directory with --start" in capsys.readouterr().err
    main([*arguments, "--out", str(run), "--start", str(tmp_path / "synthetic")])
    record = json.loads((run / "provenance.json").read_text())["train"]["start"]
    assert record["start"] == str(tmp_path / "synthetic") and record["without"] == {} and record["digest"]
    main([*arguments, "--out", str(run), "--start", str(tmp_path / "synthetic" / "model.safetensors")])
    assert "is trained already" in capsys.readouterr().out
    train(load(SYNTHETIC, "smoke", few), world_folder, tmp_path / "other", 1)
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(run), "--start", str(tmp_path / "other")])
    assert "holds a model trained from something else" in capsys.readouterr().err


def test_some_images_are_the_same_for_every_seed_and_nest(world_folder, tmp_path):
    lmdbs = open_lmdbs(world_folder / "train" / "real", "abcdefghijklmnopqrstuvwxyz", 25)
    some = [Words(lmdbs, None, seed=seed, images=images) for seed, images in ((0, 20), (1, 20), (2, 30))]
    keys = [[words.sample(position)[1].index for position in range(len(words))] for words in some]
    assert keys[0] == keys[1] == keys[2][:20] and len(set(keys[2])) == 30 and keys[0] != sorted(keys[0])
    everything = len(Words(lmdbs, None))
    assert len(Words(lmdbs, None, images=everything)) == everything
    with pytest.raises(DataError, match=f"TRAIN_IMAGES = {everything + 1}: the training sets have {everything} usable images"):
        Words(lmdbs, None, images=everything + 1)
    train(load(BASELINE, "smoke", ["TRAIN_IMAGES = 9", "TRAIN_STEPS = 1"]), world_folder, tmp_path / "run", 0)
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["train"]["images"] == 9


def test_epochs_are_of_the_images_that_are_used(plan):
    config = replace(by_name(plan)["clip"].config, steps=None, epochs=3.0, batch=8)
    assert config.total_steps(60000) == 3 * 125 and replace(config, train_images=None).total_steps(60000) == 3 * 7500


@pytest.mark.parametrize("value", ["0", "-5", "1.5", "'many'", "True"])
def test_a_number_of_images_is_refused_in_one_line(value):
    with pytest.raises(UserError, match="TRAIN_IMAGES = .*: expected a number of images, or None for all"):
        load(BASELINE, "smoke", [f"TRAIN_IMAGES = {value}"])


def test_all_images_are_the_run_that_was_before_there_was_a_number():
    assert "train_images" not in load(BASELINE, "smoke").identity
    assert load(BASELINE, "smoke", ["TRAIN_IMAGES = 9"]).digest != load(BASELINE, "smoke").digest


def test_what_a_replicated_baseline_begins_with_has_its_seeds_too(tmp_path):
    made = planning.make({**SETTINGS, "results": str(tmp_path), "replicates": 3}, ["finetune"])
    begun = next(row for row in made.tables["finetune"] if row.start)
    layout = replace(made.layouts["finetune"], baseline=begun.name)
    other = replace(made, layouts={"finetune": layout})
    assert made.replicates == [0, 1, 2] and other.seeds_of(begun.run) == other.seeds_of(begun.start) == [0, 1, 2]
    assert other.replicated_runs == {begun.run, begun.start}
