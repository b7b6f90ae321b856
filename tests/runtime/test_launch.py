"""Several processes for one run: how they are started, found, stopped."""

import json
import signal
import subprocess
import sys
import time

import pytest
from torch.distributed import run

from core.runtime.launch import main, rendezvous
from tests.support.checkout import BASELINE

JOB = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_NODELIST": "gpu[03-05]", "SLURM_NODEID": "1"}
STEP = {**JOB, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "3", "SLURM_STEP_NUM_TASKS": "3"}


def hosts(nodes):
    assert nodes == "gpu[03-05]"
    return ["gpu03", "gpu04", "gpu05"]


def test_one_machine_needs_no_address():
    assert rendezvous(8, {}) == ["--standalone", "--nproc-per-node=8"]
    assert rendezvous(8, {"SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_ID": "1"})[0] == "--standalone"
    assert rendezvous(8, {**STEP, "SLURM_STEP_NUM_NODES": "1"})[0] == "--standalone"  # a small step of a large job


def test_the_nodes_of_a_slurm_step_meet_at_the_first():
    arguments = rendezvous(8, STEP, hosts)
    told = run.parse_args([*arguments, "-m", "core.train", "row.gin"])
    assert (told.nnodes, told.node_rank, told.nproc_per_node) == ("3", 1, "8")
    assert (told.master_addr, told.rdzv_backend) == ("gpu03", "static")
    assert told.module and told.training_script == "core.train" and told.training_script_args == ["row.gin"]
    port = told.master_port
    assert 20_000 <= port < 40_000
    others = [{**STEP, "SLURM_NODEID": "2"}, {**STEP, "SLURM_STEP_ID": "1"}, {**STEP, "SLURM_JOB_ID": "4712"}]
    ports = [run.parse_args([*rendezvous(8, other, hosts), "-m", "x"]).master_port for other in others]
    assert ports[0] == port and port not in ports[1:]  # the same on all nodes, another for other steps and jobs


@pytest.mark.parametrize("environment", [JOB, {**STEP, "SLURM_STEP_NUM_TASKS": "1"}, {**STEP, "SLURM_STEP_NUM_TASKS": "24"}])
def test_a_job_started_on_one_of_its_nodes_would_wait_for_ever(environment):
    with pytest.raises(
        ValueError, match="3 nodes, and core.runtime.launch has to run once on each .*srun --nodes=3 --ntasks=3"
    ):
        rendezvous(8, environment, hosts)


def test_no_scontrol(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=r"scontrol show hostnames gpu\[03-05\] failed"):
        rendezvous(8, STEP)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes", "2"], "command '': expected -m core.train"),
        (["--processes", "2", "--", "python", "x.py"], "command 'python x.py'"),
    ],
)
def test_wrong_commands_say_what_is_expected(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1 and message in capsys.readouterr().err


def test_more_processes_than_gpus(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with pytest.raises(SystemExit):
        main(["--processes", "3", "-m", "core.train"])
    assert "--processes 3: only 2 GPUs are here (CUDA_VISIBLE_DEVICES: 4,7)" in capsys.readouterr().err


def test_sigterm_reaches_every_process_and_the_run_can_go_on(world_folder, tmp_path):
    out, log = tmp_path / "run", tmp_path / "log"
    arguments = [BASELINE, "--scale", "smoke", "--data", str(world_folder), "--out", str(out), "--tracking", "off"]
    arguments += ["--threads", "2", "--set", "TRAIN_STEPS = 5000", "--set", "EPOCHS = None"]
    with log.open("w") as file:
        launched = subprocess.Popen(
            [sys.executable, "-m", "core.runtime.launch", "--processes", "2", "-m", "core.train", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + 400
    while not list(out.glob("state/step-*[0-9]")):
        assert launched.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    launched.send_signal(signal.SIGTERM)
    assert launched.wait(400) == 128 + signal.SIGTERM, log.read_text()
    assert "with its state saved; the same command resumes from there" in log.read_text()
    (state,) = (out / "state").iterdir()
    assert int(state.name.removeprefix("step-")) >= 2
    assert json.loads((out / "provenance.json").read_text())["processes"] == 2
