"""Files as an attacker would write them: reading any of them with the library's own plain loader makes a file."""

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import torch


class Touch:
    """Unpickled, it makes an empty file."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return os.mknod, (self.path,)


class Writer(torch.nn.Module):
    """A TorchScript module that writes a file as soon as it is loaded."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = str(path)
        self.weight = torch.nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]):
        self.weight = state[0]
        self.path = state[1]
        self.training = state[2]
        torch.save(state[0], state[1])

    def forward(self, x):
        return x


def torch_zip(path: Path, payload: Touch) -> None:
    torch.save({"state_dict": {"clip_model.weight": torch.ones(2)}, "callbacks": payload}, path)


def torch_stream(path: Path, payload: Touch) -> None:
    torch.save({"state_dict": payload}, path, _use_new_zipfile_serialization=False)


def bare_pickle(path: Path, payload: Touch) -> None:
    path.write_bytes(pickle.dumps(payload))


def stack_global(path: Path, payload: Touch) -> None:
    path.write_bytes(pickle.dumps({"state_dict": payload}, protocol=5))


def plain_zip(path: Path, payload: Touch) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(payload, protocol=2))


def tar(path: Path, payload: Touch) -> None:
    """The layout of 2016: sys_info, pickle, tensors and storages in a tar file."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            content = pickle.dumps(payload, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def numpy_array(path: Path, payload: Touch) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([payload], dtype=object), allow_pickle=True)


def numpy_pickle(path: Path, payload: Touch) -> None:
    """As `ndarray.dump` and joblib write arrays of objects."""
    path.write_bytes(pickle.dumps(np.array([payload], dtype=object), protocol=2))


def numpy_archive(path: Path, payload: Touch) -> None:
    with path.open("wb") as file:
        np.savez(file, payload=np.array([payload], dtype=object))


def script_state(path: Path, payload: Touch) -> None:
    torch.jit.save(torch.jit.script(Writer(Path(payload.path))), path)


def script_pickle(path: Path, payload: Touch) -> None:
    """A TorchScript archive whose data.pkl was exchanged for a Python pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/constants.pkl", pickle.dumps((), protocol=2))
        archive.writestr("model/data.pkl", pickle.dumps(payload, protocol=2))


KINDS = {
    "zip": torch_zip,
    "stream": torch_stream,
    "pickle": bare_pickle,
    "pickle5": stack_global,
    "plain zip": plain_zip,
    "tar": tar,
    "npy": numpy_array,
    "numpy pickle": numpy_pickle,
    "npz": numpy_archive,
    "script state": script_state,
    "script pickle": script_pickle,
}
