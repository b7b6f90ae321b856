"""What every tower of this study offers, whichever library it comes from.

Towers: `core.model.towers` (CLIP), `core.model.open_clip_towers` (open_clip's other image-text models),
`core.model.timm_tower` (image towers of timm).

B batch, M image tokens, L text tokens, D joint width.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from core.model.captions import CaptionTokenizer
from core.model.freezing import Layers


@runtime_checkable
class Tower(Protocol):
    """An image tower: an nn.Module that returns all its tokens. It is enough for a model with the visual branch alone.

    Attributes:
        arch, weights: what it was built and is loaded from, as gin names them (`weights` None: random); for records and errors.
        image_size: height and width in pixels.
        embed_dim: D, the width of its tokens.
        class_token: whether the first token is [CLASS]; registers follow it, then the patches, row by row.
        trunk: the library's own image model in it, whose layers adapters and START know by their names.
    """

    arch: str | dict
    weights: str | None
    image_size: tuple[int, int]
    embed_dim: int
    class_token: bool
    trunk: nn.Module

    def encode_image(self, images: Tensor) -> Tensor:
        """Images B 3 H W to all tokens, after the last norm and any projection, not normalised: B M D."""

    def image_layers(self) -> Layers:
        """Every weight of the image tower once, from the input up, for freezing."""

    def text_layers(self) -> Layers | None:
        """The same of the text tower; None where there is none."""

    def added(self) -> list[nn.Parameter]:
        """Weights that no file holds; they learn at the rate of what is trained from scratch."""

    def unreached(self) -> list[nn.Parameter]:
        """Weights that no loss of this study depends on."""

    def load_pretrained(self) -> None:
        """Fill the tower with `weights`, resampled to `image_size`.

        Raises:
            UserError: the file or tag is not there or does not fit; one line that says what to do.
        """


@runtime_checkable
class ImageTextTowers(Tower, Protocol):
    """An image and a text tower that were trained together, as the cross-modal branch needs them.

    Attributes:
        context_length: L, the positions of a caption.
        text_width: width of the token embeddings.
    """

    context_length: int
    text_width: int

    def caption_tokenizer(self) -> CaptionTokenizer:
        """The tokenizer that the text tower was trained with, for captions of `context_length`."""

    def embed_text(self, ids: Tensor) -> Tensor:
        """The token embeddings alone: ids B L to B L text_width."""

    def encode_text(self, ids: Tensor) -> Tensor:
        """All positions, after the last norm and the text projection: ids B L to B L D."""

    def caption_ends(self, ids: Tensor) -> Tensor:
        """The position of each caption that the model pools ([EOS] in CLIP): ids B L to B."""
