"""What a machine cannot do is said in one line: a GPU that torch cannot use, too little memory."""

import json
import subprocess
import sys

import pytest
import torch

from core.errors import DeviceError, TrainingError
from core.experiment.experiment import load
from core.run_files import OUT_OF_MEMORY
from core.runtime import compute
from core.runtime.compute import pick_device
from core.train.__main__ import main
from core.train.loop import Run
from core.train.out_of_memory import out_of_memory_error
from tests.support.checkout import BASELINE


@pytest.fixture
def unusable(monkeypatch):
    """A GPU that nvidia-smi lists and torch cannot use."""
    monkeypatch.setenv("CLIP4STR_GPUS", "GPU-0a")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(compute, "driver_version", lambda: "470.57.02")


def test_float32_is_float32_in_convolutions_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert compute.pick_device() == "cuda" and not torch.backends.cudnn.allow_tf32


def test_a_gpu_that_torch_cannot_use_is_an_error(unusable, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(DeviceError) as error:
        pick_device()
    message = str(error.value)
    assert f"torch {torch.__version__}, made for CUDA 13.0, cannot use the GPU GPU-0a (driver 470.57.02)" in message
    assert "to compute on the CPU, set CUDA_VISIBLE_DEVICES= (empty)" in message
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(DeviceError, match="made for the CPU alone"):
        pick_device()


def test_the_cpu_is_used_where_it_is_asked_for(unusable, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pick_device() == "cpu"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("CLIP4STR_GPUS", "")
    assert pick_device() == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use a GPU here")
def test_a_training_does_not_begin_on_the_cpu_instead(world_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP4STR_GPUS", "GPU-0a")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    command = [sys.executable, "-m", "core.train", BASELINE, "--scale", "smoke", "--data", str(world_folder)]
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "run").exists()
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: torch ") and "cannot use the GPU GPU-0a (driver unknown)" in line


@pytest.fixture
def exhausted(monkeypatch):
    """A device without memory for the first step; counts how often that was met."""
    met = []

    def step(run, *_):
        met.append(run)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has ...")

    monkeypatch.setattr(Run, "step", step)
    return met


def train_smoke(world_folder, out, *options):
    main([BASELINE, "--scale", "smoke", "--data", str(world_folder), "--out", str(out), *options])


def test_out_of_memory_is_one_line_and_not_tried_again(world_folder, tmp_path, exhausted, capfd):
    for attempt, times in ((1, 1), (2, 1), (1, 2)):  # a new command tries again, a retry of the workflow does not
        with pytest.raises(SystemExit) as stop:
            train_smoke(world_folder, tmp_path, "--attempt", str(attempt))
        assert stop.value.code == 1 and len(exhausted) == times
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert "has too little memory for 4 images at once: lower DEVICE_BATCH = 4 to 2 (the batch of 8 then" in line
        assert ("not tried again" in line) == (attempt == 2)
    with pytest.raises(SystemExit):
        train_smoke(world_folder, tmp_path, "--attempt", "2", "--set", "DEVICE_BATCH = 2")
    assert len(exhausted) == 3  # another DEVICE_BATCH is another try
    assert "lower DEVICE_BATCH = 2 to 1" in capfd.readouterr().err


def test_a_training_that_fits_leaves_no_mark(tmp_path):
    optimisation = load(BASELINE, "smoke").experiment.optimisation
    (tmp_path / OUT_OF_MEMORY).write_text(json.dumps({"images": 4, "reason": "too large"}))
    with out_of_memory_error(optimisation, 1, tmp_path, attempt=1):
        pass
    assert not (tmp_path / OUT_OF_MEMORY).exists()
    with pytest.raises(RuntimeError, match="something else"), out_of_memory_error(optimisation, 1, tmp_path, attempt=1):
        raise RuntimeError("something else")
    with pytest.raises(TrainingError, match="too little memory"), out_of_memory_error(optimisation, 1, tmp_path, attempt=1):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
