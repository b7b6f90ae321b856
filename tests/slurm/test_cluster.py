"""The cluster that the other tests run on: it hands out GPUs, and nothing of it is left."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.files import ROOT
from tests.slurm import cluster as clusters

pytestmark = pytest.mark.slurm

SHOW = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(3)"


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that run; one that ended and was not waited for does not."""
    states = subprocess.run(["ps", "-o", "pid=,stat=", "-p", ",".join(map(str, pids))], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in states.splitlines() if not line.split()[1].startswith("Z")]


def test_jobs_beside_each_other_get_different_gpus(cluster):
    command = ["srun", "--gpus=1", "--mem=100", sys.executable, "-c", SHOW]
    jobs = [subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(job.communicate(timeout=60)[0].strip() for job in jobs) == ["0", "1"]
    with pytest.raises(clusters.ClusterError, match="Requested node configuration is not available"):
        cluster.run("srun", "--gpus=3", "true")


@pytest.mark.parametrize("end", ["error", "terminated"])
def test_nothing_is_left(installed, tmp_path, end):
    """Neither after an error in the block nor after SIGTERM, with a job running that ignores SIGTERM."""
    stubborn = "trap '' TERM; echo $$ > pid; while true; do sleep 1; done"
    code = f"""
import time
from pathlib import Path
from tests.slurm.cluster import running
with running(grace=300) as cluster:
    cluster.run("sbatch", "--chdir", {str(tmp_path)!r}, "--wrap", {stubborn!r})
    while not Path({str(tmp_path / "pid")!r}).exists():
        time.sleep(0.2)
    print(cluster.folder, *(daemon.pid for daemon in cluster.daemons), flush=True)
    {"raise RuntimeError" if end == "error" else "time.sleep(600)"}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    folder, *daemons = process.stdout.readline().split()
    job = int((tmp_path / "pid").read_text())
    pids = [*map(int, daemons), job]
    if end == "terminated":
        assert alive(pids) == pids
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=90) != 0
    time.sleep(0.5)
    assert alive(pids) == [] and not Path(folder).exists()
