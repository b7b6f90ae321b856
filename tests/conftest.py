import os
from pathlib import Path

os.environ.setdefault("WANDB_MODE", "disabled")

import pytest
import torch

from core import config
from core.data.micro import World, render_world
from core.experiment.experiment import load

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
BASELINE = "ablations/table_VI/image0-text6.gin"
SMALL_WORLD = [f"micro.World.{name}" for name in ("train = 96", "synth = 16", "more = 16", "val = 8", "test = 8")]

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def shared_or_skip(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"research-only data {name} is not beside this checkout")
    return path


@pytest.fixture
def golden() -> Path:
    return shared_or_skip("golden")


@pytest.fixture
def realdata() -> Path:
    return shared_or_skip("realdata")


def small_world() -> World:
    """The micro world cut down to a few images."""
    config.parse(ROOT / "ablations/micro/world.gin", bindings=[*SMALL_WORLD])
    return config.construct(World, "world.gin")


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
