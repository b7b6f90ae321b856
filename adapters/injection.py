"""Low-rank and scaling adapters inside the blocks, through peft.

peft adapts linear layers. The towers' attention keeps its input projection as one bare parameter; so the image tower's is
first replaced by an equal one made of linear layers (`LinearAttention`), and every method reaches attention and MLP alike. A
ViT of timm is made of linear layers: qkv, proj, fc1 and fc2.
"""

import peft
import timm
from torch import Tensor, nn

from adapters.backbone import open_clip_visual, require_frozen
from core.model.attention import SelfAttention, attend, split

# Models of timm that call their linear layers; others (Eva, Beit) read the weights of some, past what peft puts in their place.
LINEAR = (timm.models.VisionTransformer,)


class LinearAttention(nn.Module):
    """A tower's attention with a separate linear layer for each projection, so that peft can adapt them."""

    def __init__(self, attention: SelfAttention):
        super().__init__()
        self.num_heads = attention.num_heads
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        self.q_proj, self.k_proj, self.v_proj = (linear_of(*pair) for pair in zip(weights, biases, strict=True))
        self.o_proj = linear_of(attention.out_proj.weight, attention.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *, need_weights: bool, attn_mask: Tensor | None):
        """Tokens B M W to (B M W, None), called as open_clip's blocks call torch's attention."""
        projected = (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        return self.o_proj(attend(*(split(tokens, self.num_heads) for tokens in projected), attn_mask)), None


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A frozen linear layer with these values."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    linear.weight.data.copy_(weight)
    linear.bias.data.copy_(bias)
    return linear.requires_grad_(False)


class Injected(nn.Module):
    """A peft method in the image tower's blocks; its weights live beside the frozen ones they adapt.

    Raises:
        ValueError: the tower is not frozen, neither CLIP's nor a ViT of timm, or has no layer with one of the target names.
    """

    def __init__(self, towers: nn.Module, config: peft.PeftConfig):
        super().__init__()
        method = type(self).__name__
        linear = isinstance(towers.trunk, LINEAR)
        visual = towers.trunk if linear else open_clip_visual(towers, method)
        require_frozen(towers, method)
        for block in () if linear else visual.transformer.resblocks:
            block.attn = LinearAttention(block.attn)
        known = sorted({name.split(".")[-1] for name, module in visual.named_modules() if isinstance(module, nn.Linear)})
        missing = sorted(set(config.target_modules) - set(known))
        if missing:
            raise ValueError(f"{method}.targets: {towers.arch} has no layer {missing[0]!r}; it has {', '.join(known)}")
        config.target_modules = [  # whole names: peft would also take the patch embedding, a convolution, for a `proj`
            name
            for name, module in visual.named_modules()
            if isinstance(module, nn.Linear) and name.split(".")[-1] in config.target_modules
        ]
        peft.get_peft_model(visual, config)  # changes the tower in place

    def forward(self, towers: nn.Module, images: Tensor) -> Tensor:
        return towers.encode_image(images)
