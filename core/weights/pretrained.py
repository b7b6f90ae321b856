"""Weights files of towers: found or downloaded, read in any supported format, resampled, checked tensor by tensor."""

import contextlib
from pathlib import Path
from typing import NamedTuple

import open_clip
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor, nn

from core.errors import UnsafeFile, UserError, one_line
from core.files import in_repository
from core.weights import hugging_face
from core.weights.hub import CONFIG, PREFIX, fetch_file, is_on_hub
from core.weights.pickles import read_tensors
from core.weights.tensor_file import save_tensors

ROWS = "token_embedding.rows"  # in a file that keeps only some rows of the token embedding: which
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # in OpenAI's archives, whose towers have QuickGELU


PLACE = "place it anywhere here, and set the WEIGHTS macro to its path: --set \"WEIGHTS = 'weights/NAME'\", or in the gin file"
HUB_NAMES = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]  # open_clip's, on the Hugging Face hub


class TrainedAt(NamedTuple):
    """The sizes an architecture was described, and its weights trained, with."""

    patch_size: tuple[int, int]
    grid: tuple[int, int]  # rows and columns of patches


def find_clip(arch: str, weights: str) -> Path:
    """A weights file: the path itself, or what an open_clip tag or hf-hub:OWNER/NAME stands for, downloaded once.

    Raises:
        UserError: it is not there; the message says which file to place where.
    """
    if is_on_hub(weights):
        return fetch_weights(weights, [*HUB_NAMES, *hugging_face.FILES], f"weights {weights!r}")
    path = in_repository(weights)
    if path.suffix:
        return existing(path, weights)
    entry = open_clip.get_pretrained_cfg(arch, weights)
    if not entry:
        known = [tag for name, tag in open_clip.list_pretrained() if name == arch]
        raise UserError(f"open_clip has no weights {weights!r} for {arch}; it has: {', '.join(known) or 'none'}")
    quick = bool(entry.get("quick_gelu"))
    if quick != bool(open_clip.get_model_config(arch).get("quick_gelu")):
        other = f"{arch}-quickgelu" if quick else arch.removesuffix("-quickgelu")
        raise UserError(f"weights {weights!r} of {arch} were trained with another activation: use ARCH = {other!r}")
    hub, _, file = entry.get("hf_hub", "").rpartition("/")
    if not hub:
        raise UserError(f"weights {weights!r} of {arch} are not on the hub: fetch {entry['url']}; {PLACE}")
    names = [str(Path(file).with_suffix(".safetensors")), file] if file else HUB_NAMES
    return fetch_weights(hub, names, f"weights {weights!r} of {arch}", entry.get("url"))


def existing(path: Path, written: str) -> Path:
    if not path.is_file():
        recipe = Path(written).with_suffix(".gin")
        made = in_repository(str(recipe)).is_file()
        fix = f"; make it: python -m core.pretrain {recipe} {written}" if made else " (paths count from the repository root)"
        raise UserError(f"weights file {written} does not exist{fix}")
    return path


def fetch_weights(repository: str, names: list[str], what: str, url: str | None = None) -> Path:
    """The first of these files of a repository on the hub, downloaded once, where there is a network.

    Args:
        what: the weights, for errors.
        url: where else they are.

    Raises:
        UserError: it is neither in the cache nor can it be downloaded, or is not the one that the hub has.
    """
    repository, _, revision = repository.removeprefix(PREFIX).partition("@")
    try:
        path = fetch_file(repository, names, revision or None)
        if path.name in hugging_face.FILES and not path.with_name(CONFIG).exists():
            with contextlib.suppress(Exception):  # it tells the activation, where there is one
                fetch_file(repository, [CONFIG], revision or None)
        return path
    except UserError:
        raise
    except Exception as error:  # the hub client raises many kinds, all of them mean: not here
        source = url or f"{names[0]} of {repository} on the Hugging Face hub"
        raise UserError(
            f"{what} could not be downloaded ({one_line(error)}). Where there is a network, fetch {source}; {PLACE}"
        ) from error


