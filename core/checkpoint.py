"""Finished models on disk: ours (model.safetensors beside model.json) and the released CLIP4STR files."""

import json
import pickle
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from core import config
from core.files import atomic_file, write_json
from core.model.clip4str import CLIP4STR
from core.released import build_released, is_released

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


def save_model(model: CLIP4STR, training: str, folder: Path) -> None:
    """Write model.json (the gin text that builds the model), then model.safetensors; either is whole or not there.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    write_json(folder / DESCRIPTION, {"format": 1, "gin": training})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    try:
        with atomic_file(folder / WEIGHTS) as partial:
            safetensors.torch.save_file(tensors, partial)
    except SafetensorError as error:
        raise OSError(f"{folder / WEIGHTS} could not be written: {error}") from error


def load_model(path: Path | str) -> CLIP4STR:
    """A trained model on the CPU in evaluation mode: a run directory, our model.safetensors or a released checkpoint.

    Raises:
        ValueError: the file is none of these, or its weights do not fit the model it describes.
        OSError: it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    if path.suffix == ".safetensors":
        return load_ours(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is no checkpoint that can be read safely: {str(error).splitlines()[0]}") from error
    if not is_released(checkpoint):
        raise ValueError(f"{path} holds neither our format nor a released CLIP4STR checkpoint")
    try:
        return build_released(checkpoint)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def load_ours(path: Path) -> CLIP4STR:
    description = path.with_name(DESCRIPTION)
    if not description.is_file():
        raise ValueError(f"{path}: {DESCRIPTION}, which says how to build the model, is not beside it")
    model = config.build_from_text(CLIP4STR, json.loads(description.read_text())["gin"], description)
    try:
        tensors = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    check_fit(model, tensors, path)
    model.load_state_dict(tensors)
    return model.eval()


def check_fit(model: CLIP4STR, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Refuse weights of another architecture, naming the first tensor that differs.

    Raises:
        ValueError: it does not fit.
    """
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        wanted = tuple(expected[name].shape) if name in expected else "no such tensor"
        found = tuple(tensors[name].shape) if name in tensors else "no such tensor"
        if wanted != found:
            raise ValueError(f"{path} is of another architecture: {name}: the model has {wanted}, the file {found}")
