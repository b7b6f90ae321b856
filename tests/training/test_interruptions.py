"""What goes wrong in the middle of a run says what it was, and leaves the last good state."""

import json
import os
import resource
import shutil
import signal
from pathlib import Path

import lmdb
import pytest
import torch
from safetensors.torch import load_file

from core.data.lmdb import WordLmdb, put
from core.errors import ConfigError, DataError, TrainingError
from core.experiment.experiment import load
from core.files import append_json
from core.train import validation
from core.train.loop import Run
from core.train.loss_monitor import BadStep, LossMonitor
from core.train.run import train
from core.train.state import Interrupted, Stopper
from core.weights.checkpoint import load_model
from tests.support.checkout import BASELINE

LAST = ("optim.Optimisation.validate_every = 7",)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def at_step(monkeypatch):
    """Has something happen right before a step."""

    def arrange(number, happen):
        step = Run.step

        def stepped(run, step_number, batches, starts):
            if step_number == number:
                happen(run)
            return step(run, step_number, batches, starts)

        monkeypatch.setattr(Run, "step", stepped)

    return arrange


def states(out):
    return [path.name for path in sorted((out / "state").iterdir())]


def saved_tensors(out):
    (state,) = (out / "state").iterdir()
    return torch.load(state / "state.pt", weights_only=True)["model"]


def test_a_lagging_step_is_judged_before_anything_is_kept():
    bad, good = torch.tensor([torch.nan] * 3), torch.tensor([5.0] * 3)
    for late in (lambda watch: watch.record(3, good, good[0]), lambda watch: watch.flush()):
        watch = LossMonitor(max_loss_ratio=10.0, most_skipped=0, norms=True, lag=1)
        watch.record(1, good, good[0])
        watch.record(2, bad, good[0])
        with pytest.raises(BadStep) as error:
            late(watch)
        assert error.value.step == 2 and watch.state_dict()["history"] == [5.0]


