"""CLIP's towers through open_clip, returning every image token instead of one (section III-A1).

`core.model.tower_protocols` says what every tower offers, and where the other ones are.

B batch, M image tokens ([CLASS] first), D joint width.
"""

import copy
import json
from difflib import get_close_matches

import open_clip
import torch
from torch import Tensor, nn

from core.errors import UserError
from core.files import in_repository
from core.model.attention import own_attention
from core.model.captions import CaptionTokenizer
from core.model.freezing import Layers
from core.model.text_tower import TextTower, check_text
from core.weights.pretrained import TrainedAt, find_clip, fit, read_clip, resample


class ClipTower(nn.Module):
    """Base of the two classes below: CLIP's image tower `visual`, an open_clip ViT, with or without a text tower."""

    visual: nn.Module
    class_token = True

    @property
    def trunk(self) -> nn.Module:
        return self.visual

    def encode_image(self, images: Tensor) -> Tensor:
        """Images B 3 H W to all tokens after ln_post and projection, not normalised: B M D."""
        return encode_clip(self.visual, images)

    def image_layers(self) -> Layers:
        """The image tower from the input up."""
        return clip_layers(self.visual)

    def text_layers(self) -> Layers | None:
        """The text tower from the input up; None where there is none."""
        return None

    def added(self) -> list[nn.Parameter]:
        """Weights that no file holds: none."""
        return []

    def unreached(self) -> list[nn.Parameter]:
        """Weights that no loss of this study depends on: none."""
        return []


class ClipTowers(TextTower, ClipTower):
    """The two towers of one CLIP model.

    Args:
        arch: an open_clip model name, the path of a JSON file in open_clip's own format, or such a description itself.
        weights: an open_clip pretrained tag, the path of a weights file, or None for random weights.
        image_size: height and width in pixels; position embeddings are resampled to it when weights are loaded.
        patch_size: height and width of a patch where it is not the architecture's own; its embedding is resampled then.
        context_length: text positions used, at most what the architecture has.

    Raises:
        UserError: the architecture is unknown or not a ViT CLIP, or a size does not fit it.
    """

    def __init__(
        self,
        arch: str | dict,
        weights: str | None,
        image_size: tuple[int, int],
        patch_size: tuple[int, int] | None,
        context_length: int,
    ):
        super().__init__()
        if weights is not None and not isinstance(weights, str):
            raise UserError(f"WEIGHTS = {weights!r}: expected an open_clip tag, a weights file, or None for a random start")
        config = copy.deepcopy(arch) if isinstance(arch, dict) else read_architecture(arch)
        self.trained_at = set_image_size(config, image_size, patch_size, arch)
        self.text_cfg = config["text_cfg"]
        check_text(self.text_cfg, context_length, arch)
        self.arch, self.weights, self.context_length = arch, weights, context_length
        self.quick_gelu = bool(config.get("quick_gelu"))
        self.image_size = tuple(image_size)
        self.clip = open_clip.CLIP(**config)
        for transformer in (self.clip.visual.transformer, self.clip.transformer):
            own_attention(transformer.resblocks)
        self.embed_dim: int = config["embed_dim"]
        self.text_width: int = self.clip.token_embedding.embedding_dim

    @property
    def visual(self) -> nn.Module:
        return self.clip.visual

    @property
    def text(self) -> nn.Module:
        return self.clip  # which holds the parts of its text tower itself

    def caption_tokenizer(self) -> CaptionTokenizer:
        """CLIP's byte pairs."""
        return CaptionTokenizer(self.context_length)

    def unreached(self) -> list[nn.Parameter]:
        """The temperature of contrastive pretraining, which is trainable by name where TEXT_FROZEN is None."""
        return [self.clip.logit_scale]

    def load_pretrained(self) -> None:
        """Fill the towers with the weights named at construction.

        Raises:
            UserError: the file or tag is not there or does not fit; the message says what to do.
        """
        if self.weights is not None:
            path = find_clip(self.arch, self.weights)
            tensors = read_clip(path, self.clip.token_embedding.weight, self.arch, self.quick_gelu)
            fit(self.clip, resample(tensors, self.visual, self.trained_at), path, self.arch)


class ClipImageTower(ClipTower):
    """CLIP's image tower without the text tower, for models with only a visual branch (Tables V, VII, VIII).

    Args:
        arch, weights, image_size, patch_size: as of `ClipTowers`; the weights file may hold the image tower alone.

    Raises:
        UserError: as `ClipTowers`.
    """

    def __init__(self, arch: str | dict, weights: str | None, image_size: tuple[int, int], patch_size: tuple[int, int] | None):
        super().__init__()
        if weights is not None and not isinstance(weights, str):
            raise UserError(f"WEIGHTS = {weights!r}: expected an open_clip tag, a weights file, or None for a random start")
        config = copy.deepcopy(arch) if isinstance(arch, dict) else read_architecture(arch)
        self.trained_at = set_image_size(config, image_size, patch_size, arch)
        self.arch, self.weights, self.image_size = arch, weights, tuple(image_size)
        self.quick_gelu = bool(config.get("quick_gelu"))
        self.visual = open_clip.CLIP(**config).visual
        own_attention(self.visual.transformer.resblocks)
        self.embed_dim: int = config["embed_dim"]

    def load_pretrained(self) -> None:
        """As `ClipTowers.load_pretrained`, of the image tower's tensors."""
        if self.weights is not None:
            path = find_clip(self.arch, self.weights)
            read = read_clip(path, None, self.arch, self.quick_gelu)
            tensors = {name: tensor for name, tensor in read.items() if name.startswith("visual.")}
            fit(self, resample(tensors, self.visual, self.trained_at), path, self.arch)


