"""TorchScript archives, as OpenAI ships CLIP, read as data: no code in them is compiled or run.

An archive is a zip file: `data.pkl` (a pickle of nested modules), `data/<n>` (raw storages), `code/**.py` (TorchScript,
of which only the names of parameters and buffers are read here).
"""

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
DECLARED = re.compile(r"^class (\w+)\(Module\):\n((?:  __\w+__ = \[[^\]]*\]\n)*)", re.MULTILINE)


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_archive(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by their names in the model, as the loaded module's state_dict would give them.

    Raises:
        Exception: of zipfile, pickle or torch, where the archive is damaged or asks for more than modules and tensors;
            `core.weights.pickles` tells them apart.
    """
    with zipfile.ZipFile(path) as archive:
        top = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).removesuffix("constants.pkl")
        module = ArchiveUnpickler(archive, top).load()
        code = [name for name in archive.namelist() if name.endswith(".py")]
        declared = {name: kept for file in code for name, kept in declared_names(archive, top, file)}
    tensors: dict[str, Tensor] = {}
    collect(module, "", declared, tensors)
    return tensors


class Module:
    """An object of the archive: a class name and attributes, nothing that acts."""

    def __setstate__(self, state: Any) -> None:
        if type(state) is not dict:
            raise pickle.UnpicklingError(f"GLOBAL {type(self).__qualname__}.__setstate__ would be run")
        self.__dict__.update(state)


class ArchiveUnpickler(pickle.Unpickler):
    """Makes inert objects of `__torch__` classes and tensors of storages; refuses every other name."""

    def __init__(self, archive: zipfile.ZipFile, top: str):
        super().__init__(io.BytesIO(archive.read(top + "data.pkl")))
        self.archive, self.top = archive, top

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return type(name, (Module,), {"__module__": module, "__qualname__": f"{module}.{name}"})
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): rebuild,
            ("torch.jit._pickle", "restore_type_tag"): untagged,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is not one of modules and tensors")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """A storage: ("storage", dtype, key, device, number of elements) to that many elements in a row."""
        _, dtype, key, _, numel = pid
        raw = self.archive.read(f"{self.top}data/{key}")
        if numel * dtype.itemsize > len(raw):
            raise pickle.UnpicklingError(f"storage {key} has {len(raw)} bytes, {numel} elements of {dtype} need more")
        return torch.frombuffer(bytearray(raw), dtype=dtype, count=numel) if numel else torch.empty(0, dtype=dtype)


def rebuild(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    """A view into a storage; whatever lies outside it is refused."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min(offset, *size, *stride, 0) < 0 or (math.prod(size) and last >= len(storage)):
        raise pickle.UnpicklingError(f"a tensor of {tuple(size)} lies outside its storage of {len(storage)} elements")
    return storage.as_strided(size, stride, offset).clone()


def untagged(value: Any, _type: str) -> Any:
    """A list or dictionary; its TorchScript type is of no interest."""
    return value


def declared_names(archive: zipfile.ZipFile, top: str, file: str) -> list[tuple[str, set[str] | None]]:
    """The classes of one code file, and what each declares as parameters and buffers (None where it says nothing)."""
    place = file.removeprefix(top + "code/").removesuffix(".py").replace("/", ".")
    text = archive.read(file).decode()
    return [
        (f"{place}.{match[1]}", set(re.findall(r'"(\w+)"', match[2])) if "__buffers__" in match[2] else None)
        for match in DECLARED.finditer(text)
    ]


def collect(module: Module, prefix: str, declared: dict[str, set[str] | None], tensors: dict[str, Tensor]) -> None:
    """Add a module's tensors, and those of the modules inside, to `tensors`."""
    kept = declared.get(type(module).__qualname__)
    for name, value in vars(module).items():
        if isinstance(value, Tensor) and (kept is None or name in kept):
            tensors[prefix + name] = value
        elif isinstance(value, Module):
            collect(value, f"{prefix}{name}.", declared, tensors)