@pytest.mark.parametrize("value", [float("nan"), 1e4])
def test_a_bad_loss_reaches_neither_weights_nor_state(world_folder, tmp_path, at_step, monkeypatch, value):
    """In step 5, state after 4: the weights in memory are those of the state too."""
    kept = {}

    def spoil(run):
        losses, passes = run.model.cross_entropy, run.model.losses
        kept.update(run=run, words=[])
        monkeypatch.setattr(
            run.model, "losses", lambda images, words, *others: kept["words"].extend(words) or passes(images, words, *others)
        )
        monkeypatch.setattr(run.model, "cross_entropy", lambda *arguments: losses(*arguments) * value)

    at_step(5, spoil)
    loaded = load(BASELINE, "smoke", ["optim.Optimisation.most_skipped = 0"])
    with pytest.raises(TrainingError) as error:
        train(loaded, world_folder, tmp_path, 0)
    assert states(tmp_path) == ["step-000000004"]
    assert all(torch.isfinite(tensor).all() for tensor in saved_tensors(tmp_path).values())
    weights = kept["run"].model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in saved_tensors(tmp_path).items())
    record = json.loads((tmp_path / "bad-step.json").read_text())
    assert record["step"] == 5 and len(record["samples"]) == 8
    assert sorted(sample["label"] for sample in record["samples"]) == sorted(kept["words"])
    message = str(error.value)
    assert "at step 5, which read samples" in message and ("nan" in message or "more than 10 times" in message)
    first = record["samples"][0]
    assert f"{first['index']} ({first['lmdb']} {first['key']})" in message
    lmdb, sample = kept["run"].words.sample(first["index"])
    assert (str(lmdb.path), f"image-{sample.index:09d}", sample.label) == (first["lmdb"], first["key"], first["label"])


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_that_is_not_finite_is_left_out(world_folder, tmp_path, at_step, monkeypatch, fused, capsys):
    """Weights and moments stay, the step is counted and said, and the run goes on to its end."""
    before, found = {}, {}

    def spoil(run):
        losses = run.model.cross_entropy

        def once(*arguments):
            monkeypatch.setattr(run.model, "cross_entropy", losses)
            return losses(*arguments) * float("nan")

        before.update({name: tensor.clone() for name, tensor in run.model.state_dict().items()})
        monkeypatch.setattr(run.model, "cross_entropy", once)

    def compare(run):
        weights = run.model.state_dict()
        found["same"] = all(torch.equal(tensor, weights[name]) for name, tensor in before.items())
        found["updates"] = {int(state["step"]) for state in run.optimiser.optimizer.state.values()}

    at_step(4, spoil)
    at_step(5, compare)
    train(load(BASELINE, "smoke", [f"optim.Optimisation.fused = {fused}"]), world_folder, tmp_path, 0, log_every=1)
    assert found == {"same": True, "updates": {3}}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "loss" in line]
    assert [line["skipped_steps"] for line in logged] == [0, 0, 0, 1, 1, 1]
    assert [line["loss"] is None for line in logged] == [False, False, False, True, False, False]
    assert json.loads((tmp_path / "provenance.json").read_text())["skipped_steps"] == 1
    assert "step 4 left out: the loss is nan" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_that_is_not_finite_changes_nothing(world_folder, tmp_path, at_step, fused):
    """Whatever the loss is."""
    before, found = {}, {}

    def spoil(run):
        before.update({name: tensor.clone() for name, tensor in run.model.state_dict().items()})
        hook = run.model.visual_decoder.head.weight.register_hook(lambda gradient: hook.remove() or gradient * torch.inf)

    def compare(run):
        weights = run.model.state_dict()
        found["same"] = all(torch.equal(tensor, weights[name]) for name, tensor in before.items())

    at_step(4, spoil)
    at_step(5, compare)
    train(load(BASELINE, "smoke", [f"optim.Optimisation.fused = {fused}"]), world_folder, tmp_path, 0, log_every=1)
    assert found["same"] and json.loads((tmp_path / "provenance.json").read_text())["skipped_steps"] == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["grad_norm"] is None for line in lines if "loss" in line] == [False, False, False, True, False, False]
    assert all(line["loss"] for line in lines if "loss" in line)


def test_averaged_weights_are_the_mean_of_their_snapshots(world_folder, tmp_path, monkeypatch):
    """PARSeq's recipe in a run of 7 steps: snapshots after 5, 6 and 7, also where it was interrupted between them."""
    loaded, seen = load("ablations/table_V/base-psm.gin", "smoke"), {}
    averaging = loaded.experiment.optimisation.averaging
    assert averaging.steps(7) == [5, 6, 7]
    step = Run.step

    def watched(run, number, *arguments):
        result = step(run, number, *arguments)
        seen[number] = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        return result

    monkeypatch.setattr(Run, "step", watched)
    train(loaded, world_folder, tmp_path / "whole", 0)
    weights = load_file(tmp_path / "whole" / "model.safetensors")
    for name, tensor in weights.items():
        mean = sum(seen[number][name] for number in (5, 6, 7)) / 3
        torch.testing.assert_close(tensor, mean, rtol=0, atol=1e-6, msg=name)
    assert any(not torch.equal(tensor, seen[7][name]) for name, tensor in weights.items())

    def interrupted(run, number, *arguments):
        if number == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(run, number, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Run, "step", interrupted)
        train(loaded, world_folder, tmp_path / "again", 0)
    train(loaded, world_folder, tmp_path / "again", 0)
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())

    read = validation.read_images_of

    def stopped(*arguments, asked, **others):
        os.kill(os.getpid(), signal.SIGTERM)
        return read(*arguments, asked=asked, **others)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):  # after the last step: nothing is left but the mean
        patch.setattr(validation, "read_images_of", stopped)
        train(load("ablations/table_V/base-psm.gin", "smoke", LAST), world_folder, tmp_path / "last", 0)
    assert states(tmp_path / "last") == ["step-000000007"]
    train(load("ablations/table_V/base-psm.gin", "smoke", LAST), world_folder, tmp_path / "last", 0)
    last = load_file(tmp_path / "last" / "model.safetensors")
    assert all(torch.equal(tensor, last[name]) for name, tensor in weights.items())
    assert load_model(tmp_path / "last").normalisation == "half"  # PARSeq's, as the row has it


