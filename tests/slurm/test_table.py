"""Table VI at smoke scale through Slurm, while its trainings are cancelled, requeued and run out of time."""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slurm

PROFILE = "ablations/profiles/slurm"
STEPS = 400
LIMIT_SECONDS = 1500
# What the profile leaves to the machine: this one has no accounting, few processors and somebody waiting.
HERE = (
    *("--cores", "2", "--latency-wait", "15"),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
)


@pytest.fixture
def long_runs(checkout):
    """The checkout with trainings long enough to be hit, which save no state unless they are asked to stop."""
    scale = checkout / "ablations/scale/smoke.gin"
    text = re.sub(r"TRAIN_STEPS = \d+", f"TRAIN_STEPS = {STEPS}", scale.read_text())
    scale.write_text(re.sub(r"(save_every|validate_every) = \d+", rf"\1 = {STEPS}", text))
    return checkout


@contextlib.contextmanager
def started(cluster, folder: Path, *arguments: str) -> Iterator[subprocess.Popen]:
    """Snakemake in the background with the shipped profile; killed if the block fails, its jobs are the cluster's to stop."""
    with (folder / "snakemake.out").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--workflow-profile", PROFILE, *arguments[:1], *HERE, *arguments[1:]],
            cwd=folder,
            env=cluster.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def jobs(cluster, state: str) -> dict[str, str]:
    """Slurm's jobs in a state: what the plugin put into the comment, and the id."""
    lines = cluster.run("squeue", "--noheader", f"--states={state}", "--format=%k|%i").splitlines()
    return dict(line.strip().rsplit("|", 1) for line in lines)


def steps(folder: Path, run: str) -> list[int]:
    """The steps a run has logged a loss for."""
    log = folder / "results/runs" / run / "seed0/metrics.jsonl"
    entries = map(json.loads, log.read_text().splitlines()) if log.is_file() else ()
    return [entry["step"] for entry in entries if "loss" in entry]


def interrupt_each(cluster, folder: Path, ways: dict[str, Callable[[str], object]], snakemake) -> dict[str, tuple[str, int]]:
    """Interrupt as many trainings as there are ways, each once it has trained a little; the run and its steps by way."""
    hit: dict[str, tuple[str, int]] = {}
    end = time.monotonic() + LIMIT_SECONDS
    while len(hit) < len(ways):
        assert snakemake.poll() is None and time.monotonic() < end, (folder / "snakemake.out").read_text()[-4000:]
        for comment, job in jobs(cluster, "RUNNING").items():
            run = comment.removeprefix("rule_train_wildcards_").removesuffix("_0")
            done = steps(folder, run)
            if run not in [other for other, _ in hit.values()] and done and done[-1] < STEPS // 2 and len(hit) < len(ways):
                way = list(ways)[len(hit)]
                ways[way](job)
                hit[way] = (run, done[-1])
        time.sleep(0.5)
    return hit


def test_a_table_whose_trainings_are_cancelled_requeued_and_out_of_time(cluster, long_runs):
    ways = {
        "cancelled": lambda job: cluster.run("scancel", job),
        "requeued": lambda job: cluster.run("scontrol", "requeue", job),
        "out of time": lambda job: cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=2"),
    }
    with started(cluster, long_runs, "table_VI", "--config", "scale=smoke") as snakemake:
        hit = interrupt_each(cluster, long_runs, ways, snakemake)
        status = snakemake.wait(LIMIT_SECONDS)
    output = (long_runs / "snakemake.out").read_text()
    assert status == 0, output[-6000:]

    for way, (run, done) in hit.items():
        log = (long_runs / f"results/logs/train-{run}-seed0.log").read_text()
        resumed = re.search(r"going on from step (\d+)", log)
        assert resumed and int(resumed[1]) >= done, f"{way}: {log}"
        logged = steps(long_runs, run)
        assert logged == sorted(set(logged)) and logged[-1] == STEPS, way  # every step once

    cells = pd.read_csv(long_runs / "results/tables/smoke/table_VI.csv")
    assert len(cells) == 3 * 6 and set(cells.n) == {12}
    completed = list(jobs(cluster, "COMPLETED"))
    assert sum("reading" in comment for comment in completed) == 1  # three evaluations, one job of Slurm
    assert "rule_drawing_table" in completed
    assert jobs(cluster, "CANCELLED") and not jobs(cluster, "RUNNING,PENDING")
