"""Hours, disk and wall clock of a plan, worked by hand."""

import json
import os
from dataclasses import replace

import pytest
import torch
import yaml

from ablations import plan as planning
from ablations.assumptions import DEVICES, read_assumptions
from ablations.calibration import Check, checks, utilisation
from ablations.page import advice
from ablations.plan.__main__ import main
from ablations.plan.settings import PEERS
from ablations.price import (
    Pace,
    Pool,
    best_gpus_per_run,
    disk_peak,
    elapsed,
    formula,
    job_of,
    jobs,
    longest_word,
    mean_longest,
    wall_clock,
)
from ablations.progress import Missing, missing, run_needs
from ablations.row_config import Work
from ablations.show import configuration, pool_of
from ablations.source import data_source
from core.data.lmdb import sample_labels, write_lmdb
from core.errors import ConfigError
from core.experiment.experiment import load
from core.experiment.protocol import evaluation_digest
from core.peers.registry import READERS
from tests.support.plans import SETTINGS

BASELINE, TABLE = "image0-text6", "table_VI"
HOUR = Pace(step=3600, encode=3600, decode=1800)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def plan(results):
    return planning.make({**SETTINGS, "results": str(results)}, [TABLE])


@pytest.fixture
def row(plan):
    return next(row for row in plan.tables[TABLE] if row.name == BASELINE)


@pytest.fixture
def folder(plan, row, tmp_path):
    return tmp_path / "runs" / row.run / "seed0"


def put(folder, *names, age=0):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("made")
        os.utime(folder / name, (1_000_000 - age, 1_000_000 - age))


def test_each_run_goes_to_the_first_free_device():
    assert wall_clock([3, 2, 2], 2) == 4  # 3 | 2 2
    assert wall_clock([2, 2, 3], 2) == 5  # 2 3 | 2
    assert wall_clock([1, 1, 1], 8) == 1 and wall_clock([], 8) == 0


def test_the_formula_is_operations_over_what_the_device_achieves(row):
    assumptions = read_assumptions()
    device = replace(assumptions.device, peak={"bf16": 100.0, "fp16": 100.0, "no": 10.0})
    assumptions = replace(assumptions, device=device, utilisation=0.5)
    reading = replace(row.config, batch=10, precision="bf16", test_precision="no")
    pace = formula(Work(train=20, encode=30, decode=5, saved=0, saved_once=0), reading, assumptions)
    assert pace == Pace(step=20 * 10 / 50, encode=30 / 5, decode=5 / 5)


def test_a_plan_adds_up(plan, row):
    found = jobs(plan, lambda row: HOUR, prediction_bytes=50)
    assert len(found) == 10 and {job.table for job in found} == {TABLE}
    job = next(job for job in found if job.row == BASELINE)
    assert (job.steps, job.images) == (6, 6 * 8)
    tests, validations = 400 * 12, 2 * 600  # world.gin; validated after 3 and 6 steps
    assert job.train_hours == pytest.approx(6 + validations * 1.5)
    assert job.read_hours == pytest.approx(tests * 1.5)
    assert job.kept_bytes == row.config.kept_bytes + tests * 50
    assert job.state_bytes == row.config.kept_bytes + 8 * row.config.counts.trainable
    assert elapsed(found, 1, 1) == pytest.approx(sum(job.hours for job in found))
    assert elapsed(found, 4, 2) == pytest.approx(elapsed(found, 2, 1) / 2)
    states = sorted((job.state_bytes for job in found), reverse=True)
    assert disk_peak(found, 2) == sum(job.kept_bytes for job in found) + 2 * sum(states[:2])
    assert elapsed(jobs(plan, lambda row: None, 50), 1, 1) is None
    with pytest.raises(ValueError, match="--gpus 2 are fewer than the 4 of gpus_per_run"):
        elapsed(found, 2, 4)


def test_every_validation_and_every_way_of_reading_is_priced(plan, row):
    """6 steps are validated after 4 and at their end; two ways of decoding leave two files."""
    seldom = replace(row, config=replace(row.config, validate_every=4))
    lacking = Missing("its model is missing", ("one", "another"), False)
    job = job_of(plan, TABLE, seldom, 0, lacking, HOUR, 50)
    tests, validations = 400 * 12, 2 * 600
    assert job.train_hours == pytest.approx(6 + validations * 1.5) and job.read_hours == pytest.approx(tests * 2)
    assert job.kept_bytes == row.config.kept_bytes + 2 * tests * 50


