"""A toy in the layout of the released CLIP4STR checkpoints, and what the authors' code computes from it.

Random weights at toy size - it reads nothing - and logits, strings, loss and gradient norms of the released code in
float32. `golden.npz` keeps those rows of the token embedding that its captions use; the others are zero here.
"""

import json
from pathlib import Path

import numpy as np
import torch

VOCABULARY = 49_408
EMBEDDING = "clip_model.token_embedding.weight"


def unpack(folder: Path) -> Path:
    """Write `released.ckpt` and `expected.npz` into a folder."""
    with np.load(Path(__file__).with_name("golden.npz")) as packed:
        parts = {name: packed[name] for name in packed}
    tensors = {name.split("/", 1)[1]: torch.from_numpy(part) for name, part in parts.items() if name.startswith("state_dict/")}
    used = tensors[EMBEDDING]
    tensors[EMBEDDING] = used.new_zeros(VOCABULARY, used.shape[1])
    tensors[EMBEDDING][torch.from_numpy(parts["rows"])] = used
    settings = json.loads(str(parts["hyper_parameters"]))
    torch.save({"state_dict": tensors, "hyper_parameters": settings}, folder / "released.ckpt")
    np.savez(folder / "expected.npz", **{name.split("/", 1)[1]: part for name, part in parts.items() if "expected/" in name})
    return folder


def random_checkpoint(seed: int, depth: int, ending: float) -> dict:
    """Another toy of the same layout: smaller, of any decoder depth, its words ending sooner the larger `ending` is."""
    chance = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 0.2) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=chance)

    def norm(name: str, width: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": 1 + normal(width), f"{name}.bias": normal(width)}

    def linear(name: str, width: int, out: int, joint: str = "") -> dict[str, torch.Tensor]:
        return {f"{name}{joint or '.'}weight": normal(out, width), f"{name}{joint or '.'}bias": normal(out)}

    def attention(name: str, width: int) -> dict[str, torch.Tensor]:
        return linear(name, width, 3 * width, ".in_proj_") | linear(f"{name}.out_proj", width, width)

    def tower(name: str, width: int) -> dict[str, torch.Tensor]:
        tensors = {}
        for block in (f"{name}.resblocks.{number}" for number in range(2)):
            tensors |= norm(f"{block}.ln_1", width) | norm(f"{block}.ln_2", width) | attention(f"{block}.attn", width)
            tensors |= linear(f"{block}.mlp.c_fc", width, 4 * width) | linear(f"{block}.mlp.c_proj", 4 * width, width)
        return tensors

    def decoder(name: str, width: int) -> dict[str, torch.Tensor]:
        tensors = {f"{name}.pos_queries": normal(1, 26, width, scale=1.0)}
        for layer in (f"{name}.layers.{number}" for number in range(depth)):
            for part in ("norm_q", "norm_c", "norm1", "norm2"):
                tensors |= norm(f"{layer}.{part}", width)
            tensors |= attention(f"{layer}.self_attn", width) | attention(f"{layer}.cross_attn", width)
            tensors |= linear(f"{layer}.linear1", width, 4 * width) | linear(f"{layer}.linear2", 4 * width, width)
        tensors |= {f"{name}.text_embed.embedding.weight": normal(97, width)} | norm(f"{name}.norm", width)
        tensors |= linear(f"{name}.head", width, 95)
        tensors[f"{name}.head.bias"][0] += ending
        return tensors

    visual = "clip_model.visual"
    tensors = {
        f"{visual}.class_embedding": normal(64),
        f"{visual}.positional_embedding": normal(9, 64),
        f"{visual}.proj": normal(64, 32),
        f"{visual}.conv1.weight": normal(64, 3, 8, 16),
        EMBEDDING: normal(VOCABULARY, 64),
        "clip_model.positional_embedding": normal(77, 64),
        "clip_model.text_projection": normal(64, 32),
        "clip_model.logit_scale": torch.tensor(1.0),
    }
    tensors |= norm(f"{visual}.ln_pre", 64) | norm(f"{visual}.ln_post", 64) | tower(f"{visual}.transformer", 64)
    tensors |= norm("clip_model.ln_final", 64) | tower("clip_model.transformer", 64)
    tensors |= decoder("visual_decoder", 32) | decoder("cross_decoder", 32)
    return {"state_dict": tensors, "hyper_parameters": {"img_size": [16, 64], "dec_num_heads": 4}}
