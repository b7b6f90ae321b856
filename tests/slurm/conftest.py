"""Tests on a Slurm cluster of their own take minutes and need Slurm: they run by `make test-slurm` (pytest -m slurm) alone."""

import pytest

from tests.slurm import cluster as clusters
from tests.workflow.test_workflow import copy as checkout  # noqa: F401  a checkout with a small Table VI


def pytest_configure(config):
    config.addinivalue_line("markers", "slurm: starts a Slurm cluster on this machine (make test-slurm)")


def pytest_collection_modifyitems(config, items):
    if "slurm" not in config.getoption("markexpr"):
        for item in items:
            if item.get_closest_marker("slurm"):
                item.add_marker(pytest.mark.skip(reason="starts a Slurm cluster: make test-slurm"))


@pytest.fixture
def installed():
    """Who asks for these tests without Slurm fails, and is told what to install."""
    if reason := clusters.missing():
        pytest.fail(reason, pytrace=False)


@pytest.fixture
def cluster(installed):
    """One node with four pretended processors and two pretended GPUs."""
    with clusters.running(grace=60) as cluster:  # seconds to save a state, on a busy machine
        yield cluster
