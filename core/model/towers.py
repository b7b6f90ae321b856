"""CLIP's image and text towers through open_clip, returning every token instead of one (section III-A1).

B batch, M image tokens ([CLASS] first), L text tokens, D joint width.
"""

import copy
import json
from functools import lru_cache
from pathlib import Path

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors import safe_open
from torch import Tensor, nn

from core.files import in_repository

ROWS = "token_embedding.rows"  # in a file that keeps only some rows of the token embedding: which


class ClipTowers(nn.Module):
    """The two towers of one CLIP model.

    Args:
        arch: an open_clip model name, the path of a JSON file in open_clip's own format, or such a description itself.
        weights: an open_clip pretrained tag, the path of a weights file, or None for random weights.
        image_size: height and width in pixels; position embeddings are resampled to it when weights are loaded.
        context_length: text positions used, at most what the architecture has.

    Raises:
        ValueError: the architecture is unknown or not a ViT CLIP, or a size does not fit it.
    """

    def __init__(self, arch: str | dict, weights: str | None, image_size: tuple[int, int], context_length: int):
        super().__init__()
        config = copy.deepcopy(arch) if isinstance(arch, dict) else read_architecture(arch)
        patch = config["vision_cfg"]["patch_size"]
        patch_size = (patch, patch) if isinstance(patch, int) else tuple(patch)
        if any(side % step for side, step in zip(image_size, patch_size, strict=True)):
            raise ValueError(f"image_size {tuple(image_size)} is not a multiple of the patch size {patch_size} of {arch}")
        positions = config["text_cfg"].get("context_length", 77)
        if not 3 <= context_length <= positions:
            raise ValueError(f"context_length {context_length}: {arch} has {positions} text positions, the least is 3")
        config["vision_cfg"]["image_size"] = list(image_size)
        self.arch, self.weights, self.context_length = arch, weights, context_length
        self.image_size, self.patch_size = tuple(image_size), patch_size
        self.clip = open_clip.CLIP(**config)
        self.embed_dim: int = config["embed_dim"]
        self.text_width: int = self.clip.token_embedding.embedding_dim

    def encode_image(self, images: Tensor) -> Tensor:
        """Images B 3 H W to all tokens after ln_post and projection, not normalised: B M D."""
        visual = self.clip.visual
        patches = visual.conv1(images).flatten(2).transpose(1, 2)  # B patches width
        cls = visual.class_embedding.expand(len(patches), 1, -1).to(patches.dtype)
        tokens = torch.cat([cls, patches], 1) + visual.positional_embedding.to(patches.dtype)
        tokens = visual.transformer(visual.ln_pre(tokens))
        return visual.ln_post(tokens) @ visual.proj

    def load_pretrained(self) -> None:
        """Fill the towers with the weights named at construction.

        Raises:
            ValueError: the file or tag is not there or does not fit; the message says what to do.
        """
        if self.weights is None:
            return
        path = find_weights(self.arch, self.weights)
        try:
            if path.suffix == ".safetensors" and is_sparse(path):
                load_sparse(self.clip, path)
            else:
                open_clip.load_checkpoint(self.clip, str(path))
        except Exception as error:  # a wrong or damaged file makes the loaders raise nearly anything
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            detail = lines[1] if lines[0].startswith("Error(s) in loading") and len(lines) > 1 else lines[0]
            raise ValueError(f"{path} does not fit {self.arch} or is damaged: {detail}") from error


def encode_text(towers: ClipTowers, ids: Tensor) -> Tensor:
    """All text tokens through ln_final and the text projection: token ids B L to B L D (section III-A1)."""
    clip, length = towers.clip, ids.shape[1]
    tokens = clip.token_embedding(ids) + clip.positional_embedding[:length]
    tokens = clip.transformer(tokens, attn_mask=clip.attn_mask[:length, :length])
    return clip.ln_final(tokens) @ clip.text_projection


def embed_tokens(towers: ClipTowers, ids: Tensor) -> Tensor:
    """The pretrained token embeddings alone, in place of the text tower (Table VI, "token"): B L D."""
    if towers.text_width != towers.embed_dim:
        raise ValueError(
            f"token embeddings of {towers.arch} are {towers.text_width} wide, the memory is {towers.embed_dim}: "
            "the row needs an architecture where both agree"
        )
    return towers.clip.token_embedding(ids)


