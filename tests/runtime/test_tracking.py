"""wandb beside a run: what it is told, when it goes online, and that nothing it does reaches a training."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
import wandb
from safetensors.torch import load_file
from wandb.proto.wandb_internal_pb2 import Record

from core.config import gin_text
from core.experiment.experiment import load
from core.runtime.tracking import run_info
from core.runtime.tracking.client import Tracking, is_off, recorded, tracking_for
from core.train.run import train
from reports.render.appendix import recordings
from tests.support.checkout import BASELINE, ROOT

FAKES = str(ROOT / "tests" / "support" / "fakes")
LINES = [{"step": 10, "loss": 3.5, "loss_cross": None}, {"step": 20, "loss": 3.0}, {"step": 20, "val_cross": 40.0}]


@pytest.fixture
def run(tmp_path):
    """A run directory as training leaves it, asked for by two rows."""
    folder = tmp_path / "runs" / "micro-0123abcd" / "seed1"
    folder.mkdir(parents=True)
    (folder / "operative.gin").write_text("BATCH = 8\n# Comment\noptim.Optimisation.batch = %BATCH\n")
    (folder / "provenance.json").write_text(json.dumps({"seed": 1, "data_fingerprint": "feed", "commit": "c0"}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    first = {"table": "table_III", "row": "clip4str-b", "evaluation": "aaaa0000"}
    second = {"table": "table_VI", "row": "image0-text6", "evaluation": "bbbb0000"}
    (folder.parent / "rows.json").write_text(json.dumps({"rows": [first, second]}))
    evaluation = folder / "evaluations" / "bbbb0000"
    evaluation.mkdir(parents=True)
    scores = {"regular": {"n": 8, "cross": {"accuracy": 50.0, "correct": 4}, "left_out": {}, "fingerprint": "f00d"}}
    (evaluation / "metrics.json").write_text(json.dumps({"protocol": {"decode": "ar"}, "benchmarks": scores}))
    return folder


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """The fake wandb in place of the real one, for programs started here; returns its calls so far."""
    monkeypatch.setenv("PYTHONPATH", FAKES)
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls.jsonl"))
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)

    def calls(name):
        lines = (tmp_path / "calls.jsonl").read_text().splitlines() if (tmp_path / "calls.jsonl").is_file() else []
        return [call for call in map(json.loads, lines) if call["call"] == name]

    return calls


def record(run, *more, **options):
    command = [sys.executable, "-m", "core.runtime.tracking.recorder", str(run), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_the_configuration_is_what_gin_text_binds():
    text = "from core import optim\nA = 1\nB = (2, 'x')\noptim.Optimisation.steps = %A\ntrain/optim.Optimisation.lr = @f()\n"
    found = gin_text.bindings_of(text)
    assert found == {"A": 1, "B": (2, "x"), "optim.Optimisation.steps": 1, "train/optim.Optimisation.lr": "@f()"}
    assert run_info.nested(found)["optim"] == {"Optimisation": {"steps": 1}}


def test_rows_name_a_run_its_group_and_tags(run):
    known = run_info.of_training(run)
    assert (known.group, known.name, known.job_type) == ("table_III", "clip4str-b-seed1", "train")
    assert set(known.tags) == {"table_III", "table_VI", "table_III/clip4str-b", "table_VI/image0-text6", "seed1"}
    assert known.config["gin"]["optim"]["Optimisation"]["batch"] == 8 and known.config["commit"] == "c0"
    known.write_record("offline")
    tested = run_info.of_evaluation(run, run / "evaluations" / "bbbb0000")
    assert (tested.group, tested.id, tested.job_type) == ("table_VI", f"{known.id}-bbbb0000", "evaluate")
    assert run_info.scores(tested.folder) == {"regular/n": 8, "regular/cross/accuracy": 50.0, "regular/cross/correct": 4}


def test_a_run_by_hand_is_named_by_its_gin_file_or_folder(run):
    (run.parent / "rows.json").unlink()
    assert tracking_for("off", "ablations/table_VI/image0-text6.gin").row == "table_VI/image0-text6"
    assert tracking_for("off", run / "train.gin").row == ""
    assert tracking_for("off", run.parents[1] / "sweeps" / "micro" / "dropout" / "dropout0.3.gin").row == "dropout/dropout0.3"
    assert tracking_for("off", run.parents[1] / "sweeps" / "mine" / "dropout" / "dropout0.3.gin").row == ""  # no scale
    assert tracking_for("off", "/train.gin").row == ""
    assert run_info.of_training(run, "table_VI/image0-text6").name == "image0-text6-seed1"
    assert run_info.of_training(run).name == "micro-0123abcd-seed1" and run_info.of_training(run).group is None


def test_the_id_stays_with_what_is_trained(run):
    known = run_info.of_training(run)
    known.write_record("offline")
    assert run_info.of_training(run).id == known.id
    (run / "operative.gin").write_text("BATCH = 16\noptim.Optimisation.batch = %BATCH\n")
    assert run_info.of_training(run).id != known.id
    (run / "tracking.json").write_text("{")
    assert run_info.of_training(run).id != known.id


@pytest.mark.parametrize(
    ("mode", "environment", "off"),
    [
        ("auto", {}, False),
        ("auto", {"WANDB_MODE": "disabled"}, True),
        ("auto", {"WANDB_DISABLED": "true"}, True),
        ("auto", {"WANDB_MODE": "offline"}, False),
        ("online", {"WANDB_MODE": "disabled"}, False),
        ("off", {"WANDB_MODE": "online"}, True),
    ],
)
def test_it_is_off_when_told_so_or_when_wandb_is(mode, environment, off):
    assert is_off(mode, environment) == off


def test_a_resumed_run_logs_each_step_once(run, fake, monkeypatch):
    """The service of a resumed run knows its next step: 11, so 20 is new and 10 is not."""
    monkeypatch.setenv("FAKE_STEP", "11")
    done = record(run, "--mode", "online")
    assert done.returncode == 0 and done.stderr == ""
    assert [(call["step"], call["keys"]) for call in fake("log")] == [(20, ["loss"]), (20, ["val_cross"])]
    (init,) = fake("init")
    assert init["resume"] == "allow" and init["id"] == json.loads((run / "tracking.json").read_text())["id"]
    assert json.loads((run / "tracking.json").read_text())["url"] == "https://tracker.invalid/run"


def test_without_a_network_it_is_recorded_offline(run, fake, monkeypatch):
    monkeypatch.setenv("FAKE_FAILS", "init online")
    done = record(run, "--mode", "online")
    assert done.returncode == 0 and "could not go online (RuntimeError: init is broken); recorded offline" in done.stderr
    assert [call["mode"] for call in fake("init")] == ["online", "offline"] and len(fake("log")) == 3
    kept = json.loads((run / "tracking.json").read_text())
    assert kept["mode"] == "offline" and (run / kept["folder"]).is_dir()


@pytest.mark.parametrize("place", ["ablations/table_VI", "results/sweeps/smoke/dropout"])
def test_a_row_is_named_from_within_its_folder_too(tmp_path, monkeypatch, place):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    if place.startswith("ablations"):
        (folder / "table.yaml").touch()
    (folder / "mine.gin").touch()
    monkeypatch.chdir(folder)
    assert tracking_for("off", "mine.gin").row == f"{folder.name}/mine"
    monkeypatch.chdir(tmp_path)
    assert tracking_for("off", f"{place}/mine.gin").row == f"{folder.name}/mine"
    assert tracking_for("off", "ablations/table_VI/image0-text6.gin").row == "table_VI/image0-text6"  # of the repository


@pytest.mark.parametrize("mode", ["auto", "online", "offline"])
def test_a_misspelt_wandb_mode_is_named_and_nothing_is_recorded(run, fake, monkeypatch, capfd, mode):
    """Once, and never with the word that it was recorded offline; the run goes on."""
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ValueError, match="'online', 'offline'"):
        wandb.Settings(mode="ofline")  # the real one refuses it as the fake one does
    with Tracking(mode).following(run):
        pass
    (warning,) = capfd.readouterr().err.splitlines()
    assert warning.startswith("warning: tracking: ValueError: mode: Input should be ") and "'ofline'" in warning
    assert "(WANDB_MODE is 'ofline'); results do not depend on it" in warning and "recorded offline" not in warning
    assert not fake("init") and not fake("log") and not (run / "wandb").exists()
    assert recorded(run, run) == ""


@pytest.mark.parametrize(
    "fails", ["import", "Settings", "init", "init exits", "init hangs", "log", "log hangs", "finish", "finish hangs"]
)
def test_a_broken_wandb_costs_one_warning(run, fake, monkeypatch, capfd, fails):
    monkeypatch.setenv("FAKE_FAILS", fails)
    monkeypatch.setattr("core.runtime.tracking.client.MARGIN", 60.0)  # on a busy machine a program takes a while to start
    begun = time.monotonic()
    with Tracking("offline", patience=0.4).following(run):
        pass
    assert time.monotonic() - begun < 300  # a hanging call sleeps for 600
    (warning,) = capfd.readouterr().err.splitlines()
    assert warning.startswith("warning: tracking: ") and "results do not depend on it" in warning


def test_no_recorder_costs_one_warning(run, monkeypatch, capfd):
    monkeypatch.setattr(sys, "executable", str(run / "no-python"))
    with Tracking("offline").following(run):
        pass
    assert capfd.readouterr().err.count("the recorder could not start") == 1


def test_a_tracker_that_never_ends_is_stopped(run, monkeypatch, capfd):
    monkeypatch.setattr("core.runtime.tracking.client.MARGIN", 0.0)
    monkeypatch.setattr(Tracking, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    with Tracking("offline", patience=0.2).following(run):
        pass
    assert "was not done 0.2 s after the run and is stopped" in capfd.readouterr().err


def test_a_growing_run_is_followed_and_its_end_told(run, fake):
    (run / "metrics.jsonl").unlink()
    with pytest.raises(KeyError), Tracking("offline").following(run):
        (run / "metrics.jsonl").write_text(json.dumps(LINES[0]) + '\n{"step": 20, "lo')
        raise KeyError("a training that fails")
    assert [call["step"] for call in fake("log")] == [10] and fake("finish")[0]["exit_code"] == 1


def test_evaluations_end_in_a_summary(run, fake):
    Tracking("offline").evaluated(run, [run / "evaluations" / "bbbb0000"])
    assert fake("summary")[0]["keys"] == ["regular/cross/accuracy", "regular/cross/correct", "regular/n"]
    assert fake("init")[0]["job_type"] == "evaluate" and (run / "evaluations/bbbb0000/tracking.json").is_file()
    Tracking("offline").evaluated(run.parent, [run / "evaluations" / "bbbb0000"])
    assert len(fake("init")) == 1, "no run directory, nothing to record"


def test_a_killed_training_is_recorded_to_its_end(run, fake):
    """SIGKILL leaves nobody to say that the run has ended: the tracker notices, and ends too."""
    code = "import sys, time, pathlib\nimport core.runtime.tracking.client as t\n"
    code += "with t.Tracking('offline').following(pathlib.Path(sys.argv[1])):\n"
    training = subprocess.Popen([sys.executable, "-c", code + " time.sleep(600)", str(run)])
    await_call(fake, "log")
    training.send_signal(signal.SIGKILL)
    training.wait()
    await_call(fake, "finish")
    assert fake("finish")[0]["exit_code"] == 1 and len(fake("log")) == 3


def await_call(fake, name):
    deadline = time.monotonic() + 120
    while not fake(name):
        assert time.monotonic() < deadline, f"wandb.{name} was never called"
        time.sleep(0.05)


def test_a_training_ends_the_same_when_its_tracker_fails(fake, world_folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FAKE_FAILS", "log")
    weights = {}
    for mode in ("off", "offline"):
        out = tmp_path / mode / "seed0"
        train(load(BASELINE, "smoke", ["TRAIN_STEPS = 1"]), world_folder, out, 0, tracking=Tracking(mode))
        weights[mode] = load_file(out / "model.safetensors")
    assert weights["off"].keys() == weights["offline"].keys()
    assert all(torch.equal(tensor, weights["offline"][name]) for name, tensor in weights["off"].items())
    assert len(fake("log")) == 1 and capfd.readouterr().err.count("warning: tracking: ") == 1


def histories(folder):
    """(step, names) of every line of metrics in a .wandb file: records in blocks of 32 KiB, as LevelDB's log has them."""
    (path,) = folder.glob("*.wandb")
    data, at, payload, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        payload += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            line = Record.FromString(payload).history
            names = {item.key or "/".join(item.nested_key) for item in line.item}
            found += [(line.step.num, {name for name in names if not name.startswith("_")})] if names else []
            payload = b""
    return found


