"""How a workflow divides its machine, and the commands its jobs run as."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from ablations.machine import Machine, survey
from core.errors import ConfigError
from core.files import ROOT

ONE = {"gpus_per_run": 1, "gpu_share": 1, "threads": None}
ROW = "image0-text6"


@pytest.fixture
def gpus(monkeypatch):
    """Says how many GPUs there are."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lambda count: monkeypatch.setenv("CLIP4STR_GPUS", ",".join(f"GPU-{number}" for number in range(count)))


@pytest.mark.parametrize(
    ("count", "cores", "settings", "machine"),
    [
        (0, 8, {}, Machine(None, 1)),  # eight jobs of one thread
        (0, 8, {"threads": 4}, Machine(None, 4)),
        (0, 8, {"gpus_per_run": 2}, Machine(None, 2)),  # four jobs of two processes
        (2, 8, {}, Machine(2, 4)),
        (2, 8, {"gpu_share": 2}, Machine(4, 2)),
        (8, 64, {"gpus_per_run": 8}, Machine(8, 64)),
        (8, 64, {"gpus_per_run": 4}, Machine(8, 32)),
        (8, 64, {"gpus_per_run": 4, "gpu_share": 2}, Machine(16, 16)),
        (8, 4, {}, Machine(8, 1)),  # fewer cores than devices: four jobs
        (2, 8, {"threads": 1}, Machine(2, 1)),
    ],
)
def test_jobs_add_up_to_the_machine(gpus, count, cores, settings, machine):
    gpus(count)
    found = survey({**ONE, **settings}, cores, scheduled=False)
    assert found == machine
    if count and "threads" not in settings and cores >= count:
        assert found.threads * (found.slots // {**ONE, **settings}["gpus_per_run"]) == cores


def test_an_outer_list_counts_and_a_scheduler_is_left_alone(gpus, monkeypatch):
    gpus(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert survey(ONE, 8, scheduled=False) == Machine(2, 4)
    assert survey({**ONE, "gpus_per_run": 16}, 8, scheduled=True) == Machine(None, 16)


def test_jobs_share_the_gpus_that_are_given(gpus):
    gpus(8)
    assert survey(ONE, 64, scheduled=False, given=4) == Machine(4, 16)
    for scheduled in (False, True):
        with pytest.raises(ConfigError, match="--resources gpu=4 is less than gpus_per_run: 8; give at least as many"):
            survey({**ONE, "gpus_per_run": 8}, 64, scheduled, given=4)


def test_more_gpus_than_there_are_is_refused(gpus, monkeypatch):
    gpus(8)
    said = r"workflow.yaml: gpus_per_run: 16, but .* lets us use 8 GPUs \(GPU-0, .*not set\): say --config gpus_per_run=8"
    with pytest.raises(ConfigError, match=said):
        survey({**ONE, "gpus_per_run": 16}, 8, scheduled=False)
    monkeypatch.setenv("CLIP4STR_GPUS", "MIG-1,MIG-2")
    with pytest.raises(ConfigError, match="gpus_per_run: 2, but a process sees one MIG instance only"):
        survey({**ONE, "gpus_per_run": 2}, 8, scheduled=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-3")
    with pytest.raises(ConfigError, match="no device is called MIG-3"):
        survey(ONE, 8, scheduled=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A checkout with one row."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in ("core", "ablations", "adapters", "reports"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    for other in folder.glob("ablations/*/table.yaml"):
        if other.parent.name != "table_VI":
            shutil.rmtree(other.parent)
    table = folder / "ablations" / "table_VI"
    for row in table.glob("*.gin"):
        if row.stem != ROW:
            row.unlink()
    layout = yaml.safe_load((table / "table.yaml").read_text())
    (table / "table.yaml").write_text(yaml.safe_dump({**layout, "order": [ROW]}))
    return folder


def snakemake(folder, *arguments):
    environment = {**os.environ, "CLIP4STR_GPUS": "GPU-a,GPU-b"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_every_gpu_job_of_the_workflow_is_leased(copy):
    status, output = snakemake(copy, "-n", "-p", "-c8", "table_VI", "figure_1", "figure_2")
    assert status == 0, output
    commands = re.findall(r"^Shell command: (.*)$", output, re.MULTILINE)
    leased = [
        line for line in commands if line.startswith("python -m core.runtime.lease --gpus 1 --share 1 -- python -m core.")
    ]
    together = "-- python -m core.runtime.launch --processes 1 -- -m core"
    assert sum(f"{together}.train" in line and "--threads 4 " in line for line in leased) == 3  # seeds
    assert sum(f"{together}.evaluate" in line for line in leased) == 3
    assert (
        sum("core.figures.zero_shot" in line for line in leased)
        == sum("core.figures.attention" in line for line in leased)
        == 1
    )
    rest = [line for line in commands if line not in leased]
    assert not [line for line in rest if re.search(r"core\.(?!data\.micro)", line)], rest


@pytest.mark.parametrize("action", ["--unlock", "--summary"])
def test_what_runs_no_job_needs_no_number_of_cores(copy, action):
    status, output = snakemake(copy, "table_VI", action)
    assert status == 0, output


@pytest.mark.parametrize(("arguments", "count"), [((), 2), (("--config", "gpu_share=2", "--resources", "gpu=1"), 1)])
def test_the_workflow_counts_the_gpus_it_finds(copy, arguments, count):
    """`--touch` makes nothing, and Snakemake says what it would share out."""
    _, output = snakemake(copy, "--touch", "-c8", "table_VI", *arguments)
    assert re.search(rf"^Provided resources: gpu=\D*{count}\b", output, re.MULTILINE), output


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "gpus_per_run=16",
            "gpus_per_run: 16, but this machine lets us use 2 GPUs (GPU-a, GPU-b;",
        ),
        ("gpu_share=0", "0 is less than the minimum of 1"),
    ],
)
def test_what_the_machine_cannot_do_is_said_before_anything_starts(copy, setting, said):
    status, output = snakemake(copy, "-n", "-c8", "table_VI", "--config", setting)
    assert status != 0 and said in output and setting.split("=")[0] in output