def encode_clip(visual: nn.Module, images: Tensor) -> Tensor:
    """Images B 3 H W to all tokens of an open_clip ViT after ln_post and projection, not normalised: B M D."""
    tokens = visual.transformer(embed_patches(visual, images))  # B M width
    return visual.ln_post(tokens) @ visual.proj  # B M D


def clip_layers(visual: nn.Module) -> Layers:
    """An open_clip ViT from the input up."""
    rest = [*visual.conv1.parameters(), *visual.ln_pre.parameters(), *visual.ln_post.parameters(), visual.proj]
    return Layers([visual.class_embedding, visual.positional_embedding], list(visual.transformer.resblocks), rest)


def embed_patches(visual: nn.Module, images: Tensor) -> Tensor:
    """The input of an open_clip image tower's first block, after patch and position embedding: B 3 H W to B M width."""
    patches = visual.conv1(images).flatten(2).transpose(1, 2)  # B patches width
    cls = visual.class_embedding.expand(patches.shape[0], 1, -1).to(patches.dtype)  # B 1 width
    return visual.ln_pre(torch.cat([cls, patches], 1) + visual.positional_embedding.to(patches.dtype))


def set_image_size(
    config: dict, image_size: tuple[int, int], patch_size: tuple[int, int] | None, arch: str | dict
) -> TrainedAt:
    """Write the sizes into an architecture; returns those that it was described (and trained) with.

    Raises:
        UserError: the image is not a whole number of patches.
    """
    vision = config["vision_cfg"]
    described, own = pair(vision.get("image_size", 224)), pair(vision["patch_size"])
    patch = own if patch_size is None else patch_size
    check_patches(image_size, patch, arch)
    vision["image_size"], vision["patch_size"] = list(image_size), list(patch)
    return TrainedAt(own, (described[0] // own[0], described[1] // own[1]))


def check_patches(image_size: tuple[int, int], patch_size: tuple[int, int], arch: str | dict) -> None:
    """Raise UserError if the image is not a whole number of patches, or if a size is not a (height, width) pair."""
    for name, size in (("IMAGE_SIZE", image_size), ("PATCH_SIZE", patch_size)):
        if not isinstance(size, (tuple, list)) or [type(side) for side in size] != [int, int]:
            raise UserError(f"{name} = {size!r}: expected height and width in pixels, like (32, 128)")
    if any(step <= 0 or side <= 0 or side % step for side, step in zip(image_size, patch_size, strict=True)):
        raise UserError(f"image_size {tuple(image_size)} is not a multiple of the patch size {patch_size} of {arch}")


def pair(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def read_description(arch: str) -> dict:
    """A description in open_clip's format, by its name there or from a JSON file.

    Raises:
        UserError: it is not there, or not in that format.
    """
    if not isinstance(arch, str):
        raise UserError(f"ARCH = {arch!r}: expected the name of an open_clip architecture, or of a JSON file in its format")
    if arch.endswith(".json"):
        path = in_repository(arch)
        if not path.is_file():
            raise UserError(f"architecture file {arch} does not exist (paths count from the repository root)")
        config = json.loads(path.read_text())
    else:
        config = open_clip.get_model_config(arch)
        if config is None:
            near = ", ".join(get_close_matches(arch, open_clip.list_models(), 6)) or "none"
            raise UserError(f"open_clip knows no architecture {arch!r}; near it: {near}")
    if not isinstance(config, dict) or not isinstance(config.get("vision_cfg"), dict) or "text_cfg" not in config:
        raise UserError(f"{arch} is not an architecture in open_clip's format: it needs vision_cfg, text_cfg and embed_dim")
    return config


def check_open_clip_vit(vision: dict, arch: str | dict) -> None:
    """Raise UserError if an image tower of open_clip's own is not a ViT, or does not return its patch tokens."""
    if isinstance(vision.get("layers"), list) or "patch_size" not in vision or vision.get("attentional_pool"):
        raise UserError(
            f"{arch} has no patch tokens: its image tower is not a ViT of open_clip, or pools them itself; name another ARCH"
        )


def read_architecture(arch: str) -> dict:
    """`read_description` of a CLIP: the arguments of `open_clip.CLIP`.

    Raises:
        UserError: as `read_description`, or it is not a ViT CLIP of open_clip's own kind.
    """
    config = read_description(arch)
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "timm_model_name" in vision or "hf_tokenizer_name" in text or isinstance(vision.get("layers"), list):
        other = "" if isinstance(vision.get("layers"), list) else "; take open_clip_towers.OpenClipTowers for it"
        raise UserError(f"{arch} is not a ViT CLIP of open_clip's own kind{other}")
    check_open_clip_vit(vision, arch)
    config.pop("custom_text", None)
    return config