def test_wandb_itself_offline_resumed_and_without_a_keyboard(run, tmp_path, monkeypatch):
    """The real one: asked to go online without credentials and without standard input, then resumed with one more step."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    done = record(run, "--mode", "online", preexec_fn=lambda: os.close(0))
    assert done.returncode == 0 and "No API key configured" in done.stderr and "recorded offline" in done.stderr
    first = json.loads((run / "tracking.json").read_text())
    assert histories(run / first["folder"]) == [(10, {"loss"}), (20, {"loss", "val_cross"})]
    with Tracking("auto").following(run), (run / "metrics.jsonl").open("a") as log:
        print(json.dumps({"step": 30, "loss": 2.5}), file=log)
    second = json.loads((run / "tracking.json").read_text())
    assert second["id"] == first["id"] and second["mode"] == "offline" and second["folder"] != first["folder"]
    assert [path.name for path in (run / "wandb").iterdir()] == [second["folder"].removeprefix("wandb/")]
    assert histories(run / second["folder"])[-1] == (30, {"loss"}) and len(histories(run / second["folder"])) == 3
    runs = pd.DataFrame({"run": ["micro-0123abcd", "micro-untracked"], "seed": ["1", "1"]})
    assert recordings(runs, tmp_path) == [f"micro-0123abcd seed 1: {run}/{second['folder']}"]


@pytest.mark.parametrize(
    ("environment", "netrc", "settings", "tried_online"),
    [
        ({}, "machine elsewhere login user password " + 40 * "0", "", False),
        ({}, "machine 127.0.0.1:9 login user password " + 40 * "0", "", True),
        ({"WANDB_API_KEY": 40 * "0"}, "", "", True),
        ({"WANDB_API_KEY": 40 * "0", "WANDB_MODE": "offline"}, "", "", False),
        ({"WANDB_API_KEY": 40 * "0"}, "", "[default]\nmode = offline\n", False),
    ],
)
def test_auto_goes_online_where_wandb_itself_is_logged_in(run, tmp_path, environment, netrc, settings, tried_online):
    """With the real wandb and a server that is not there: whoever tries it warns, and records offline."""
    (tmp_path / ".netrc").write_text(netrc)
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text(settings)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_") and name != "NETRC"}
    wandb_says = {"HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT), **environment}
    done = record(run, "--mode", "auto", "--patience", "20", env={**kept, **wandb_says}, cwd=tmp_path)
    assert done.returncode == 0 and ("could not go online" in done.stderr) == tried_online, done.stderr
    assert json.loads((run / "tracking.json").read_text())["mode"] == "offline"
    assert histories(run / json.loads((run / "tracking.json").read_text())["folder"])