class CaptionTokenizer:
    """CLIP's byte-pair tokenizer with a memory: the same words come back many times in training."""

    def __init__(self, context_length: int):
        self.context_length = context_length
        self.known: dict[str, Tensor] = {}
        self.truncated = 0  # captions cut to fit, for the record

    def __call__(self, captions: list[str]) -> Tensor:
        """Ids B L, [SOS] words [EOS] and zeros."""
        return torch.stack([self.encode(caption) for caption in captions])

    def encode(self, caption: str) -> Tensor:
        if caption not in self.known:
            if len(self.known) >= 100_000:
                self.known.clear()
            tokenizer = byte_pairs()
            tokens = [tokenizer.sot_token_id, *tokenizer.encode(caption), tokenizer.eot_token_id]
            if len(tokens) > self.context_length:
                self.truncated += 1
                tokens = [*tokens[: self.context_length - 1], tokenizer.eot_token_id]
            ids = torch.zeros(self.context_length, dtype=torch.long)
            ids[: len(tokens)] = torch.tensor(tokens)
            self.known[caption] = ids
        return self.known[caption]


@lru_cache(maxsize=1)
def byte_pairs() -> SimpleTokenizer:
    return SimpleTokenizer()


def read_architecture(arch: str) -> dict:
    """An open_clip model configuration, by name or from a JSON file: the arguments of `open_clip.CLIP`."""
    if arch.endswith(".json"):
        path = in_repository(arch)
        if not path.is_file():
            raise ValueError(f"architecture file {arch} does not exist (paths count from the repository root)")
        config = json.loads(path.read_text())
    else:
        config = open_clip.get_model_config(arch)
        if config is None:
            near = [name for name in open_clip.list_models() if name.lower().startswith(arch.lower()[:6])]
            raise ValueError(f"open_clip knows no architecture {arch!r}; near it: {', '.join(near[:6]) or 'none'}")
    if "timm_model_name" in config.get("vision_cfg", {}) or "hf_model_name" in config.get("text_cfg", {}):
        raise ValueError(f"{arch} is not a ViT CLIP of open_clip's own kind")
    config.pop("custom_text", None)
    return config


def find_weights(arch: str, weights: str) -> Path:
    """A weights file: the path itself, or what an open_clip tag stands for (downloaded once, where there is a network)."""
    path = in_repository(weights)
    if path.suffix:
        if not path.is_file():
            raise ValueError(f"weights file {weights} does not exist (paths count from the repository root)")
        return path
    entry = open_clip.get_pretrained_cfg(arch, weights)
    if not entry:
        known = [tag for name, tag in open_clip.list_pretrained() if name == arch]
        raise ValueError(f"open_clip has no weights {weights!r} for {arch}; it has: {', '.join(known) or 'none'}")
    try:
        return Path(open_clip.download_pretrained(entry))
    except Exception as error:  # the hub client raises many kinds, all of them mean: not here
        raise ValueError(
            f"weights {weights!r} of {arch} could not be downloaded ({type(error).__name__}). Fetch them where there is "
            "a network and set the WEIGHTS macro to the file's path"
        ) from error


def is_sparse(path: Path) -> bool:
    with safe_open(path, framework="pt") as file:
        return ROWS in file.keys()  # noqa: SIM118 (safe_open is no mapping)


def save_sparse(clip: nn.Module, rows: Tensor, path: Path) -> None:
    """Write the towers in half precision with only the given rows of the token embedding (the trained ones)."""
    from safetensors.torch import save_file

    tensors = {name: tensor.half().contiguous() for name, tensor in clip.state_dict().items()}
    tensors["token_embedding.weight"] = tensors["token_embedding.weight"][rows].contiguous()
    tensors[ROWS] = rows.int()
    save_file(tensors, path)


def load_sparse(clip: nn.Module, path: Path) -> None:
    """Read what `save_sparse` wrote; token embeddings that were not trained keep their random start."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    rows = tensors.pop(ROWS).long()
    embedding = clip.token_embedding.weight.detach().clone()
    kept = tensors.pop("token_embedding.weight").to(embedding)
    if kept.shape[1] != embedding.shape[1]:
        raise ValueError(f"token embeddings are {kept.shape[1]} wide, the architecture's {embedding.shape[1]}")
    embedding[rows] = kept
    tensors["token_embedding.weight"] = embedding
    open_clip.model.resize_pos_embed(tensors, clip)
    expected = clip.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        wanted, found = (tuple(t[name].shape) if name in t else "no such tensor" for t in (expected, tensors))
        if wanted != found:
            raise ValueError(f"{name}: the architecture has {wanted}, the file {found}")
    clip.load_state_dict(tensors)