def test_too_many_steps_left_out_stop_the_run():
    watch, norm = LossMonitor(max_loss_ratio=10.0, most_skipped=2, norms=True), torch.tensor(1.0)
    bad, good = torch.tensor([torch.nan] * 3), torch.tensor([5.0] * 3)
    for step in range(1, 200):
        watch.record(step, bad if step in (3, 50, 104, 160) else good, norm)  # never three within 100
    again = LossMonitor(max_loss_ratio=10.0, most_skipped=2, norms=True)
    again.load_state_dict(watch.state_dict())
    with pytest.raises(BadStep, match=r"norm is inf .* in 3 of the last 100 steps, more than the 2 that may be left out"):
        again.record(200, good, torch.tensor(torch.inf))
    assert again.skipped == 5


def test_a_loss_is_judged_by_the_median_before_it():
    watch = LossMonitor(max_loss_ratio=10.0, most_skipped=0, norms=True)
    norm = torch.tensor(1.0)
    for step, loss in enumerate([8.0, 79.0, 6.0], start=1):  # nothing is known at first, then 80 is the limit
        watch.record(step, torch.tensor([loss, loss, torch.nan]), norm)
    again = LossMonitor(max_loss_ratio=10.0, most_skipped=0, norms=True)
    again.load_state_dict(watch.state_dict())
    again.record(4, torch.tensor([79.9, 0.0, 0.0]), norm)
    with pytest.raises(BadStep, match="the loss is 500, more than 10 times 43.5, the median of the last 4 steps"):
        again.record(5, torch.tensor([500.0, 0.0, 0.0]), norm)
    with pytest.raises(BadStep, match="gradient's norm is inf"):
        again.record(5, torch.tensor([5.0, 0.0, 0.0]), torch.tensor(torch.inf))
    late = LossMonitor(max_loss_ratio=10.0, most_skipped=0, norms=False)
    late.record(1, torch.tensor([0.01, 0.0, 0.0]), torch.tensor(torch.inf))
    late.record(2, torch.tensor([9.9, 0.0, 0.0]), norm)  # a wrong label among right ones
    with pytest.raises(BadStep):
        late.record(3, torch.tensor([50.0, 0.0, 0.0]), norm)
    with pytest.raises(ConfigError, match="Optimisation.max_loss_ratio = 1: an ordinary loss"):
        load(BASELINE, "smoke", ["optim.Optimisation.max_loss_ratio = 1"])


