"""Image towers of timm for models with only a visual branch (Tables V and VII, and ablations/pretraining).

B batch, M image tokens ([CLASS] first, where there is one), D width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import timm
from safetensors.torch import load_file
from torch import Tensor, nn

from core.errors import UnsafeFile, UserError
from core.files import in_repository
from core.model.freezing import Layers
from core.model.timm_trunk import family_of, has_class_token, keep_statistics, layers_of, stride_of, tokens_of, weights_for
from core.model.towers import check_patches
from core.weights.hub import is_on_hub
from core.weights.pickles import read_tensors
from core.weights.pretrained import PLACE, existing, fetch_weights, first_difference

SIZES = {"depth", "depths", "dims", "embed_dim", "embed_dims", "layers", "mlp_ratio", "num_heads", "stages"}  # and no weights
HUB_NAMES = ["model.safetensors", "pytorch_model.bin"]  # timm's, on the Hugging Face hub


class TimmTower(nn.Module):
    """An image model of timm, all tokens after its last norm, projected where the decoders are of another width.

    Args:
        arch: a timm model name without its tag, e.g. "deit_base_patch16_224", of a family of `core.model.timm_trunk`.
        weights: the tag ("fb_in1k"), the path of a weights file in the same layout, or None for random weights.
        image_size: height and width in pixels; position embeddings are resampled to it when weights are loaded.
        patch_size: height and width of a patch; None for the architecture's own.
        class_token: whether there is a [CLASS] token before the patches.
        embed_dim: D; None for the architecture's own width, without a projection.
        sizes: arguments of timm's builder in place of the architecture's, such as {'depth': 4, 'embed_dim': 128}, or None.

    Raises:
        UserError: timm has no such model, its family has no token map, or a size does not fit it.
    """

    def __init__(
        self,
        arch: str,
        weights: str | None,
        image_size: tuple[int, int],
        patch_size: tuple[int, int] | None,
        class_token: bool,
        embed_dim: int | None,
        sizes: Mapping[str, object] | None = None,
    ):
        super().__init__()
        self.arch, self.weights, self.image_size = arch, weights, tuple(image_size)
        self.patch_size, self.class_token, self.sizes = patch_size, class_token, dict(sizes or {})
        if other := sorted(self.sizes.keys() - SIZES):
            raise UserError(f"TimmTower.sizes: {other[0]!r} is not one of {', '.join(sorted(SIZES))}")
        try:
            self.vit = self.create()
        except UserError:
            raise
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"timm cannot build {arch!r} at image size {self.image_size}: {detail_of(error)}") from error
        check_patches(self.image_size, stride_of(self.vit), arch)
        width = self.vit.num_features
        self.embed_dim: int = embed_dim or width
        self.proj = nn.Identity() if self.embed_dim == width else nn.Linear(width, self.embed_dim, bias=False)
        keep_statistics(self)

    def create(self) -> nn.Module:
        """The model with random weights, without its classifier and pooling.

        Raises:
            UserError: its family cannot be built with these settings.
        """
        family, arch = family_of(self.arch), self.arch
        if family.class_token is not None and self.class_token != family.class_token:
            has = "always has a" if family.class_token else "has no"
            raise UserError(f"TimmTower.class_token = {self.class_token}: {arch} {has} [CLASS] token; say {family.class_token}")
        if self.patch_size is not None and not family.patches:
            raise UserError(f"PATCH_SIZE = {self.patch_size}: {arch} has no patches of a size to choose; set it to None")
        settings = dict(self.sizes)
        if family.sized:
            settings["img_size"] = self.image_size
        if family.class_token is not False:  # a ViT, which pools [CLASS] or nothing
            settings["global_pool"] = "token" if self.class_token else ""
        if family.class_token is None:
            settings["class_token"] = self.class_token
        if self.patch_size is not None:
            settings["patch_size"] = self.patch_size
        model = timm.create_model(arch, num_classes=0, **settings)
        if has_class_token(model) != self.class_token:
            raise UserError(
                f"TimmTower.class_token = {self.class_token}: {arch} is built otherwise; say {not self.class_token}"
            )
        return model

    @property
    def trunk(self) -> nn.Module:
        return self.vit

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        keep_statistics(self)
        return self

    def encode_image(self, images: Tensor) -> Tensor:
        """Images B 3 H W to all tokens: B M D."""
        return self.proj(tokens_of(self.vit, images))

    def image_layers(self) -> Layers:
        """[CLASS], registers and positions; the blocks; patch embedding, norms, projection and whatever else there is."""
        return layers_of(self.vit, self)

    def added(self) -> list[nn.Parameter]:
        """Weights that no file holds: the projection."""
        return list(self.proj.parameters())

    def unreached(self) -> list[nn.Parameter]:
        """Weights that no loss depends on: none."""
        return []

    def text_layers(self) -> None:
        """None: this tower has no text tower beside it."""

    def load_pretrained(self) -> None:
        """Fill the model with the weights named at construction.

        Raises:
            UnsafeFile: reading the file would run something.
            UserError: the file or tag is not there or does not fit; the message says what to do.
        """
        if self.weights is None:
            return
        path = in_repository(self.weights)
        path = self.download() if is_on_hub(self.weights) or not path.suffix else existing(path, self.weights)
        try:
            if path.suffix == ".npz":
                self.vit.load_pretrained(str(path))  # of JAX, in a layout of its own
                return
            tensors = load_file(path) if path.suffix == ".safetensors" else read_tensors(path)
            tensors = weights_for(self.vit, self.arch, tensors)
        except UnsafeFile:
            raise
        except Exception as error:  # a wrong or damaged file makes the loaders raise nearly anything
            raise UserError(f"{path} does not fit {self.arch} or is damaged: {detail_of(error)}") from error
        if different := first_difference(self.vit.state_dict(), tensors):
            raise UserError(f"{path} does not fit {self.arch}: {different}")
        self.vit.load_state_dict(tensors)

    def download(self) -> Path:
        """The file that a tag, or a repository of the hub, stands for, downloaded once, where there is a network."""
        if is_on_hub(self.weights):
            return fetch_weights(self.weights, HUB_NAMES, f"weights {self.weights!r}")
        name = f"{self.arch}.{self.weights}"
        if name not in timm.list_pretrained(f"{self.arch}.*"):
            known = [full.split(".", 1)[1] for full in timm.list_pretrained(f"{self.arch}.*")]
            raise UserError(f"timm has no weights {self.weights!r} for {self.arch}; it has: {', '.join(known) or 'none'}")
        entry = timm.get_pretrained_cfg(name)
        if not entry.hf_hub_id:
            raise UserError(f"weights {self.weights!r} of {self.arch} are not on the hub: fetch {entry.url}; {PLACE}")
        names = [entry.hf_hub_filename] if entry.hf_hub_filename else HUB_NAMES
        return fetch_weights(entry.hf_hub_id, names, f"weights {self.weights!r} of {self.arch}")


def detail_of(error: Exception) -> str:
    """The first line of a library's message, or the kind of error where it has none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