def read_clip(path: Path, token_embedding: Tensor | None, arch: str | dict, quick_gelu: bool) -> dict[str, Tensor]:
    """The tensors of a CLIP weights file: open_clip's, OpenAI's TorchScript archive, or that of Hugging Face's CLIPModel.

    Args:
        token_embedding: completes a file that keeps only the trained rows of it; None where no text tower is read.
        arch, quick_gelu: the architecture that they are for, and whether its activation is QuickGELU.

    Raises:
        UnsafeFile: reading the file would run something.
        UserError: it cannot be read as any of these, or it was trained with another activation.
    """
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else read_tensors(path)
        by_openai = not tensors.keys().isdisjoint(NOT_WEIGHTS)
        tensors = {name: tensor for name, tensor in tensors.items() if name not in NOT_WEIGHTS}
    except UnsafeFile:
        raise
    except Exception as error:  # a wrong or damaged file makes the loaders raise nearly anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path} cannot be read as weights, it is damaged or of another kind: {lines[0]}") from error
    if by_openai and not quick_gelu:
        fix = (
            f"set ARCH = '{arch}-quickgelu'"
            if isinstance(arch, str) and arch in open_clip.list_models()
            else 'add "quick_gelu": true to the architecture'
        )
        raise UserError(f"{path} has OpenAI's format, whose towers were trained with QuickGELU, which {arch} lacks: {fix}")
    if hugging_face.is_clip(tensors):
        hugging_face.check_activation(path, arch, quick_gelu)
        tensors = hugging_face.to_clip(tensors)
    if ROWS in tensors:
        rows, kept = tensors.pop(ROWS).long(), tensors.pop("token_embedding.weight")
        if token_embedding is not None:
            tensors["token_embedding.weight"] = fill_rows(token_embedding, rows, kept, path)
    return {name: tensor.float() for name, tensor in tensors.items()}


def fill_rows(embedding: Tensor, rows: Tensor, kept: Tensor, path: Path) -> Tensor:
    """The whole token embedding of a sparse file; tokens that were not trained keep their random start."""
    if kept.shape[1] != embedding.shape[1]:
        raise UserError(f"{path}: token embeddings are {kept.shape[1]} wide, the architecture's {embedding.shape[1]}")
    whole = embedding.detach().clone()
    whole[rows] = kept.to(whole)
    return whole


def save_sparse(clip: nn.Module, rows: Tensor, path: Path, metadata: dict[str, str] | None) -> None:
    """Write the towers in half precision with only the given rows of the token embedding (the trained ones).

    Args:
        metadata: kept in the file.
    """
    tensors = {name: tensor.half().contiguous() for name, tensor in clip.state_dict().items()}
    tensors["token_embedding.weight"] = tensors["token_embedding.weight"][rows].contiguous()
    tensors[ROWS] = rows.int()
    save_tensors(tensors, path, metadata)


def resample(tensors: dict[str, Tensor], visual: nn.Module, trained_at: TrainedAt) -> dict[str, Tensor]:
    """Position and patch embeddings of an image tower at the size of `visual`, through timm.

    Patches of a size that is not the architecture's are another architecture's: they are left as they are, for `fit`
    to refuse.

    Args:
        tensors: of a CLIP file; those of the image tower begin with "visual.".
        trained_at: the sizes in the architecture's description; a file with another number of positions is taken as square.
    """
    positions, patches = tensors.get("visual.positional_embedding"), tensors.get("visual.conv1.weight")
    if positions is None or patches is None or tuple(patches.shape[2:]) != trained_at.patch_size:
        return tensors
    grid = trained_at.grid
    wanted = tuple(visual.conv1.kernel_size)
    if tuple(patches.shape[2:]) != wanted:
        tensors["visual.conv1.weight"] = resample_patch_embed(patches, list(wanted))
    side = round((len(positions) - 1) ** 0.5)
    if len(positions) not in (1 + grid[0] * grid[1], 1 + side * side):
        return tensors
    old = list(grid) if len(positions) == 1 + grid[0] * grid[1] else None
    tensors["visual.positional_embedding"] = resample_abs_pos_embed(positions[None], list(visual.grid_size), old)[0]
    return tensors


def fit(module: nn.Module, tensors: dict[str, Tensor], path: Path, arch: str | dict) -> None:
    """Load exactly these tensors into a module.

    Raises:
        UserError: naming the first tensor that is missing, too many or of another shape.
    """
    expected = module.state_dict()
    for name in {"logit_scale", "logit_bias"} & tensors.keys() & expected.keys():  # one number, with or without a dimension
        tensors[name] = tensors[name].reshape(expected[name].shape)
    difference = first_difference(expected, tensors)
    if difference:
        raise UserError(f"{path} does not fit {arch}: {difference}")
    module.load_state_dict(tensors)


def first_difference(expected: dict[str, Tensor], given: dict[str, Tensor]) -> str | None:
    """The first tensor, by name, that two collections do not share in shape, as a sentence; None where all agree."""
    for name in sorted(expected.keys() | given.keys()):
        here, there = (tuple(tensors[name].shape) if name in tensors else "no such tensor" for tensors in (expected, given))
        if here != there:
            return f"{name}: the model has {here}, the file {there}"
    return None