def test_a_signal_during_validation_loses_nothing(world_folder, tmp_path, monkeypatch):
    """The state is saved before the validation, which is done when the run goes on."""
    loaded, read = load(BASELINE, "smoke"), validation.read_images_of

    def interrupted(*arguments, asked, **others):
        os.kill(os.getpid(), signal.SIGTERM)
        return read(*arguments, asked=asked, **others)

    with monkeypatch.context() as patch:
        patch.setattr(validation, "read_images_of", interrupted)
        with pytest.raises(Interrupted) as stop:
            train(loaded, world_folder, tmp_path, 0)
    assert stop.value.exit_status == 143 and states(tmp_path) == ["step-000000003"]
    train(loaded, world_folder, tmp_path, 0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val_n" in line] == [3, 6]
    assert not (tmp_path / "state").exists() and not (tmp_path / "lock").exists()


def test_what_was_counted_before_an_interruption_is_reported_after_it(world_folder, tmp_path, monkeypatch):
    """Damaged images and captions that are cut, all met before the last validation, in which the run is stopped."""
    data = shutil.copytree(world_folder, tmp_path / "data")
    real = next((data / "train" / "real").rglob("data.mdb")).parent
    with lmdb.open(str(real)) as database:
        put(database, {f"image-{number:09d}".encode(): b"damaged" for number in range(1, 97, 3)})
    loaded = load(BASELINE, "smoke", ["CONTEXT_LENGTH = 3", "optim.Optimisation.validate_every = 6"])
    read = validation.read_images_of

    def interrupted(*arguments, asked, **others):
        os.kill(os.getpid(), signal.SIGTERM)
        return read(*arguments, asked=asked, **others)

    train(loaded, data, tmp_path / "whole", 0)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(validation, "read_images_of", interrupted)
        train(loaded, data, tmp_path / "again", 0)
    assert states(tmp_path / "again") == ["step-000000006"]
    train(loaded, data, tmp_path / "again", 0)
    whole, again = (json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("whole", "again"))
    assert whole["undecodable"] == again["undecodable"] != {}
    assert again["captions_cut"] >= whole["captions_cut"] > 0


def test_signals():
    """Any number of SIGTERMs is one request; a second SIGINT does not wait."""
    with Stopper() as stopper:
        assert stopper.asked() == 0
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.asked() == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_closed_terminal_is_a_request_too_unless_it_is_to_be_ignored():
    before = signal.getsignal(signal.SIGHUP)
    for handler, heard in ((signal.SIG_DFL, signal.SIGHUP), (signal.SIG_IGN, 0)):
        signal.signal(signal.SIGHUP, handler)
        try:
            with Stopper() as stopper:
                os.kill(os.getpid(), signal.SIGHUP)
                assert stopper.asked() == heard
            assert signal.getsignal(signal.SIGHUP) == handler
        finally:
            signal.signal(signal.SIGHUP, before)


def test_a_process_whose_launcher_is_gone_is_asked_to_stop(monkeypatch):
    assert Stopper(parent=-1).asked() == 0
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert Stopper(parent=-1).asked() == signal.SIGTERM


def test_a_disk_that_fills_up_keeps_the_last_state(world_folder, tmp_path, at_step):
    """From step 3 on, no file may grow past 100 kB: step 2's state stays, whole and alone."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    at_step(3, lambda run: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1])))
    try:
        with pytest.raises(OSError, match=r"state/step-00000000\d could not be written"):
            train(load(BASELINE, "smoke"), world_folder, tmp_path, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert states(tmp_path) == ["step-000000002"] and saved_tensors(tmp_path)


def test_a_full_disk_is_named():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match="/dev/full could not be written.*No space left"):
        append_json(full, {"step": 1})


@pytest.mark.parametrize("workers", [0, 1])
def test_lost_training_data_is_named(world_folder, tmp_path, at_step, monkeypatch, workers):
    """The file goes away in step 3, as with an unmounted disk."""
    real = next((world_folder / "train" / "real").rglob("data.mdb"))
    monkeypatch.setattr("core.data.lmdb.LOOK_EVERY", -1)
    at_step(3, lambda run: real.rename(tmp_path / "kept.mdb"))
    bindings = [f"optim.Optimisation.workers = {workers}", "TRAIN_STEPS = 60"]  # loaders are some batches ahead
    try:
        with pytest.raises(DataError, match=rf"{real} is gone while it is being read .*mount its disk again"):
            train(load(BASELINE, "smoke", bindings), world_folder, tmp_path / "run", 0)
    finally:
        (tmp_path / "kept.mdb").rename(real)
    assert len(states(tmp_path / "run")) == 1


def test_a_file_cut_short_is_not_read_on(world_folder, tmp_path, monkeypatch):
    source = next((world_folder / "val").rglob("data.mdb"))
    (tmp_path / "data.mdb").write_bytes(source.read_bytes())
    lmdb = WordLmdb(tmp_path)
    monkeypatch.setattr("core.data.lmdb.LOOK_EVERY", -1)
    lmdb.image(1)
    os.truncate(tmp_path / "data.mdb", 4096)
    with pytest.raises(DataError, match="data.mdb has 4,096 bytes now"):
        lmdb.image(1)
