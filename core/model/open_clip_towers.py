"""The towers of image-text models of open_clip: SigLIP, EVA-02-CLIP, Perception Encoder, MobileCLIP (ablations/pretraining).

`core.model.towers` has CLIP's own layout, the paper's; here the image tower may be one of timm's, the text tower may attend in
both directions and pool another position than [EOS], and captions are tokenized as the model was trained.

B batch, M image tokens ([CLASS] first, where there is one), L text tokens, D joint width.
"""

import copy
from typing import Self

import open_clip
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from core.model.attention import own_attention
from core.model.captions import CaptionTokenizer
from core.model.freezing import Layers
from core.model.hub_tokenizer import HubTokenizer
from core.model.text_tower import TextTower, check_text
from core.model.timm_trunk import (
    family_of,
    has_class_token,
    keep_statistics,
    layers_of,
    resample_patches,
    resample_positions,
    resize,
    tokens_of,
)
from core.model.towers import check_open_clip_vit, clip_layers, encode_clip, read_description, set_image_size
from core.weights.pretrained import find_clip, fit, read_clip, resample

POOLING = "visual.trunk.attn_pool."  # pooling by attention, which reads all tokens and which nothing here needs


class OpenClipTowers(TextTower, nn.Module):
    """The two towers of one image-text model of open_clip.

    Image tokens are those after the last norm, each through the model's projection into the joint space, where it has one;
    pooling is left out, and so are its weights.

    Args:
        arch: an open_clip model name, the path of a JSON file in open_clip's own format, or such a description itself.
        weights: an open_clip pretrained tag, the path of a weights file, or None for random weights.
        image_size: height and width in pixels; position embeddings are resampled to it when weights are loaded.
        patch_size: height and width of a patch where it is not the architecture's own; its embedding is resampled then.
        context_length: text positions used; all of them where the text tower has no causal mask.
        tokenizer: a folder with the files of the architecture's tokenizer, where it needs any and they are not to be
            downloaded; None for the architecture's own.

    Raises:
        UserError: the architecture is unknown, its towers are of a kind that gives no tokens, or a size does not fit it.
    """

    def __init__(
        self,
        arch: str | dict,
        weights: str | None,
        image_size: tuple[int, int],
        patch_size: tuple[int, int] | None,
        context_length: int,
        tokenizer: str | None,
    ):
        super().__init__()
        config = copy.deepcopy(arch) if isinstance(arch, dict) else read_description(arch)
        self.arch, self.weights, self.image_size = arch, weights, tuple(image_size)
        self.text_cfg, self.context_length, self.tokenizer = config["text_cfg"], context_length, tokenizer
        check_text(self.text_cfg, context_length, arch)
        self.quick_gelu = bool(config.get("quick_gelu"))
        config.pop("custom_text", None)
        vision = config["vision_cfg"]
        if "timm_model_name" in vision:
            family_of(vision["timm_model_name"])
            vision["timm_model_pretrained"] = False
            self.clip = open_clip.CustomTextCLIP(**config)
            if vision.get("timm_pool") == "map":
                self.trunk.attn_pool = None
            self.trained_at = resize(self.trunk, self.image_size, patch_size, arch)
        else:
            check_open_clip_vit(vision, arch)
            self.trained_at = set_image_size(config, image_size, patch_size, arch)
            self.clip = open_clip.CustomTextCLIP(**config)
            own_attention(self.visual.transformer.resblocks)
        own_attention(self.text.transformer.resblocks)
        self.embed_dim: int = config["embed_dim"]
        self.text_width: int = self.text.token_embedding.embedding_dim
        keep_statistics(self)
        self.class_token = not self.from_timm or has_class_token(self.trunk)

    @property
    def visual(self) -> nn.Module:
        return self.clip.visual

    @property
    def text(self) -> nn.Module:
        return self.clip.text

    @property
    def from_timm(self) -> bool:
        """Whether the image tower is one of timm's."""
        return isinstance(self.visual, TimmModel)

    @property
    def trunk(self) -> nn.Module:
        return self.visual.trunk if self.from_timm else self.visual

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        keep_statistics(self)
        return self

    def encode_image(self, images: Tensor) -> Tensor:
        """Images B 3 H W to all tokens in the joint space, not normalised: B M D."""
        if not self.from_timm:
            return encode_clip(self.visual, images)
        tokens, head = tokens_of(self.trunk, images), self.trunk.head
        return self.visual.head(head(tokens) if isinstance(head, nn.Linear | nn.Identity) else head.fc(tokens))

    def image_layers(self) -> Layers:
        return layers_of(self.trunk, self.visual) if self.from_timm else clip_layers(self.visual)

    def added(self) -> list[nn.Parameter]:
        """Weights that no file holds: none."""
        return []

    def unreached(self) -> list[nn.Parameter]:
        """Temperature and bias of the pretraining's loss."""
        scales = (self.clip.logit_scale, self.clip.logit_bias)
        return [scale for scale in scales if scale is not None]

    def caption_tokenizer(self) -> CaptionTokenizer:
        """The architecture's own: CLIP's byte pairs, or one with files of its own."""
        if "hf_tokenizer_name" not in self.text_cfg:
            return CaptionTokenizer(self.context_length)
        return HubTokenizer(self.context_length, self.text_cfg, self.tokenizer, self.arch)

    def load_pretrained(self) -> None:
        """Fill the towers with the weights named at construction.

        Raises:
            UserError: the file or tag is not there or does not fit; the message says what to do.
        """
        if self.weights is None:
            return
        path = find_clip(self.arch, self.weights)
        tensors = read_clip(path, self.text.token_embedding.weight, self.arch, self.quick_gelu)
        if "positional_embedding" in tensors:  # in CLIP's layout, whose text tower has no name of its own
            tensors = convert_to_custom_text_state_dict(tensors)
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(POOLING)}
        if self.from_timm:
            resample_patches(tensors, "visual.trunk.patch_embed.proj.weight", self.trunk)
            resample_positions(tensors, "visual.trunk.pos_embed", self.trunk, self.trained_at.grid)
        else:
            tensors = resample(tensors, self.visual, self.trained_at)
        fit(self.clip, tensors, path, self.arch)
