"""What adapters compute once their weights have moved, against sums written out here; where the ladder's weights come from."""

import json
import math

import pytest
import torch
from torch import nn

from adapters.ia3 import Ia3
from adapters.ladder import Gate, LadderSideTuning
from adapters.lora import Lora
from adapters.partial import BitFit
from core.model.towers import ClipImageTower
from tests.support.checkout import MICRO_SIZE, ROOT

ARCH = "ablations/micro/clip.json"
WIDTH, HEADS, CHANNELS, REDUCTION = 128, 4, 32, 4


def frozen(arch: str = ARCH) -> ClipImageTower:
    torch.manual_seed(3)
    return ClipImageTower(arch, None, MICRO_SIZE, None).requires_grad_(False).eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *MICRO_SIZE, generator=torch.Generator().manual_seed(1))


def largest(norms: list[float], count: int) -> list[int]:
    """Places of the largest numbers, in order."""
    return sorted(sorted(range(len(norms)), key=lambda place: -norms[place])[:count])


def test_a_gate_mixes_by_the_sigmoid_of_alpha_over_its_temperature():
    gate = Gate(0.1)
    gate.alpha.data.fill_(0.1 * math.log(3))  # a weight of 3 / (3 + 1)
    assert gate(torch.tensor(4.0), torch.tensor(0.0)).item() == pytest.approx(3)
    assert gate(torch.tensor(0.0), torch.tensor(4.0)).item() == pytest.approx(1)


def test_the_ladder_keeps_the_strongest_channels():
    """By the absolute values of all that reads or writes them: residual channels of all blocks, others of every head."""
    towers = frozen()
    for block in towers.visual.transformer.resblocks:
        block.attn.out_proj.weight.mul_(torch.rand(WIDTH, 1) * 4)  # or else readers alone would give the same order
    blocks = towers.visual.transformer.resblocks
    ladder = LadderSideTuning(towers, REDUCTION, 2, 0.1)
    norms = [0.0] * WIDTH
    for block in blocks:
        for channel in range(WIDTH):
            norms[channel] += block.attn.in_proj_weight[:, channel].abs().sum().item()
            norms[channel] += block.mlp.c_fc.weight[:, channel].abs().sum().item()
            norms[channel] += block.attn.out_proj.weight[channel].abs().sum().item()
            norms[channel] += block.mlp.c_proj.weight[channel].abs().sum().item()
    kept = largest(norms, WIDTH // REDUCTION)
    assert ladder.down[0].weight.argmax(1).tolist() == kept
    for tap, small in zip((1, 3), ladder.blocks, strict=True):
        weight, bias, out = (getattr(blocks[tap].attn, name) for name in ("in_proj_weight", "in_proj_bias", "out_proj"))
        shared, read = [], []
        for head in range(HEADS):
            places = range(head * CHANNELS, (head + 1) * CHANNELS)
            scored = [(weight[i].abs().sum() + weight[WIDTH + i].abs().sum()).item() for i in places]
            valued = [(weight[2 * WIDTH + i].abs().sum() + out.weight[:, i].abs().sum()).item() for i in places]
            shared += [places[i] for i in largest(scored, CHANNELS // REDUCTION)]
            read += [places[i] for i in largest(valued, CHANNELS // REDUCTION)]
        assert shared != read
        rows = [*shared, *(WIDTH + i for i in shared), *(2 * WIDTH + i for i in read)]
        assert torch.equal(small.attn.in_proj_weight, weight[rows][:, kept])
        assert torch.equal(small.attn.in_proj_bias, bias[rows])
        assert torch.equal(small.attn.out_proj.weight, out.weight[kept][:, read])
        assert torch.equal(small.attn.out_proj.bias, out.bias[kept])


def test_a_ladder_has_its_towers_activation(tmp_path):
    """Nothing pruned, no taps mixed in: what it computes is the tower, of OpenAI's QuickGELU too."""
    arch = json.loads((ROOT / ARCH).read_text()) | {"quick_gelu": True}
    (tmp_path / "quick.json").write_text(json.dumps(arch))
    towers = frozen(str(tmp_path / "quick.json"))
    ladder = LadderSideTuning(towers, 1, 4, 0.1)
    expected = towers.encode_image(images())
    ladder.last_gate.alpha.data.fill_(-1e3)  # the ladder's own output alone
    torch.testing.assert_close(ladder(towers, images()), expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(frozen().encode_image(images()), expected, atol=1e-3)


def test_the_ladder_mixes_the_tower_in_as_its_gates_say():
    towers = frozen()
    ladder = LadderSideTuning(towers, REDUCTION, 2, 0.1)
    ladder.gates[0].alpha.data.fill_(0.1 * math.log(3))
    tapped, output = ladder.climb(towers.visual, images())
    side = ladder.blocks[0](ladder.down[0](tapped[0]))
    side = ladder.blocks[1](0.75 * ladder.down[1](tapped[1]) + 0.25 * side)
    expected = 0.5 * output + 0.5 * (ladder.ln_post(ladder.up(side)) @ ladder.proj)
    torch.testing.assert_close(ladder(towers, images()), expected)


@pytest.mark.parametrize(("rank", "alpha"), [(1, 3), (2, 6)])
def test_lora_adds_its_scaled_update(rank, alpha):
    """alpha / rank = 3 times B A x."""
    towers = frozen()
    Lora(towers, rank=rank, alpha=alpha, targets=["c_fc"], decomposed=False)
    layer, x = towers.visual.transformer.resblocks[1].mlp.c_fc, torch.randn(5, WIDTH)
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(up)
    torch.testing.assert_close(layer(x), layer.base_layer(x) + 3 * x @ down.T @ up.T, atol=1e-4, rtol=1e-4)


def test_dora_also_learns_the_norm_of_every_output():
    counts = []
    for decomposed in (False, True):
        towers = frozen()
        Lora(towers, rank=2, alpha=6, targets=["q_proj", "c_fc"], decomposed=decomposed)
        counts.append(sum(weight.numel() for weight in towers.parameters() if weight.requires_grad))
    assert counts[1] - counts[0] == 4 * (WIDTH + 4 * WIDTH)


def test_ia3_scales_keys_values_and_hidden_units():
    towers = frozen()
    Ia3(towers, ["k_proj", "v_proj"], ["c_proj"])
    block = towers.visual.transformer.resblocks[2]
    for layer, inner in ((block.attn.k_proj, False), (block.attn.v_proj, False), (block.mlp.c_proj, True)):
        scale = layer.ia3_l["default"].data.flatten()
        assert len(scale) == (4 * WIDTH if inner else WIDTH)
        scale.copy_(torch.rand(len(scale)) + 0.5)
        x = torch.randn(5, layer.base_layer.in_features)
        expected = layer.base_layer(x * scale) if inner else layer.base_layer(x) * scale
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-4)


def test_bitfit_trains_every_bias():
    towers = frozen()
    BitFit(towers)
    trained = {name for name, weight in towers.named_parameters() if weight.requires_grad}
    assert trained == {name for name, _ in towers.named_parameters() if name.endswith("bias")}
    assert {name.rsplit(".", 1)[1] for name in trained} == {"bias", "in_proj_bias"}
