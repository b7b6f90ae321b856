"""What else the workflow did while something was measured."""

import re
from pathlib import Path

import psutil

JOB = re.compile(r"-m (snakemake|core|reports|ablations)\b")  # in a shell's command, or in that of a group of jobs


def jobs_beside() -> int | None:
    """Other jobs of the workflow that this process is a job of, at work on this machine now.

    Returns:
        None where no workflow started this process, or where one on another machine did, whose jobs nobody here can see.
    """
    above = psutil.Process().parents()
    workflow = next((process for process in reversed(above) if is_workflow(words_of(process))), None)
    if workflow is None or "remote" in words_of(workflow):  # snakemake --mode remote is one job, sent here by another one
        return None
    ours = {process.pid for process in above}
    others = (process for process in workflow.children() if process.pid not in ours)
    return sum(bool(JOB.search(" ".join(words_of(process)))) for process in others)


def is_workflow(words: list[str]) -> bool:
    """Whether a command is Python that runs Snakemake, as a script or with -m."""
    names = [Path(word).name for word in words[:3]]  # python snakemake, or python -m snakemake
    return "snakemake" in names[1:] and names[0].startswith("python")


def words_of(process: psutil.Process) -> list[str]:
    """A process's command; empty if it has ended, or is not for us to see."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