def test_what_is_there_is_not_made_again(plan, row, folder):
    asked, evaluation = run_needs(plan)[row.run], f"evaluations/{row.evaluation}"
    lacking = missing(folder, asked)
    assert lacking.train == "its model is missing" and lacking.evaluations == (row.evaluation,)
    put(folder, "model.safetensors")
    assert missing(folder, asked).train == "" and missing(folder, asked).evaluations
    put(folder, f"{evaluation}/predictions.parquet")
    assert missing(folder, asked).nothing
    put(folder, f"{evaluation}/predictions.parquet", age=60)  # older than the model
    assert missing(folder, asked).evaluations and not missing(folder, asked).train
    (folder / "model.safetensors").unlink()
    assert missing(folder, asked).nothing  # nothing needs the model
    assert missing(folder, replace(asked, model=True)).train  # but a table of sizes does
    assert missing(folder, replace(asked, evaluations=("other",))).train


def test_only_missing_ways_of_decoding_are_made(folder):
    plan = planning.make({**SETTINGS, "results": str(folder.parents[2])}, ["table_IX"])
    run, ways = max(plan.evaluations.items(), key=lambda entry: len(entry[1]))
    asked = run_needs(plan)[run]
    assert set(asked.timed) == set(asked.evaluations) == set(ways) and len(ways) > 1
    put(folder, "model.safetensors", "reading_time.json")
    made = [f"evaluations/{way}/predictions.parquet" for way in ways]
    put(folder, *made)
    assert missing(folder, asked).timed and not missing(folder, asked).evaluations
    (folder / "reading_time.json").write_text(json.dumps({"readings": dict.fromkeys(ways[1:])}))
    assert missing(folder, asked).timed  # of other ways of decoding
    (folder / "reading_time.json").write_text(json.dumps({"readings": dict.fromkeys(ways)}))
    assert missing(folder, asked).nothing
    (folder / made[0]).unlink()
    assert missing(folder, asked).evaluations == (ways[0],)


def test_names_that_other_modules_say_too(plan, row):
    loaded = load(row.gin, "smoke")
    assert row.evaluation == evaluation_digest(loaded.protocol.digest, plan.source.test_digest)
    assert row.config.identity == loaded.identity
    assert set(PEERS) == set(READERS)
    for reading in (row.config, replace(row.config, steps=None, epochs=2.5)):
        optimisation = replace(loaded.experiment.optimisation, steps=reading.steps, epochs=reading.epochs)
        assert reading.total_steps(3001) == optimisation.total_steps(3001)


def test_configurations_differ_in_what_takes_time(row):
    text = row.config.operative
    assert "TRAIN_STEPS = 6" in text and "WEIGHTS = " in text
    longer = replace(row, config=replace(row.config, operative=text.replace("TRAIN_STEPS = 6", "TRAIN_STEPS = 60")))
    assert configuration(longer) == configuration(row)
    other = replace(row, config=replace(row.config, operative=text.replace("DROPOUT = 0.0", "DROPOUT = 0.1")))
    assert configuration(other) != configuration(row)


def test_table_II_is_checked_by_hand(results):
    """Real(3.3M) at batch 1024: 16 x 3222 steps; 8 devices; one operation in the place of many."""
    settings = {**SETTINGS, "scale": "paper", "results": str(results)}
    plan = planning.make(settings, ["table_II"], published=True)
    assumptions = read_assumptions()
    found = checks(plan, {row.name: Work(1e9, 1, 1, 0, 0, 2e9) for row in plan.tables["table_II"]}, assumptions)
    assert [check.printed for check in found] == [12.8, 23.4, 48.0]
    base = found[0]
    assert base.images == 16 * 3222 * 1024
    assert base.achieved == pytest.approx(base.images * 2e9 / (12.8 * 3600 * 8))
    assert base.utilisation == pytest.approx(base.achieved / 154.8e12)
    assert base.ratio == pytest.approx(base.utilisation / assumptions.utilisation)
    assert base.ours == pytest.approx(base.estimated / 2)
    pair = [replace(base, utilisation=0.1), replace(base, utilisation=0.4)]
    assert isinstance(base, Check) and utilisation(pair) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("utilisation", 1.5, "utilisation = 1.5: a share lies in"),
        ("utilisation", None, "utilisation = None is not a positive number"),
        ("word_lengths", [], r"word_lengths = \[\]: expected 1 to 25 numbers, how many words have 1, 2, 3, ... letters"),
        ("word_lengths", [1, 0.5], "expected 1 to 25 numbers"),
        ("default", "abacus", "no device 'abacus'; it has "),
        ("speed", 1, "key 'speed' is not known"),
        ("devices", {"mine": {"name": "Mine"}}, "devices.mine needs name, memory_gb and peak_tflops"),
    ],
)
def test_bad_device_files_name_the_key(tmp_path, key, value, message):
    path = tmp_path / "devices.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(DEVICES.read_text()) | {key: value}))
    with pytest.raises(ConfigError, match=f"devices.yaml: .*{message}"):
        read_assumptions(path=path)


