import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from core.data.benchmarks import FAMILIES
from core.errors import TrainingError, UserError
from core.evaluate.run import OUTPUTS, evaluate
from core.experiment.experiment import load
from core.train import loop
from core.train.loop import Run
from core.train.run import train
from core.train.state import Interrupted
from core.weights.checkpoint import load_model, save_model
from tests.support.checkout import BASELINE, ROOT

RANDOM = {  # everything a training draws at random is on
    "DROPOUT": 0.1,
    "PERMUTATIONS": 6,
    "AUGMENT_OPS": 3,
    "augment.RandAugment.magnitude": 5,
}
BINDINGS = [f"{name} = {value}" for name, value in RANDOM.items()]


def command(world, out, *extra):
    return [
        *(sys.executable, "-m", "core.train", BASELINE, "--scale", "smoke", "--threads", "1"),
        *("--data", str(world), "--out", str(out), *(word for line in BINDINGS for word in ("--set", line)), *extra),
    ]


def run(world, out, *extra, **options):
    return subprocess.run(command(world, out, *extra), capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def trained(world_folder, tmp_path_factory):
    """A finished smoke run and its model."""
    out = tmp_path_factory.mktemp("run") / "seed0"
    done = run(world_folder, out)
    assert done.returncode == 0, done.stderr
    return out


def test_a_run_leaves_what_the_design_says(trained):
    assert {path.name for path in trained.iterdir()} == {
        *("model.safetensors", "model.json", "metrics.jsonl", "operative.gin", "provenance.json")
    }
    steps = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1]["val_n"] == 8 and {"val_visual", "val_cross"} <= steps[-1].keys()
    assert any({"loss", "loss_visual", "loss_cross", "lr", "images_per_s", "grad_norm"} <= step.keys() for step in steps)
    record = json.loads((trained / "provenance.json").read_text())
    assert record["train"]["images"] == 96 and record["finished"] and record["packages"]["torch"]
    assert load(trained / "operative.gin", "smoke").digest == load(BASELINE, "smoke", BINDINGS).digest


def test_the_time_of_steps_is_theirs_alone(world_folder, tmp_path, monkeypatch):
    """Saving and validating between two lines of the log take nothing from their images or seconds, and add none."""
    pause, least = 0.5, 0.2
    backward, save_state = loop.backward, loop.save_state
    monkeypatch.setattr(loop, "save_state", lambda *arguments: time.sleep(pause) or save_state(*arguments))
    monkeypatch.setattr(loop, "validate", lambda *arguments: time.sleep(pause))
    monkeypatch.setattr(loop, "backward", lambda *arguments: time.sleep(least) or backward(*arguments))
    bindings = ["TRAIN_STEPS = 6", "optim.Optimisation.validate_every = 1"]
    began = time.perf_counter()
    train(load(BASELINE, "smoke", bindings), world_folder, tmp_path, seed=0, log_every=3)
    took = time.perf_counter() - began
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6] and sum(line["seconds"] for line in lines) < took - 2 * 6 * pause
    assert all(line["seconds"] > 3 * least for line in lines)
    images = load(BASELINE, "smoke").experiment.optimisation.batch
    assert all(line["images_per_s"] * line["seconds"] == pytest.approx(3 * images) for line in lines)


