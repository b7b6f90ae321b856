import pytest
import torch
import torch.nn.functional as F

from core.figures.explain import attention_rollout, class_attention, grad_cam, tower_record
from core.model.towers import ClipImageTower
from tests.support.checkout import MICRO_GRID, MICRO_SIZE

SHAPES = {"micro": ((16, 64), (16, 4), (1, 16)), "paper": ((224, 224), (32, 32), (7, 7))}


def thin(image_size, patch_size, layers=2):
    """An image tower of the right shape, 16 wide, with random weights."""
    vision = {"image_size": list(image_size), "patch_size": list(patch_size), "layers": layers, "width": 16, "head_width": 8}
    text = {"context_length": 8, "vocab_size": 64, "width": 8, "heads": 1, "layers": 1}
    arch = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    return ClipImageTower(arch, None, image_size, None).eval()


def unit(*shape):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(1)), dim=-1)


@pytest.mark.parametrize("scale", SHAPES)
def test_rollout_shares_sum_to_one(scale):
    image_size, patch_size, grid = SHAPES[scale]
    tower = thin(image_size, patch_size)
    images = torch.randn(3, 3, *image_size)
    rollout = attention_rollout(tower, images)
    assert rollout.shape == (3, 1 + grid[0] * grid[1], 1 + grid[0] * grid[1])
    torch.testing.assert_close(rollout.sum(-1), torch.ones(rollout.shape[:2]))
    assert (rollout >= 0).all()
    heat = class_attention(tower, images)
    assert heat.shape == (3, *grid)
    torch.testing.assert_close(heat[1, -1, -1], rollout[1, 0, -1])


@pytest.mark.parametrize(("layers", "share"), [(1, 1 / 2), (2, 3 / 4), (3, 7 / 8)])
def test_rollout_of_even_attention_is_worked_out_by_hand(layers, share):
    """Where every token attends to all alike, n blocks leave 1/2^n of a token with itself and spread the rest."""
    tower = thin((16, 64), (16, 4), layers)
    for block in tower.visual.transformer.resblocks:
        torch.nn.init.zeros_(block.attn.in_proj_weight)
        torch.nn.init.zeros_(block.attn.in_proj_bias)
    heat = class_attention(tower, torch.randn(1, 3, 16, 64))
    torch.testing.assert_close(heat, torch.full((1, 1, 16), share / 17))


def test_rollout_follows_the_tower_itself():
    """The tokens that rollout walks through are those of the tower: its attention is that of the tower's own pass."""
    tower, images = thin((16, 64), (16, 4)), torch.randn(2, 3, 16, 64)
    block, read = tower.visual.transformer.resblocks[-1], []
    handle = block.attn.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    tower.encode_image(images)
    attention_rollout(tower, images)
    handle.remove()
    assert len(read) == 3  # the tower's pass; for the weights, and to go on
    torch.testing.assert_close(read[0], read[1])


@pytest.mark.parametrize("scale", SHAPES)
def test_grad_cam_is_what_the_equations_say(scale):
    """The weight of a channel is how much the similarity grows, per patch, when the channel grows in every patch."""
    image_size, patch_size, grid = SHAPES[scale]
    tower = thin(image_size, patch_size).double()
    image, text, step = torch.randn(1, 3, *image_size).double(), unit(1, 8).double(), 1e-5
    moves, tokens = step * torch.cat([torch.eye(16), -torch.eye(16)]).double()[:, None], []  # 32 1 16

    def move(_, __, output):
        tokens.append(output)
        return torch.cat([output[:, :1], output[:, 1:] + moves], 1)

    handle = tower.visual.transformer.resblocks[-1].ln_1.register_forward_hook(move)
    with torch.no_grad():
        features = tower.encode_image(image.expand(32, -1, -1, -1))[:, 0]
    handle.remove()
    up, down = (F.normalize(features, dim=-1) @ text[0]).chunk(2)
    weights = (up - down) / (2 * step) / (grid[0] * grid[1])
    expected = (tokens[0][:1, 1:] @ weights).relu().reshape(1, *grid)
    found = grad_cam(tower, image, text)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-10)
    assert found.max() > 0


@pytest.mark.parametrize("place", [0, 5, 15])
def test_grad_cam_finds_the_only_patch_that_is_of_the_text(place):
    """A tower that tells red from blue, a text that means red, one red patch: nothing else is highlighted."""
    tower = thin((16, 64), (16, 4), layers=1)
    visual = tower.visual
    with torch.no_grad():
        visual.positional_embedding.zero_()
        visual.conv1.weight.zero_()
        visual.conv1.weight[0, 0] = visual.conv1.weight[1, 2] = 1.0  # red into one channel, blue into another
        block = visual.transformer.resblocks[0]
        block.attn.in_proj_weight[:32] = 0  # [CLASS] attends to all patches alike
        block.mlp.c_proj.weight.zero_()
    red, blue = torch.zeros(3, 16, 4), torch.zeros(3, 16, 4)
    red[0], blue[2] = 1.0, 1.0
    text = F.normalize(tower.encode_image(torch.cat([red] * 16, -1)[None])[:, 0], dim=-1).detach()
    image = torch.cat([red if column == place else blue for column in range(16)], -1)
    heat = grad_cam(tower, image[None], text)[0, 0]
    assert heat[place] > 0 and heat.count_nonzero() == 1


def test_grad_cam_leaves_the_tower_as_it_was():
    tower, images = thin((16, 64), (16, 4)), torch.randn(2, 3, 16, 64)
    before = grad_cam(tower, images, unit(2, 8))
    tower.requires_grad_(False)
    torch.testing.assert_close(grad_cam(tower, images, unit(2, 8)), before)
    torch.testing.assert_close(grad_cam(tower, images[1:], unit(2, 8)[1:]), before[1:])
    assert all(parameter.grad is None for parameter in tower.parameters())
    assert not tower.visual.transformer.resblocks[-1].ln_1._forward_hooks
    assert not images.requires_grad


def test_the_record_names_the_weights_by_content():
    weights = "ablations/micro/clip.safetensors"
    record = tower_record(ClipImageTower("ablations/micro/clip.json", weights, MICRO_SIZE, None))
    assert record["grid"] == list(MICRO_GRID) and record["weights"] == weights and len(record["digest"]) == 16
    assert tower_record(thin((16, 64), (16, 4)))["digest"] is None