def test_one_long_run_asks_for_more_gpus(plan):
    """Two runs of 8 and 2 hours on 4 GPUs: 8 h one each, 5 h in pairs, 2.5 h with all four together."""
    job = jobs(plan, lambda row: HOUR, 50)[0]
    long, short = (replace(job, train_hours=hours, read_hours=0.0) for hours in (8, 2))
    assert best_gpus_per_run([long, short], 4) == 4
    said = f"One run decides the wall clock: {TABLE}/{long.row} takes 8.0 h"
    better = "--config gpus_per_run=4: 2.5 h instead of 8.0 h, where GPUs share a run without loss"
    assert advice([long, short], 4, 1) == [f"{said}. {better}."]
    assert advice([short] * 4, 4, 1) == [] and advice([long, short], 1, 1) == []
    odd = replace(long, images=3 * long.steps)  # a batch of 3 is not shared by 2 or 4
    assert (
        best_gpus_per_run([odd, short], 4) == 1 and "no other gpus_per_run of 4 GPUs is faster" in advice([odd, short], 4, 1)[0]
    )


def test_the_longest_word_of_a_step_grows_with_the_step(plan):
    """Of words of 1 and 2 letters, half each: two words have a mean longest of 1.75; many have 2."""
    assert mean_longest([1, 1], 1) == 2 and mean_longest([3, 1], 1) == 1 and mean_longest([3, 1], 100) == 2
    assert mean_longest([], 5) == mean_longest([0], 5) == 1
    counts = read_assumptions().word_lengths
    assert sum(counts) == 6054 and [mean_longest(counts, images) for images in (128, 1024)] == [13, 18]
    assert longest_word(plan.source, ["real"], 64, counts) == 12  # world.gin


def test_the_longest_word_comes_from_the_labels_that_are_there(tmp_path):
    write_lmdb(tmp_path / "train" / "real" / "A", [(b"", "four"), (b"", "three"), (b"", "")])
    write_lmdb(tmp_path / "train" / "real" / "B", [(b"", "sixsix")] * 40)
    write_lmdb(tmp_path / "test" / "SVT", [(b"", "a")])
    source = data_source(str(tmp_path), "smoke", tmp_path)
    assert longest_word(source, ["real"], 8, [1]) == 6 and source.word_lengths == {("real",): [0, 0, 0, 1, 1, 40]}
    assert len(sample_labels([tmp_path / "train"], 10)) == 11  # every fourth key of each


@pytest.mark.parametrize(
    ("asked", "by_formula", "gpus", "said"),
    [
        (None, True, "", "8 GPUs"),
        (2, True, "", "2 GPUs"),
        (None, False, "0,1", "2 GPUs"),
        (None, False, "0", "1 GPU"),
        (3, False, "", "3 cores"),
    ],
)
def test_hours_are_of_the_devices_that_runs_share(monkeypatch, asked, by_formula, gpus, said):
    monkeypatch.setenv("CLIP4STR_GPUS", gpus)
    assert str(pool_of(asked, by_formula)) == said


def test_without_a_gpu_each_run_has_a_core(monkeypatch):
    monkeypatch.setenv("CLIP4STR_GPUS", "")
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert pool_of(None, by_formula=False) == Pool(6, "core")


def test_the_page_times_real_steps(results, capsys):
    arguments = ["table_X", "--scale", "smoke", "--results", str(results), "--price", "2.5"]
    main([*arguments, "--probe", "--probe-steps", "1"])
    page = capsys.readouterr().out
    assert "1 steps of each of 2 configurations" in page and page.count(" s a step (") == 2
    if not torch.cuda.is_available():
        assert "train core-h" in page and "on CPU, 1 thread:" in page
    assert "2 rows, 2 unique runs x 1 seeds, 0 of them trained already" in page and "price" in page
    with pytest.raises(SystemExit):
        main([*arguments, "--device", "abacus"])
    assert "no device 'abacus'" in capsys.readouterr().err


def test_ways_of_decoding_share_the_image_towers_pass(tmp_path):
    """Table IX reads models in several ways: 12 sets of 400 images are encoded once each, and decoded once per way."""
    plan = planning.make({**SETTINGS, "results": str(tmp_path)}, ["table_IX"])
    ways = {run: len(evaluations) for run, evaluations in plan.evaluations.items()}
    found = {job.run: job.read_hours for job in jobs(plan, lambda row: HOUR, 50)}
    assert found == pytest.approx({run: 400 * 12 * (1 + 0.5 * count) for run, count in ways.items()}) and max(ways.values()) > 2
