"""Finished models on disk: ours (model.safetensors beside model.json) and the released CLIP4STR files."""

import hashlib
import json
from functools import partial
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from core import config
from core.errors import UserError
from core.files import atomic_file, file_digest, in_repository, write_json
from core.model.clip4str import CLIP4STR
from core.weights.pickles import read_pickle
from core.weights.pretrained import first_difference
from core.weights.released import build_released, is_released

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


def save_model(model: CLIP4STR, training: str, identity: dict, folder: Path) -> None:
    """Write model.json (what builds the model, and what it was trained from), then model.safetensors, each whole.

    Of an adapted tower only what was trained is written; it loads on top of the pretrained weights file again.

    Args:
        training: the gin text that builds the model.
        identity: what tells this run from others (see `core.train.run.identity`).

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    description = {"format": 1, "identity": identity, "normalisation": model.normalisation, "gin": training}
    kept = model.kept_tensors()
    if len(kept) < len(model.state_dict()):
        description["backbone"] = {"weights": model.towers.weights, **left_out_digests(model)}
    write_json(folder / DESCRIPTION, description)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}
    with atomic_file(folder / WEIGHTS) as partial:
        safetensors.torch.save_file(tensors, partial)


def load_model(path: Path | str) -> CLIP4STR:
    """A trained model on the CPU in evaluation mode: a run directory, our model.safetensors or a released checkpoint.

    Raises:
        UnsafeFile: reading it would run something.
        UserError: the file is none of these, or its weights do not fit the model it describes.
        OSError: it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    if path.suffix == ".safetensors":
        return load_saved(path)
    checkpoint = read_pickle(path)
    if not is_released(checkpoint):
        raise UserError(f"{path} holds neither our format nor a released CLIP4STR checkpoint")
    try:
        return build_released(checkpoint)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def load_saved(path: Path) -> CLIP4STR:
    description = path.with_name(DESCRIPTION)
    if not description.is_file():
        raise UserError(f"{path}: {DESCRIPTION}, which says how to build the model, is not beside it")
    try:
        content = json.loads(description.read_text())
    except ValueError as error:
        raise UserError(f"{description} is not valid JSON ({error}); copy the whole run directory again") from error
    if "gin" not in content:
        raise UserError(f"{description}: key 'gin', the text that builds the model, is missing")
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
    try:
        tensors = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from error
    difference = first_difference(model.kept_tensors(), tensors)
    if difference:
        raise UserError(f"{path} is of another architecture: {difference}")
    model.load_state_dict(tensors, strict=False)  # an adapted tower's frozen weights are there already
    return model.eval()


def left_out_digests(model: CLIP4STR) -> dict[str, str | None]:
    """Digests of the tensors that an adapted model's file omits: the weights file (None for a tag), fixed random tensors."""
    path = in_repository(model.towers.weights)
    buffers = hashlib.sha256()
    for name, tensor in sorted(model.towers.named_buffers()):
        buffers.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return {"digest": file_digest(path) if path.is_file() else None, "buffers": buffers.hexdigest()[:16]}
