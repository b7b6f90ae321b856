"""provenance.json, the origin of a result: code, packages, machine, data, command, time."""

import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from core.files import ROOT

PACKAGES = ("torch", "open_clip_torch", "timm", "peft", "accelerate", "pillow", "numpy", "lmdb", "gin-config")


def git(*arguments: str) -> str | None:
    """A git command's output in the repository; None without git or a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def provenance(data: Path, data_fingerprint: str, seed: int) -> dict[str, Any]:
    """Everything of provenance.json that is known when a run starts."""
    status = git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(status) if status is not None else None,
        "command": sys.argv,
        "seed": seed,
        "data": str(data),
        "data_fingerprint": data_fingerprint,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "started": now(),
    }
