"""Whole commands on a GPU: killed and gone on with, leased, out of memory, several processes, compiled."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from core.experiment.experiment import load
from core.train.__main__ import main
from core.train.run import train
from tests.support.checkout import BASELINE

ALIKE = ["DROPOUT = 0.0", "PERMUTATIONS = 6"]


def command(world, out, *bindings):
    settings = [word for line in bindings for word in ("--set", line)]
    return ["core.train", BASELINE, "--scale", "smoke", "--data", str(world), "--out", str(out), *settings]


def losses(out) -> list[float]:
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def trained(world, out, *bindings):
    AcceleratorState._reset_state(reset_partial_state=True)  # a process has one precision, unless it forgets it
    train(load(BASELINE, "smoke", [*ALIKE, *bindings]), world, out, 0, log_every=1)
    return losses(out), load_file(out / "model.safetensors")


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    different = [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    assert not different, different


def test_a_training_repeats_itself(world_folder, tmp_path, device):
    one, other = (trained(world_folder, tmp_path / name) for name in "ab")
    assert one[0] == other[0]
    assert_same_weights(one[1], other[1])


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_killed_run_ends_in_the_same_weights(world_folder, tmp_path, device, precision):
    if device.type == "cpu" and precision == "fp16":
        pytest.skip("fp16 trains on GPUs")
    settings = {"precision": repr(precision), "save_every": 5, "validate_every": 60}
    bindings = [*ALIKE, "TRAIN_STEPS = 60", *(f"optim.Optimisation.{name} = {value}" for name, value in settings.items())]
    ends = []
    for name in ("undisturbed", "killed"):
        words = [sys.executable, "-m", *command(world_folder, tmp_path / name, *bindings)]
        if name == "killed":
            run = subprocess.Popen(words)
            while not (tmp_path / name / "state").is_dir() and run.poll() is None:
                time.sleep(0.05)
            run.send_signal(signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL
        assert subprocess.run(words).returncode == 0
        ends.append(load_file(tmp_path / name / "model.safetensors"))
    assert_same_weights(*ends)


def test_two_jobs_that_lease_do_not_share_a_device(tmp_path, device):
    """Each notes which device it was given and when; without GPUs there is nothing to lease."""
    if device.type != "cuda":
        pytest.skip("there is no GPU to lease")
    note = (
        "import json, os, sys, time; began = time.time(); time.sleep(2); "
        "json.dump([os.environ['CUDA_VISIBLE_DEVICES'], began, time.time()], open(sys.argv[1], 'w'))"
    )
    lease = [sys.executable, "-m", "core.runtime.lease", "--gpus", "1", "--", sys.executable, "-c", note]
    environment = {**os.environ, "CLIP4STR_LEASES": str(tmp_path)}
    one_device = {**environment, "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
    jobs = [subprocess.Popen([*lease, str(tmp_path / name)], env=one_device) for name in "ab"]
    assert [job.wait(120) for job in jobs] == [0, 0]
    (first, _, end), (second, begin, _) = sorted((json.loads((tmp_path / n).read_text()) for n in "ab"), key=lambda x: x[1])
    assert first == second and begin >= end


def test_out_of_memory_is_one_line(world_folder, tmp_path, device, capfd):
    if device.type != "cuda":
        pytest.skip("only a GPU's memory can be cut down for a test")
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 8 * 2**20) / total)
    try:
        with pytest.raises(SystemExit) as stop:
            main(command(world_folder, tmp_path / "run", *ALIKE)[1:])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert stop.value.code == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "has too little memory for 4 images at once: lower DEVICE_BATCH = 4 to 2" in line


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_of_one_run_train_as_one(world_folder, tmp_path, device, processes):
    if device.type == "cuda" and torch.cuda.device_count() < processes:
        pytest.skip(f"{processes} GPUs are needed, {torch.cuda.device_count()} here")
    alone, _ = trained(world_folder, tmp_path / "alone")
    launch = [sys.executable, "-m", "core.runtime.launch", "--processes", str(processes), "--", "-m"]
    words = command(world_folder, tmp_path / "team", *ALIKE, "DEVICE_BATCH = 4")
    assert subprocess.run([*launch, *words, "--log-every", "1"]).returncode == 0
    assert losses(tmp_path / "team") == pytest.approx(alone, abs=1e-3)


def test_compiled_blocks_train_the_same(world_folder, tmp_path, device):
    plain, compiled = (
        trained(world_folder, tmp_path / str(on), f"optim.Optimisation.compile = {on}")[0] for on in (False, True)
    )
    assert compiled == pytest.approx(plain, abs=1e-3)


def test_a_recorded_image_tower_trains_the_same(world_folder, tmp_path, device, capsys):
    plain, recorded = (
        trained(world_folder, tmp_path / str(on), f"optim.Optimisation.graphs = {on}")[0] for on in (False, True)
    )
    assert recorded == pytest.approx(plain, abs=1e-3)
    assert ("changes nothing" in capsys.readouterr().out) == (device.type == "cpu")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near_float32(world_folder, tmp_path, device, precision):
    """Six steps at a small learning rate: the losses of half precision are those of float32 to one per cent."""
    if device.type == "cpu" and precision == "fp16":
        pytest.skip("fp16 trains on GPUs")
    whole, _ = trained(world_folder, tmp_path / "no")
    half, _ = trained(world_folder, tmp_path / precision, f"optim.Optimisation.precision = {precision!r}")
    assert half == pytest.approx(whole, rel=0.01)
