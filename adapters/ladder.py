"""Ladder Side-Tuning (Sung et al.; section V-D, Fig. 5 right): a narrow network beside a frozen tower.

Every second block of the tower gets a side block of 1/r of its width, pruned from it. A side block reads the mixture
of the one before it and the tower's own features, brought down to its width. No gradient enters the tower.

B batch, M tokens, W the tower's width, S = W / r the ladder's, D joint width.
"""

import copy

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from adapters.backbone import open_clip_visual, require_frozen
from core.model.attention import SelfAttention
from core.model.towers import embed_patches


class Gate(nn.Module):
    """w a + (1 - w) b with w = sigmoid(alpha / temperature), alpha learned from 0."""

    def __init__(self, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        weight = torch.sigmoid(self.alpha / self.temperature)
        return weight * a + (1 - weight) * b


class LadderSideTuning(nn.Module):
    """The ladder: down-projections, side blocks, gates, one up-projection, its own copies of ln_post and projection.

    The ladder starts as CLIP pruned: the residual channels, the channels of every head and the hidden units with the
    largest L1 norm are kept, projections select them, and a gate mixes CLIP's own output in.

    Args:
        towers: CLIP's image tower; frozen.
        reduction: r, 4 (4,096,134 parameters beside ViT-B/16) or 2 (13,105,926) in the paper.
        every: blocks of the tower per side block; 2 in the paper (layers 2, 4, ... 12).
        temperature: temperature of the gates, 0.1.

    Raises:
        ValueError: the tower is not frozen or not CLIP's, or its sizes do not divide.
    """

    def __init__(self, towers: nn.Module, reduction: int, every: int, temperature: float):
        super().__init__()
        visual = open_clip_visual(towers, "LadderSideTuning")
        require_frozen(towers, "LadderSideTuning")
        blocks = visual.transformer.resblocks
        width = visual.conv1.out_channels
        channels = width // blocks[0].attn.num_heads
        if reduction < 1 or channels % reduction:
            raise ValueError(f"LadderSideTuning.reduction = {reduction} does not divide the {channels} channels of a head")
        if every < 1 or len(blocks) % every:
            raise ValueError(f"LadderSideTuning.every = {every} does not divide the tower's {len(blocks)} blocks")
        self.taps = list(range(every - 1, len(blocks), every))  # blocks whose inputs are tapped, from 0
        kept = strongest(residual_norms(visual), width // reduction)
        self.down = nn.ModuleList(selection(width, kept) for _ in self.taps)
        self.blocks = nn.ModuleList(prune(blocks[tap], kept, reduction) for tap in self.taps)
        self.gates = nn.ModuleList(Gate(temperature) for _ in self.taps[1:])
        self.up = nn.Linear(width // reduction, width, bias=False)
        self.up.weight.data.copy_(self.down[0].weight.T)
        self.ln_post = copy.deepcopy(visual.ln_post)
        self.proj = nn.Parameter(visual.proj.detach().clone())
        self.last_gate = Gate(temperature)
        self.requires_grad_(True)

    def forward(self, towers: nn.Module, images: Tensor) -> Tensor:
        tapped, output = self.climb(towers.visual, images)
        side = self.blocks[0](self.down[0](tapped[0]))  # B M S
        for tap, down, gate, block in zip(tapped[1:], self.down[1:], self.gates, self.blocks[1:], strict=True):
            side = block(gate(down(tap), side))
        return self.last_gate(output, self.ln_post(self.up(side)) @ self.proj)  # B M D

    @torch.no_grad()
    def climb(self, visual: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The inputs of the tapped blocks (B M W each) and the tower's own output B M D, without a graph."""
        tokens, tapped = embed_patches(visual, images), []
        for number, block in enumerate(visual.transformer.resblocks):
            if number in self.taps:
                tapped.append(tokens)
            tokens = block(tokens)
        return tapped, visual.ln_post(tokens) @ visual.proj


def strongest(norms: Tensor, count: int) -> Tensor:
    """Indices of the largest norms, in order."""
    return norms.topk(count).indices.sort().values


def residual_norms(visual: nn.Module) -> Tensor:
    """L1 norm of everything in the blocks that reads or writes each residual channel: W."""
    norms = torch.zeros_like(visual.class_embedding)
    for block in visual.transformer.resblocks:
        readers = (block.attn.in_proj_weight, block.mlp.c_fc.weight)
        writers = (block.attn.out_proj.weight, block.mlp.c_proj.weight)
        norms = norms + sum(weight.detach().abs().sum(0) for weight in readers)
        norms = norms + sum(weight.detach().abs().sum(1) for weight in writers)
    return norms


def selection(width: int, kept: Tensor) -> nn.Linear:
    """A projection that starts by picking the kept channels."""
    linear = nn.Linear(width, len(kept), bias=False)
    linear.weight.data.copy_(torch.eye(width, device=kept.device)[kept])
    return linear


def prune(block: nn.Module, kept: Tensor, reduction: int) -> nn.Module:
    """A block of 1/reduction of the width: the given residual channels, and the strongest of each head and of the MLP."""
    attn, heads = block.attn, block.attn.num_heads
    queries, keys, values = attn.in_proj_weight.detach().chunk(3)  # W W each
    scores = (queries.abs() + keys.abs()).sum(1), values.abs().sum(1) + attn.out_proj.weight.detach().abs().sum(0)
    shared, read = (strongest_of_heads(score, heads, reduction) for score in scores)
    hidden_norms = block.mlp.c_fc.weight.detach().abs().sum(1) + block.mlp.c_proj.weight.detach().abs().sum(0)
    hidden = strongest(hidden_norms, len(hidden_norms) // reduction)
    width = len(queries)
    projected = torch.cat([shared, width + shared, 2 * width + read])
    ratio = len(hidden_norms) / width
    small = ResidualAttentionBlock(len(kept), heads, mlp_ratio=ratio, act_layer=type(block.mlp.gelu))
    for norm, source in ((small.ln_1, block.ln_1), (small.ln_2, block.ln_2)):
        norm.weight.data.copy_(source.weight[kept])
        norm.bias.data.copy_(source.bias[kept])
    small.attn.in_proj_weight.data.copy_(attn.in_proj_weight[projected][:, kept])
    small.attn.in_proj_bias.data.copy_(attn.in_proj_bias[projected])
    copy_linear(small.attn.out_proj, attn.out_proj, kept, read)
    copy_linear(small.mlp.c_fc, block.mlp.c_fc, hidden, kept)
    copy_linear(small.mlp.c_proj, block.mlp.c_proj, kept, hidden)
    small.attn = SelfAttention(small.attn)
    return small


def strongest_of_heads(norms: Tensor, heads: int, reduction: int) -> Tensor:
    """The same number of channels of every head: W to W / reduction indices."""
    by_head = norms.unflatten(0, (heads, -1))  # heads channels
    chosen = by_head.topk(by_head.shape[1] // reduction).indices.sort().values
    return (chosen + by_head.shape[1] * torch.arange(heads, device=norms.device)[:, None]).flatten()


def copy_linear(small: nn.Linear, source: nn.Linear, rows: Tensor, columns: Tensor) -> None:
    small.weight.data.copy_(source.weight[rows][:, columns])
    small.bias.data.copy_(source.bias[rows])
