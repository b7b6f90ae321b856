import os
from pathlib import Path

os.environ.setdefault("WANDB_MODE", "disabled")

import pytest
import torch

from core.data.micro import render_world
from core.experiment.experiment import load
from tests.support.checkout import BASELINE, ROOT, shared_or_skip, small_world
from tests.support.golden import unpack

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def golden(tmp_path_factory) -> Path:
    """A folder with a toy `released.ckpt` and what the released code computes from it, `expected.npz`."""
    return unpack(tmp_path_factory.mktemp("golden"))


@pytest.fixture
def realdata() -> Path:
    return shared_or_skip("realdata")


@pytest.fixture(scope="session")
def world_folder(tmp_path_factory) -> Path:
    """A rendered world of a few images, in the layout of the real one."""
    folder = tmp_path_factory.mktemp("world")
    render_world(small_world(), folder, workers=2)
    return folder


@pytest.fixture
def smoke():
    """The baseline row at smoke scale, its model unloaded."""
    return load(BASELINE, "smoke")


@pytest.fixture
def model(smoke):
    """A micro model with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return smoke.experiment.model(load_weights=False).eval()
