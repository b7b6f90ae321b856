"""How many other jobs of a workflow are at work is counted in a real tree of processes."""

import subprocess
import sys

import pytest

from core.bench.beside import is_workflow, jobs_beside
from tests.support.checkout import ROOT

WORKFLOW = """
import subprocess, sys
sleeper = "import sys; sys.stdin.readline()"
others = [subprocess.Popen([sys.executable, "-c", sleeper, *words.split()], stdin=subprocess.PIPE) for words in sys.argv[2:]]
measured = f"{sys.executable} -c 'from core.bench.beside import jobs_beside; print(jobs_beside())'; true"
subprocess.run(["bash", "-c", measured, *sys.argv[1].split()], check=True)
for other in others:
    other.communicate(b"\\n")
"""


@pytest.mark.parametrize(
    ("mode", "others", "expected"),
    [
        ("", [], "0"),
        ("", ["-m core.train row.gin", "-m snakemake --mode subprocess", "-m reports.tables"], "3"),
        ("", ["-m http.server", "less core.train"], "0"),  # no jobs of ours
        ("--mode remote", ["-m core.train row.gin"], "None"),
    ],
)
def test_jobs_beside_a_measurement_are_counted(tmp_path, mode, others, expected):
    """The measurement itself, a job in a shell with `-m core.bench` in its words, is not one of them."""
    script = tmp_path / "snakemake"
    script.write_text(WORKFLOW)
    command = [sys.executable, str(script), "-m core.bench read", *others, *mode.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == (expected, 0), done.stderr


def test_a_measurement_by_hand_knows_of_no_workflow():
    assert jobs_beside() is None


@pytest.mark.parametrize(
    ("command", "holds"),
    [
        ("python3.11 /a/bin/snakemake -j8", True),
        ("/usr/bin/python -m snakemake -s Snakefile", True),
        ("timeout 60 snakemake -j8", False),  # waits for it
        ("bash -c snakemake", False),
        ("python train.py snakemake.log", False),
        ("", False),
    ],
)
def test_the_workflow_is_told_from_what_started_it(command, holds):
    assert is_workflow(command.split()) == holds
