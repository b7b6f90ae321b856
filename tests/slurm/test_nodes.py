"""One training on two nodes: core.runtime.launch meets itself through what Slurm says."""

import json
import subprocess
import sys

import pytest

from tests.slurm import cluster as clusters
from tests.support.checkout import BASELINE

pytestmark = pytest.mark.slurm


def test_one_run_on_two_nodes(installed, tmp_path, world_folder):
    out = tmp_path / "run" / "seed0"
    train = ["-m", "core.train", BASELINE, "--scale", "smoke", "--data", str(world_folder), "--out", str(out), "--threads", "1"]
    launch = [sys.executable, "-m", "core.runtime.launch", "--processes", "1", "--", *train]
    with clusters.running(nodes=2) as cluster:
        done = subprocess.run(
            ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--mem=1000", *launch],
            env=cluster.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "steps of 8 (2 devices x 4 x 1)" in done.stdout  # the batch of one process, 1 x 4 x 2, divided
    assert done.stdout.count("trainable parameters") == 1  # one process speaks
    logged = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert max(logged) == 6 and (out / "model.safetensors").is_file()
