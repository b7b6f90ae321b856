"""Finished models: ours (model.safetensors beside model.json), the released CLIP4STR files, folders made for the hub."""

import hashlib
import json
from functools import partial
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from core import config
from core.errors import UserError
from core.files import atomic_file, file_digest, in_repository, sync, write_json
from core.model.clip4str import CLIP4STR
from core.run_files import MODEL, MODEL_DESCRIPTION
from core.weights.hub import CONFIG, fetch, is_on_hub
from core.weights.pickles import read_pickle
from core.weights.pretrained import first_difference
from core.weights.released import SETTINGS, build_released, is_released
from core.weights.tensor_file import save_tensors


def save_model(model: CLIP4STR, training: str, identity: dict, folder: Path) -> None:
    """Write model.json (what builds the model, and what it was trained from), then model.safetensors, each whole.

    Of an adapted tower only what was trained is written, and loads on top of the pretrained weights file again; if it began
    with a START, it is written whole.

    Args:
        training: the gin text that builds the model.
        identity: what tells this run from others (see `core.train.record.identity`).

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    description = {"format": 1, "identity": identity, "normalisation": model.normalisation, "gin": training}
    kept = model.kept_tensors()
    if len(kept) < len(model.state_dict()):
        description["backbone"] = {"weights": model.towers.weights, **left_out_digests(model)}
    write_json(folder / MODEL_DESCRIPTION, description)
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in kept.items()}  # VeRA's share memory
    with atomic_file(folder / MODEL) as partial:
        save_tensors(tensors, partial)
        sync(partial)  # before it has its name: whoever resumes deletes the state that it was made from


def load_model(path: Path | str) -> CLIP4STR:
    """A trained model on the CPU in evaluation mode.

    Args:
        path: a run directory or another folder with model.safetensors, that file, a released checkpoint, or
            hf-hub:OWNER/NAME, which is downloaded once.

    Raises:
        UnsafeFile: reading it would run something.
        UserError: the file is none of these, or its weights do not fit the model it describes.
        OSError: it cannot be read.
    """
    path = model_file(path)
    return load_saved(path) if path.suffix == ".safetensors" else load_released(path, read_released(path))


def model_file(path: Path | str) -> Path:
    """The file with the weights of a model, as `load_model` takes it.

    Raises:
        UserError: it is on the hub and cannot be downloaded.
        OSError: it is not there.
    """
    if is_on_hub(path):
        return fetch(path)
    path = Path(path)
    if path.is_dir():
        path = path / MODEL
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    return path


def read_released(path: Path) -> dict:
    checkpoint = read_pickle(path)
    if not is_released(checkpoint):
        raise UserError(f"{path} holds neither our format nor a released CLIP4STR checkpoint")
    return checkpoint


def load_released(path: Path, checkpoint: dict) -> CLIP4STR:
    try:
        return build_released(checkpoint)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from error


def description_of(path: Path) -> Path | None:
    """The file beside model.safetensors that says how to build the model: model.json of a run, config.json of the hub."""
    return next((path.with_name(name) for name in (MODEL_DESCRIPTION, CONFIG) if path.with_name(name).is_file()), None)


def read_description(path: Path) -> tuple[Path, dict]:
    """The file beside model.safetensors that says how to build the model, and its content."""
    description = description_of(path)
    if description is None:
        raise UserError(f"{path}: {MODEL_DESCRIPTION}, which says how to build the model, is not beside it")
    try:
        content = json.loads(description.read_text())
    except ValueError as error:
        raise UserError(f"{description} is not valid JSON ({error}); copy the whole folder again") from error
    builds = {"gin": str, "hyper_parameters": dict}  # of our models, and of released ones
    if not any(isinstance(content, dict) and isinstance(content.get(key), kind) for key, kind in builds.items()):
        raise UserError(f"{description}: key 'gin', the text that builds the model, is missing")
    return description, content


def load_saved(path: Path) -> CLIP4STR:
    description, content = read_description(path)
    if "gin" not in content:
        return load_released(path, {"state_dict": read_safetensors(path), "hyper_parameters": content["hyper_parameters"]})
    make = config.maker_from_text(CLIP4STR, content["gin"], description)
    backbone = content.get("backbone")
    model = config.construct_with(partial(make, load_weights=backbone is not None), description)
    present = left_out_digests(model) if backbone else {}
    if backbone and backbone["digest"] != present["digest"]:
        raise UserError(f"{path} adapts {backbone['weights']}, which is no longer the file it was trained on")
    if backbone and backbone["buffers"] != present["buffers"]:
        raise UserError(
            f"{path}: fixed tensors drawn from a seed (VeRA's) come out otherwise than in training; install the versions "
            "that provenance.json names"
        )
    model.normalisation = content.get("normalisation", "clip")
    tensors = read_safetensors(path)
    difference = first_difference(model.kept_tensors() if backbone else model.state_dict(), tensors)
    if difference:
        raise UserError(f"{path} is of another architecture: {difference}")
    model.load_state_dict(tensors, strict=False)  # an adapted tower's frozen weights are there already
    return model.eval()


def self_contained(path: Path | str) -> tuple[dict, dict[str, Tensor]]:
    """A model as `load_model` takes it, without any other file that it needs: content of config.json, and all tensors.

    An adapted tower's pretrained weights become part of it; a released checkpoint keeps its names, and the settings that
    decide what it reads.
    """
    path = model_file(path)
    if path.suffix == ".safetensors" and "gin" in (content := read_description(path)[1]):
        description = {key: value for key, value in content.items() if key != "backbone"}
        tensors = load_saved(path).state_dict()
    else:
        released = read_released(path) if path.suffix != ".safetensors" else {**content, "state_dict": read_safetensors(path)}
        load_released(path, released)  # refuses what cannot be read
        settings = {key: value for key, value in released.get("hyper_parameters", {}).items() if key in SETTINGS}
        description, tensors = {"format": 1, "hyper_parameters": settings}, released["state_dict"]
    return description, {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}  # VeRA's share memory


def left_out_digests(model: CLIP4STR) -> dict[str, str | None]:
    """Digests of the tensors that an adapted model's file omits: the weights file (None for a tag), fixed random tensors."""
    path = in_repository(model.towers.weights)
    buffers = hashlib.sha256()
    for name, tensor in sorted(model.towers.named_buffers()):
        buffers.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return {"digest": file_digest(path) if path.is_file() else None, "buffers": buffers.hexdigest()[:16]}
