"""This checkout: its places, its baseline row, a world small enough to render in a test."""

import json
import re
import shutil
import subprocess
import sys
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

PARTS = ("core", "ablations", "adapters", "reports", "Snakefile")  # of the repository that a workflow needs


def copied_checkout(folder: Path, tables: tuple[str, ...]) -> Path:
    """A copy of the repository in which a workflow runs, with these tables alone and a small world."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    for other in folder.glob("ablations/*/table.yaml"):
        if other.parent.name not in tables:
            shutil.rmtree(other.parent)
    world = folder / "ablations" / "micro" / "world.gin"
    text = world.read_text()
    for name, count in (("train", 64), ("synth", 8), ("more", 8), ("val", 8), ("test", 12)):
        text = re.sub(rf"World\.{name} = \d+", f"World.{name} = {count}", text)
    world.write_text(text)
    return folder


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Snakemake in a checkout."""
    return subprocess.run([sys.executable, "-m", "snakemake", "-j2", *arguments], cwd=folder, capture_output=True, text=True)


def jobs_of(output: str) -> dict[str, int]:
    """The job counts that Snakemake announces."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}


def shared_or_skip(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"research-only data {name} is not beside this checkout")
    return path


def small_world() -> World:
    """The micro world cut down to a few images."""
    config.parse(ROOT / "ablations/micro/world.gin", bindings=[*SMALL_WORLD])
    return config.construct(World, "world.gin")
