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
from core.errors import DataError
from core.experiment.experiment import load
from core.files import append_json
from core.train import validation
from core.train.loop import Run
from core.train.run import train
from core.train.state import Interrupted, Stopper
from core.weights.checkpoint import load_model
from tests.support.checkout import BASELINE
from tests.support.states import saved_tensors, states

pytestmark = pytest.mark.usefixtures("one_thread")

LAST = ("optim.Optimisation.validate_every = 7",)


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
