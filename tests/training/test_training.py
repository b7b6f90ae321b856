import json
import math
import resource
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from core.evaluate.run import OUTPUTS, evaluate
from core.experiment.experiment import load
from core.experiment.optim import one_cycle
from core.train.run import train
from core.weights.checkpoint import load_model, save_model
from tests.support.checkout import BASELINE, ROOT

RANDOM = {  # everything a training draws at random is on
    "DROPOUT": 0.1,
    "PERMUTATIONS": 6,
    "augment.RandAugment.num_ops": 3,
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


def test_killed_runs_end_in_the_same_weights(trained, world_folder, tmp_path):
    """SIGKILL once a state is saved, then the same command again (CPU, float32): bit for bit."""
    out = tmp_path / "seed0"
    process = subprocess.Popen(command(world_folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    while not list((out / "state").glob("step-*[0-9]")):
        assert process.poll() is None and time.monotonic() < deadline, "no state was saved"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
    again = run(world_folder, out)
    assert again.returncode == 0, again.stderr
    assert "going on from step" in again.stdout
    expected, found = load_file(trained / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


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
    assert list(rows.columns) == ["benchmark", "index", "label", "length", *OUTPUTS, "confidence"]
    assert len(rows) == 6 * 8 and rows.confidence.between(0, 1).all()
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


def test_optimiser_groups_and_schedule(smoke, model):
    optimisation = load(BASELINE, "paper").experiment.optimisation
    assert optimisation.lr == pytest.approx(8.4e-5 * 2)
    assert optimisation.total_steps(3_300_000) == 16 * (3_300_000 // 1024)
    groups = {group["name"]: group for group in optimisation.groups(model)}
    assert groups["scratch, decayed"]["peak_lr"] == pytest.approx(19 * optimisation.lr)
    assert groups["towers, not decayed"]["weight_decay"] == 0 and groups["towers, decayed"]["weight_decay"] == 0.2
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    undecayed = {names[id(p)] for key in groups if "not decayed" in key for p in groups[key]["params"]}
    assert {
        "visual_decoder.position_queries",
        "cross_decoder.context_embedding.weight",
        "cross_decoder.norm.weight",
    } <= undecayed
    assert "visual_decoder.head.weight" not in undecayed and "visual_decoder.head.bias" in undecayed
    listed = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("steps", "warmup"), [(400, 0.075), (750, 0.075), (6, 0.075), (100, 0.3), (2, 0.9), (1, 0.075)])
def test_the_schedule_is_torchs_one_cycle(steps, warmup):
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, steps, pct_start=warmup, cycle_momentum=False)
    for step in range(steps):
        assert one_cycle(step, steps, warmup) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-12)
        optimiser.step()
        if step + 1 < steps:
            theirs.step()


def test_the_schedule_by_hand():
    """From LR / 25 over 7.5 % of 400 steps to LR, down to LR / 250,000."""
    found = [one_cycle(step, 400, 0.075) for step in (0, 14, 29, 214, 399)]
    middle = 4e-6 + (1 - 4e-6) / 2  # half way between steps 29 and 399
    rising = 0.04 + 0.96 * (1 - math.cos(math.pi * 14 / 29)) / 2
    assert found == pytest.approx([1 / 25, rising, 1.0, middle, 4e-6], abs=1e-12)


def test_parseqs_recipe():
    """Batch 768 at 7e-4 x sqrt(2) x 384 / 256, AdamW as torch has it by default, weights averaged from 75 % on."""
    loaded = load("ablations/table_V/base-psm.gin", "paper")
    optimisation, model = loaded.experiment.optimisation, loaded.blueprint
    assert (optimisation.batch, optimisation.epochs, optimisation.betas, optimisation.eps) == (768, 20, (0.9, 0.999), 1e-8)
    peak = 7e-4 * 2**0.5 * 384 / 256
    assert {round(group["peak_lr"], 7) for group in optimisation.groups(model)} == {round(peak, 7)}
    assert {group["weight_decay"] for group in optimisation.groups(model)} == {0.0}
    assert loaded.experiment.normalisation == loaded.protocol.normalisation == "half"
    assert model.visual_decoder.num_heads == 12 and model.visual_decoder.embed_dim == 384
    assert optimisation.averaging.steps(2000) == [1500, 1600, 1700, 1800, 1900]
    optimiser = torch.optim.AdamW([{"params": [torch.nn.Parameter(torch.zeros(1))], "peak_lr": peak}])
    rates = [optimisation.set_lr(optimiser, step, 2000) for step in (0, 149, 1499, 1500, 1999)]
    held = peak * one_cycle(1500, 2000, 0.075)
    assert rates == pytest.approx([peak / 25, peak, peak * one_cycle(1499, 2000, 0.075), held, held], rel=1e-4)


def test_ladder_side_tunings_rates():
    """As released for r = 4: 8e-4 x sqrt(4) x 256 / 256 for the ladder, 19 times that for the decoder, 20 epochs."""
    assert rates_of("ablations/table_VIII/lst-r4.gin") == {"adapter": {1.6e-3}, "visual_decoder": {3.04e-2}}
    assert load("ablations/table_VIII/lst-r4.gin", "paper").experiment.optimisation.epochs == 20
    scratch = rates_of("ablations/table_VIII/lst-r4.gin", "ADAPTER_RATE = 'scratch'")
    assert scratch == {"adapter": {3.04e-2}, "visual_decoder": {3.04e-2}}
    assert rates_of("ablations/table_VIII/clip-adapter.gin") == {"adapter": {3.192e-3}, "visual_decoder": {3.192e-3}}
    assert rates_of("ablations/table_VIII/lora.gin") == {"towers": {3.192e-3}, "visual_decoder": {3.192e-3}}
    gentle = rates_of("ablations/table_VIII/lora.gin", "ADAPTER_RATE = 'towers'")
    assert gentle == {"towers": {1.68e-4}, "visual_decoder": {3.192e-3}}


def rates_of(row, *bindings):
    """Peak learning rates at paper scale, by the part of the model."""
    loaded = load(row, "paper", bindings)
    names = {id(parameter): name for name, parameter in loaded.blueprint.named_parameters()}
    rates = {}
    for group in loaded.experiment.optimisation.groups(loaded.blueprint):
        for parameter in group["params"]:
            rates.setdefault(names[id(parameter)].split(".")[0], set()).add(round(group["peak_lr"], 9))
    return rates


@pytest.mark.parametrize(("devices", "passes"), [(1, 8), (8, 1), (2, 4), (16, 1)])
def test_the_batch_does_not_depend_on_devices(devices, passes):
    optimisation = load(BASELINE, "paper").experiment.optimisation
    assert optimisation.accumulation(devices) == passes
    assert devices * passes * optimisation.micro_batch(devices) == 1024


def test_an_uneven_batch_is_refused():
    with pytest.raises(ValueError, match="BATCH = 1024 is not a multiple of the 3 processes that share it"):
        load(BASELINE, "paper").experiment.optimisation.accumulation(3)
