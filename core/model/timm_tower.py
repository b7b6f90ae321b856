"""Image towers of timm for models with only a visual branch: from scratch, or trained to classify (Tables V and VII).

B batch, M image tokens ([CLASS] first, where there is one), D width.
"""

from difflib import get_close_matches

import timm
from torch import Tensor, nn

from core.errors import UnsafeFile, UserError
from core.files import in_repository
from core.model.freezing import Layers
from core.model.towers import check_patches
from core.weights.pickles import read_tensors
from core.weights.pretrained import existing, not_downloaded

VIT_FAMILIES = (timm.models.VisionTransformer, timm.models.Eva)  # plain, with registers; with rotary positions


class TimmTower(nn.Module):
    """A ViT of timm, all tokens after its last norm, projected where the decoders are of another width.

    Args:
        arch: a timm model name without its tag, e.g. "deit_base_patch16_224".
        weights: the tag ("fb_in1k"), the path of a weights file in the same layout, or None for random weights.
        image_size: height and width in pixels; position embeddings are resampled to it when weights are loaded.
        patch_size: height and width of a patch; None for the architecture's own.
        class_token: whether there is a [CLASS] token before the patches.
        embed_dim: D; None for the architecture's own width, without a projection.

    Raises:
        UserError: timm has no such ViT, or a size does not fit it.
    """

    def __init__(
        self,
        arch: str,
        weights: str | None,
        image_size: tuple[int, int],
        patch_size: tuple[int, int] | None,
        class_token: bool,
        embed_dim: int | None,
    ):
        super().__init__()
        self.arch, self.weights, self.image_size = arch, weights, tuple(image_size)
        self.patch_size, self.class_token = patch_size, class_token
        try:
            self.vit = self.create()
        except (AssertionError, RuntimeError, TypeError) as error:
            near = ", ".join(get_close_matches(arch, timm.list_models(), 6)) or "none"
            raise UserError(f"timm cannot build {arch!r} as a ViT ({error}); near it: {near}") from error
        if not isinstance(self.vit, VIT_FAMILIES):
            raise UserError(f"{arch} of timm is not a ViT but a {type(self.vit).__name__}")
        check_patches(self.image_size, self.vit.patch_embed.patch_size, arch)
        width = self.vit.embed_dim
        self.embed_dim: int = embed_dim or width
        self.proj = nn.Identity() if self.embed_dim == width else nn.Linear(width, self.embed_dim, bias=False)

    def create(self, tag: str | None = None, source: dict | None = None) -> nn.Module:
        """The ViT, with random weights, those of a tag, or those of a `source`, as timm's configuration names one."""
        return timm.create_model(
            f"{self.arch}.{tag}" if tag else self.arch,
            pretrained=bool(tag or source),
            pretrained_cfg_overlay=source,
            img_size=self.image_size,
            num_classes=0,
            class_token=self.class_token,
            global_pool="token" if self.class_token else "",
            **({"patch_size": self.patch_size} if self.patch_size else {}),
        )

    def encode_image(self, images: Tensor) -> Tensor:
        """Images B 3 H W to all tokens: B M D."""
        return self.proj(self.vit.forward_features(images))

    def image_layers(self) -> Layers:
        """[CLASS], registers and positions; the blocks; patch embedding, norms, projection and whatever else there is."""
        embeddings, blocks = list(self.vit.parameters(recurse=False)), list(self.vit.blocks)
        known = {id(parameter) for parameter in (*embeddings, *self.vit.blocks.parameters())}
        return Layers(embeddings, blocks, [parameter for parameter in self.parameters() if id(parameter) not in known])

    def added(self) -> list[nn.Parameter]:
        """Weights that no file holds: the projection."""
        return list(self.proj.parameters())

    def unreached(self) -> list[nn.Parameter]:
        """Weights that no loss depends on: none."""
        return []

    def text_layers(self) -> None:
        """None: this tower has no text tower beside it."""

    def load_pretrained(self) -> None:
        """Fill the ViT with the weights named at construction.

        Raises:
            UnsafeFile: reading the file would run something.
            UserError: the file or tag is not there or does not fit; the message says what to do.
        """
        if self.weights is None:
            return
        if in_repository(self.weights).suffix:
            path = existing(in_repository(self.weights), self.weights)
            try:
                arrays = path.suffix in (".safetensors", ".npz")  # which timm reads without unpickling
                loaded = self.create(source={"file": str(path)} if arrays else {"state_dict": read_tensors(path)})
            except UnsafeFile:
                raise
            except Exception as error:  # a wrong or damaged file makes the loaders raise nearly anything
                raise UserError(f"{path} does not fit {self.arch} or is damaged: {detail_of(error)}") from error
        else:
            loaded = self.download()
        self.vit.load_state_dict(loaded.state_dict())

    def download(self) -> nn.Module:
        name = f"{self.arch}.{self.weights}"
        if name not in timm.list_pretrained(f"{self.arch}.*"):
            known = [full.split(".", 1)[1] for full in timm.list_pretrained(f"{self.arch}.*")]
            raise UserError(f"timm has no weights {self.weights!r} for {self.arch}; it has: {', '.join(known) or 'none'}")
        try:
            return self.create(tag=self.weights)
        except RuntimeError as error:
            raise UserError(f"weights {self.weights!r} do not fit {self.arch} as built: {detail_of(error)}") from error
        except Exception as error:  # the hub client raises many kinds, all of them mean: not here
            source = f"model.safetensors of timm/{name} on the Hugging Face hub"
            raise UserError(not_downloaded(f"weights {self.weights!r} of {self.arch}", source, error)) from error


def detail_of(error: Exception) -> str:
    """The line of a loader's message that names the tensor."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[1] if lines[0].startswith("Error(s) in loading") and len(lines) > 1 else lines[0]
