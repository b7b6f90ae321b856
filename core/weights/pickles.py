"""Files of tensors that others made (.ckpt, .pt, .pth, .bin): their data is read, nothing in them is run.

A pickle is a program, and so is a TorchScript archive: `torch.jit.load` runs the `__setstate__` of what it finds, which
may write files. PyTorch's restricted unpickler reads the one, `core.weights.torchscript` the other.
"""

import argparse
import contextlib
import pathlib
import pickletools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import UnsafeFile, UserError
from core.weights import torchscript

SCALAR, ARRAY = np.float32(0).__reduce__()[0], np.zeros(0).__reduce__()[0]  # NumPy's own functions that make them
# What training programs keep beside their tensors and cannot act: numbers, paths, the command's options. NumPy refuses
# to make objects of any other kind by these.
ALLOWED: list[Any] = [
    argparse.Namespace,
    *((SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # of NumPy 1 and 2
    *((ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    np.ndarray,
    np.dtype,
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__ if name not in ("ObjectDType", "VoidDType")),
    (pathlib.PurePosixPath, "pathlib.PosixPath"),
    (pathlib.PurePosixPath, "pathlib._local.PosixPath"),
    (pathlib.PureWindowsPath, "pathlib.WindowsPath"),
    (pathlib.PureWindowsPath, "pathlib._local.WindowsPath"),
]
ASKED = re.compile(
    r"GLOBAL ([\w.<>]+)|reduce for unrecognized function (.+)|(?:new object|allowlisted).* but got (?:<class ')?([\w.]+)"
)
WRAPPED = ("state_dict_ema", "model_ema", "state_dict", "model")  # where training programs put tensors, as timm looks
FIX = (
    "nothing in it was run. Get it as .safetensors from whoever made it; if you trust them, convert it on a machine with "
    "nothing to lose (docs/security.md)"
)


def read_pickle(path: Path) -> Any:
    """The content of a checkpoint, on the CPU: tensors, numbers, texts and containers of them.

    Raises:
        UnsafeFile: reading it would run what it names.
        UserError: it is damaged, or no checkpoint at all.
    """
    with explained_errors(path):
        if torchscript.is_archive(path):
            return torchscript.read_archive(path)
        with torch.serialization.safe_globals(ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint whose other content is of no interest, by their names in the model.

    Raises:
        UnsafeFile, UserError: as `read_pickle`.
    """
    content = read_pickle(path)
    if isinstance(content, dict):
        inner = next((content[key] for key in WRAPPED if isinstance(content.get(key), dict)), content)
        tensors = {str(name).removeprefix("module."): value for name, value in inner.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise UserError(f"{path} holds no tensors by name")


@contextlib.contextmanager
def explained_errors(path: Path) -> Iterator[None]:
    """Errors of a restricted unpickler as one sentence that names the file and what it tried to import."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # foreign bytes make the unpicklers raise nearly anything
        wanted = forbidden(str(error), path)
        if wanted:
            raise UnsafeFile(f"{path} is not a checkpoint that can be read safely: it asks for {wanted}; {FIX}") from error
        detail = re.search(r"Unpickler error: .+", str(error)) or re.search(".+", str(error)) or [type(error).__name__]
        told = "" if detail[0].startswith("Weights only") else f" ({detail[0]})"  # torch's advice is to read it unsafely
        raise UserError(f"{path} is not a checkpoint that can be read safely: damaged or foreign{told}") from error


def forbidden(message: str, path: Path) -> str | None:
    """What a file tried to import and was refused, from the unpickler's message; None if it is just not a checkpoint."""
    asked = ASKED.search(message)
    if asked:
        return next(group for group in asked.groups() if group).strip()
    if "legacy .tar format" in message:
        return "PyTorch's unpickler of 2016 (a tar archive), which cannot be restricted"
    if "Unsupported operand" in message:  # of protocols that PyTorch does not write
        return ", ".join(imported_names(path)) or None
    return None


def imported_names(path: Path) -> list[str]:
    """The names that a bare pickle would import, read from its operations without running them."""
    words: list[str] = []
    imports: dict[str, None] = {}
    with path.open("rb") as file, contextlib.suppress(Exception):  # other bytes than a pickle raise nearly anything
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "GLOBAL":
                imports[argument.replace(" ", ".")] = None
            elif operation.name == "STACK_GLOBAL":
                imports[".".join(words[-2:])] = None
            elif isinstance(argument, str):
                words.append(argument)
    return list(imports)
