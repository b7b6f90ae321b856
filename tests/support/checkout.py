"""This checkout: its places, its baseline row, a world small enough to render in a test."""

import json
from pathlib import Path

import pytest

from core import config
from core.data.micro import World

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
MICRO = json.loads((ROOT / "ablations/micro/clip.json").read_text())["vision_cfg"]
MICRO_SIZE = tuple(MICRO["image_size"])  # height, width of the micro towers' images
MICRO_GRID = tuple(side // patch for side, patch in zip(MICRO_SIZE, MICRO["patch_size"], strict=True))
BASELINE = "ablations/table_VI/image0-text6.gin"
SMALL_WORLD = [f"micro.World.{name}" for name in ("train = 96", "synth = 16", "more = 16", "val = 8", "test = 8")]


def shared_or_skip(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"research-only data {name} is not beside this checkout")
    return path


def small_world() -> World:
    """The micro world cut down to a few images."""
    config.parse(ROOT / "ablations/micro/world.gin", bindings=[*SMALL_WORLD])
    return config.construct(World, "world.gin")