def test_killed_runs_end_in_the_same_weights(world_folder, tmp_path):
    """SIGKILL once a state is saved, then the same command again (CPU, float32): bit for bit."""
    out, whole, steps = tmp_path / "seed0", tmp_path / "whole", "TRAIN_STEPS = 24"  # most are left once a state is there
    train(load(BASELINE, "smoke", [*BINDINGS, steps]), world_folder, whole, 0)
    process = subprocess.Popen(command(world_folder, out, "--set", steps), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    while not list((out / "state").glob("step-*[0-9]")):
        assert process.poll() is None and time.monotonic() < deadline, "no state was saved"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
    again = run(world_folder, out, "--set", steps)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stdout
    expected, found = load_file(whole / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    logged = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert logged == sorted(logged)


def test_an_interrupted_run_saves_its_state_and_says_so(world_folder, tmp_path):
    out = tmp_path / "seed0"
    long = ("--set", "TRAIN_STEPS = 5000")
    process = subprocess.Popen(command(world_folder, out, *long), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 400
    while not (out / "state").is_dir():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=400)
    assert process.returncode == 128 + signal.SIGTERM
    assert "with its state saved; the same command resumes from there" in stderr
    other = run(world_folder, out)
    assert other.returncode == 1 and "was saved with training" in other.stderr and "delete" in other.stderr


def test_a_full_disk_fails_cleanly(world_folder, tmp_path):
    """No file may grow past 1 MB: the run fails, names the file, and leaves nothing half-written under its name."""

    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = run(world_folder, tmp_path / "seed0", preexec_fn=small_files)
    assert done.returncode == 1
    assert "error: " in done.stderr and str(tmp_path / "seed0") in done.stderr
    assert not (tmp_path / "seed0" / "model.safetensors").exists()
    assert not list((tmp_path / "seed0").glob("state/step-*[0-9]"))


def test_missing_data_root(tmp_path):
    done = run(tmp_path / "nowhere", tmp_path / "out")
    assert done.returncode == 1 and "nowhere does not exist" in done.stderr
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty", tmp_path / "out")
    assert done.returncode == 1 and "train/real is missing" in done.stderr


def test_seeds_differ_and_repeat(world_folder, tmp_path):
    weights = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(load(BASELINE, "smoke", ["TRAIN_STEPS = 2"]), world_folder, tmp_path / name, seed)
        weights[name] = load_file(tmp_path / name / "model.safetensors")["visual_decoder.head.weight"]
    assert torch.equal(weights["a"], weights["b"]) and not torch.equal(weights["a"], weights["c"])


def test_other_training_words_are_another_training(world_folder, tmp_path, monkeypatch):
    """Neither a finished run nor a saved state is taken for one on other words, whichever of its sets has changed."""
    for name in ("train", "val"):
        shutil.copytree(world_folder / name, tmp_path / "data" / name)
    real, more = (tmp_path / "data" / "train" / name for name in ("real", "more"))
    row = load(BASELINE, "smoke", ["TRAIN_DATA = ('real', 'more')"])
    train(row, tmp_path / "data", tmp_path / "whole", 0)
    stopped = Run.step

    def step(run, number, *arguments):
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return stopped(run, number, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Run, "step", step)
        train(row, tmp_path / "data", tmp_path / "stopped", 0)
    shutil.rmtree(more)
    shutil.copytree(real, more)
    with pytest.raises(TrainingError, match="holds a model trained from something else"):
        train(row, tmp_path / "data", tmp_path / "whole", 0)
    with pytest.raises(UserError, match="was saved with data_fingerprint"):
        train(row, tmp_path / "data", tmp_path / "stopped", 0)


def test_a_finished_run_is_left_alone_and_another_is_refused(trained, world_folder):
    before = (trained / "model.safetensors").stat().st_mtime_ns
    again = run(world_folder, trained)
    assert again.returncode == 0 and "is trained already" in again.stdout
    other = run(world_folder, trained, "--seed", "1")
    assert other.returncode == 1 and "holds a model trained from something else" in other.stderr
    assert (trained / "model.safetensors").stat().st_mtime_ns == before


def test_other_weights_are_another_run(tmp_path):
    (tmp_path / "clip.json").write_text((ROOT / "ablations/micro/clip.json").read_text())
    binding = [f"ARCH = '{tmp_path}/clip.json'"]
    first = load(BASELINE, "smoke", binding).digest
    assert load(BASELINE, "smoke", binding).digest == first
    with (tmp_path / "clip.json").open("a") as file:
        file.write("\n")
    assert load(BASELINE, "smoke", binding).digest != first


@pytest.mark.parametrize("content", [b"hello", b"", b"PK\x03\x04 cut"])
def test_damaged_weights_and_models_are_one_clear_error(tmp_path, content):
    for name in ("weights.pt", "weights.safetensors", "model.ckpt"):
        (tmp_path / name).write_bytes(content)
    for name in ("weights.pt", "weights.safetensors"):
        model = load(BASELINE, "smoke", [f"WEIGHTS = '{tmp_path}/{name}'"]).experiment.model(load_weights=False)
        with pytest.raises(ValueError, match=f"{name} cannot be read as weights, it is damaged or of another kind"):
            model.towers.load_pretrained()
    with pytest.raises(ValueError, match="model.ckpt is not a checkpoint that can be read safely"):
        load_model(tmp_path / "model.ckpt")


def test_weights_of_another_architecture_name_the_tensor(tmp_path):
    config = json.loads((ROOT / "ablations/micro/clip.json").read_text())
    config["vision_cfg"]["width"] = 64
    (tmp_path / "clip.json").write_text(json.dumps(config))
    model = load(BASELINE, "smoke", [f"ARCH = '{tmp_path}/clip.json'"]).experiment.model(load_weights=False)
    with pytest.raises(ValueError, match=r"clip.safetensors does not fit .*visual\..*\(64.*\(128"):
        model.towers.load_pretrained()


def test_saved_models_load_exactly(trained, tmp_path):
    model = load_model(trained)
    description = json.loads((trained / "model.json").read_text())
    save_model(model, description["gin"], description["identity"], tmp_path)
    again = load_model(tmp_path / "model.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_models_that_do_not_fit_are_refused(trained, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"model.json, which says how to build the model, is not beside it"):
        load_model(tmp_path)
    text = json.loads((trained / "model.json").read_text())["gin"]
    assert "clip4str.CLIP4STR.max_letters = 25" in text
    other = text.replace("max_letters = 25", "max_letters = 20")
    (tmp_path / "model.json").write_text(json.dumps({"gin": other}))
    with pytest.raises(ValueError, match=r"of another architecture: cross_decoder.position_queries: .*\(21, 96\).*\(26, 96\)"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"gin": text}))
    (tmp_path / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing.pt"):
        load_model(tmp_path / "nothing.pt")


def test_a_malicious_pickle_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="evil.ckpt is not a checkpoint that can be read safely"):
        load_model(tmp_path / "evil.ckpt")


def test_evaluation_keeps_all_four_outputs(trained, world_folder, tmp_path, smoke):
    out = tmp_path / "evaluation"
    result = evaluate(load_model(trained), world_folder, {out: smoke.protocol})[out]
    rows = pd.read_parquet(tmp_path / "evaluation" / "predictions.parquet")
    assert list(rows.columns) == ["benchmark", "lmdb", "index", "label", "length", *OUTPUTS, "confidence"]
    assert len(rows) == len(FAMILIES) * 8 and rows.confidence.between(0, 1).all()
    for name, metrics in result["benchmarks"].items():
        here = rows[rows.benchmark == name]
        assert metrics["n"] == metrics["stored"] == len(here) == 8
        assert metrics["cross"]["correct"] == (here.cross.str.lower() == here.label.str.lower()).sum()


def test_one_missing_benchmark_does_not_stop_the_others(trained, world_folder, tmp_path, smoke, capsys):
    data = tmp_path / "data"
    (data / "test" / "broken").mkdir(parents=True)
    (data / "test" / "broken" / "data.mdb").write_bytes(b"\0" * 64)
    (data / "test" / "regular").symlink_to(world_folder / "test" / "regular")
    out = tmp_path / "evaluation"
    result = evaluate(load_model(trained), data, {out: smoke.protocol})[out]
    assert "cannot be opened" in result["benchmarks"]["broken"]["error"]
    assert result["benchmarks"]["regular"]["n"] == 8 and "broken: left out" in capsys.readouterr().out


def test_reading_image_files(trained, tmp_path):
    Image.new("RGB", (80, 30), "white").save(tmp_path / "word.png")
    (tmp_path / "text.png").write_text("no image")
    files = [str(tmp_path / name) for name in ("word.png", "text.png", "gone.png")]
    done = subprocess.run([sys.executable, "-m", "core.read", str(trained), *files, "--json"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "text.png: not an image" in done.stderr and "gone.png: no such file" in done.stderr
    (line,) = done.stdout.splitlines()
    reading = json.loads(line)
    assert {"image", "text", "confidence", "visual", "cross"} <= reading.keys() and 0 <= reading["confidence"] <= 1
