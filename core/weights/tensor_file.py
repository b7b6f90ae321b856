"""Writing safetensors files that others may read: the library itself gives them to their owner alone."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as a safetensors file with the permissions of any new file.

    Args:
        metadata: kept in the file.
    """
    path.touch()
    mode = path.stat().st_mode & 0o777  # as the umask leaves it
    safetensors.torch.save_file(dict(tensors), path, dict(metadata) if metadata else None)
    path.chmod(mode)
