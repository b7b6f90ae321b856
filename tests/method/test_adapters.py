"""Adapters: where they start, what they move, what they keep, how they are saved."""

import json

import pytest
import torch
from safetensors.torch import load_file

from adapters.clip_adapter import ClipAdapter
from adapters.injection import LinearAttention
from adapters.ladder import LadderSideTuning
from adapters.lora import Lora
from core.bench import __main__ as bench
from core.bench.memory import kept_for_backward
from core.errors import ConfigError
from core.experiment.experiment import load
from core.model.permutations import sample_permutations
from core.model.timm_tower import TimmTower
from core.model.towers import ClipImageTower
from core.train.run import build_model
from core.weights.checkpoint import load_model, save_model
from tests.support.checkout import MICRO_SIZE

ROWS = ("clip-adapter", "lst-r4", "lst-r2", "lora", "dora", "ia3", "vera", "bitfit", "layer-norm")
BESIDE = ("clip-adapter", "lst-r4", "lst-r2")  # the gradient stays out of the tower
WORDS = ["cat", "Table", "no!"]


def images(count=3):
    return torch.randn(count, 3, *MICRO_SIZE, generator=torch.Generator().manual_seed(1))


def read(row, *bindings):
    return load(f"ablations/table_VIII/{row}.gin", "smoke", bindings)


def build(row):
    return build_model(read(row), 0)


def step(model):
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model.losses(images(), WORDS, sample_permutations(5, 2, True, torch.Generator())).total.backward()
    optimiser.step()


@pytest.mark.parametrize("row", ROWS)
def test_only_what_is_trained_moves(row):
    model = build(row)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    step(model)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved <= trained
    image_side = {name for name in trained if not name.startswith("visual_decoder")}
    assert image_side & moved and image_side == {name for name in trained if name.startswith(("adapter.", "towers."))}


@pytest.mark.parametrize("row", ["lora", "dora", "ia3", "vera", "bitfit", "layer-norm"])
def test_adapters_in_the_tower_start_as_the_tower(row):
    frozen, adapted = build("frozen").eval(), build(row).eval()
    torch.testing.assert_close(adapted.image_memory(images()), frozen.image_memory(images()), atol=1e-5, rtol=1e-4)


def test_clip_adapter_is_the_published_one():
    towers = build("frozen").towers
    adapter = ClipAdapter(towers, 2, 0.2)
    tokens = towers.encode_image(images())
    torch.testing.assert_close(ClipAdapter(towers, 2, 0.0)(towers, images()), tokens)
    mixed = 0.2 * torch.relu(adapter.up(torch.relu(adapter.down(tokens)))) + 0.8 * tokens
    torch.testing.assert_close(adapter(towers, images()), mixed)


def test_the_ladder_starts_as_the_pruned_tower():
    towers = build("frozen").towers
    ladder = LadderSideTuning(towers, 4, 2, 0.1)
    visual = towers.visual
    kept = ladder.down[0].weight.argmax(1)
    assert len(kept) == 32 and torch.equal(ladder.down[0].weight.sum(1), torch.ones(32))
    for tap, small in zip((1, 3), ladder.blocks, strict=True):
        block = visual.transformer.resblocks[tap]
        torch.testing.assert_close(small.ln_1.weight, block.ln_1.weight[kept])
        strength = block.mlp.c_fc.weight.abs().sum(1) + block.mlp.c_proj.weight.abs().sum(0)
        hidden = strength.topk(128).indices.sort().values
        torch.testing.assert_close(small.mlp.c_fc.weight, block.mlp.c_fc.weight[hidden][:, kept])
        torch.testing.assert_close(small.mlp.c_proj.weight, block.mlp.c_proj.weight[kept][:, hidden])
        assert small.attn.num_heads == block.attn.num_heads
        rows = {tuple(row.tolist()) for row in block.attn.in_proj_weight[:, kept].detach()}
        assert all(tuple(row.tolist()) in rows for row in small.attn.in_proj_weight.detach())
    tapped, output = ladder.climb(visual, images())
    torch.testing.assert_close(output, towers.encode_image(images()))
    side = ladder.blocks[0](tapped[0][..., kept])
    side = ladder.blocks[1](0.5 * tapped[1][..., kept] + 0.5 * side)
    wide = torch.zeros(*side.shape[:2], 128)
    wide[..., kept] = side
    expected = 0.5 * output + 0.5 * (visual.ln_post(wide) @ visual.proj)
    torch.testing.assert_close(ladder(towers, images()), expected)


def test_a_ladder_of_the_whole_width_is_the_tower():
    """Nothing pruned, no taps mixed in: the side network computes what the tower does from there."""
    towers = build("frozen").towers
    ladder = LadderSideTuning(towers, 1, 4, 0.1)
    tapped, output = ladder.climb(towers.visual, images())
    torch.testing.assert_close(ladder(towers, images()), output, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("row", BESIDE)
def test_nothing_of_a_frozen_tower_waits_for_a_backward_pass(row):
    model, full = build(row), build("fine-tune")
    side = kept_for_backward(model, lambda: model.image_memory(images()))
    whole = kept_for_backward(full, lambda: full.image_memory(images()))
    assert kept_for_backward(model, lambda: model.towers.encode_image(images())) == 0
    assert 0 < side < 0.6 * whole


def test_linear_attention_is_torchs():
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    torch.nn.init.normal_(theirs.in_proj_bias)
    tokens = torch.randn(2, 5, 32)
    ours, _ = LinearAttention(theirs)(tokens, tokens, tokens, need_weights=False, attn_mask=None)
    torch.testing.assert_close(ours, theirs(tokens, tokens, tokens, need_weights=False)[0])


@pytest.mark.parametrize("row", ["lst-r4", "lora", "vera", "bitfit"])
def test_a_file_holds_what_was_trained_and_loads_on_top(row, tmp_path):
    loaded = read(row)
    model = build(row)
    step(model)
    save_model(model, loaded.training, {}, tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names == trained
    again = load_model(tmp_path)
    torch.testing.assert_close(again.predict(images()).visual, model.eval().predict(images()).visual)


def test_an_adapter_does_not_load_on_another_backbone(tmp_path, monkeypatch):
    model = build("bitfit")
    save_model(model, read("bitfit").training, {}, tmp_path)
    monkeypatch.setattr("core.weights.checkpoint.file_digest", lambda path: "another")
    with pytest.raises(ValueError, match="adapts ablations/micro/clip.safetensors, which is no longer the file it was"):
        load_model(tmp_path)


def test_vera_does_not_load_where_its_projections_come_out_otherwise(tmp_path):
    model, loaded = build("vera"), read("vera")
    save_model(model, loaded.training, {}, tmp_path)
    description = tmp_path / "model.json"
    description.write_text(description.read_text().replace("Vera.seed = 0", "Vera.seed = 1"))
    with pytest.raises(ValueError, match="fixed tensors drawn from a seed .* come out otherwise than in training"):
        load_model(tmp_path)


def test_scales_are_not_decayed():
    """peft keeps IA3's scales as matrices of one row: decay would pull them from 1 to 0."""
    groups = read("ia3").experiment.optimisation.groups(model := build("ia3"))
    scales = {id(p) for name, p in model.named_parameters() if "ia3_l" in name}
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert scales and not scales & decayed


def test_the_bench_measures_what_an_adapter_saves(capsys):
    bench.main(["memory", "ablations/table_VIII/lst-r4.gin", "ablations/table_VIII/fine-tune.gin", "--threads", "1", "--json"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ratios = {line["name"]: line["ratio"]["median"] for line in found if line["details"]["row"] == "lst-r4"}
    assert ratios["kept, image"] < 0.6 and ratios["gradients, moments"] < 1 < ratios["weights"] and ratios["peak"] > 0
    assert {line["ratio"]["median"] for line in found if line["details"]["row"] == "fine-tune"} == {1}


def test_without_pretrained_weights_everything_is_saved():
    model = read("bitfit", "WEIGHTS = None").experiment.model(load_weights=False)
    assert set(model.kept_tensors()) == set(model.state_dict())


def test_added_weights_learn_at_the_rate_that_their_row_says_and_tower_weights_at_theirs():
    expected = {"lora": ("towers.", "scratch"), "lst-r4": ("adapter.", "towers"), "bitfit": ("towers.", "towers")}
    for row, (prefix, group) in expected.items():
        loaded = read(row)
        model = build(row)
        groups = loaded.experiment.optimisation.groups(model)
        wanted = {id(p) for name, p in model.named_parameters() if p.requires_grad and name.startswith(prefix)}
        found = {id(p) for entry in groups if entry["name"].startswith(group) for p in entry["params"]}
        assert wanted and wanted <= found


@pytest.mark.parametrize(
    ("row", "binding", "message"),
    [
        (
            "lora",
            "lora.Lora.targets = ('qkv',)",
            "Lora.targets: .*clip.json has no layer 'qkv'; it has c_fc, c_proj, k",
        ),
        ("lora", "lora.Lora.rank = 0", "Lora.rank = 0 is below 1"),
        ("lora", "IMAGE_FROZEN = 0.5", "Lora adapts a frozen image tower: set IMAGE_FROZEN = 1.0"),
        ("lst-r4", "LADDER_REDUCTION = 3", "LadderSideTuning.reduction = 3 does not divide the 32 channels of a head"),
        ("lst-r4", "ladder.LadderSideTuning.every = 3", "every = 3 does not divide the tower's 4 blocks"),
        ("clip-adapter", "clip_adapter.ClipAdapter.ratio = 2", "ClipAdapter.ratio = 2.0: a share lies in"),
        ("clip-adapter", "clip_adapter.ClipAdapter.reduction = 5", "adapter width 96 is not a multiple of its reduction 5"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(row, binding, message):
    with pytest.raises(ConfigError, match=message):
        read(row, binding)


def test_a_tower_without_the_layers_is_refused():
    with torch.device("meta"):
        timm = TimmTower("vit_tiny_patch16_224", None, (32, 128), None, True, None).requires_grad_(False)
        clip = ClipImageTower("ablations/micro/clip.json", None, MICRO_SIZE, None)
    with pytest.raises(ValueError, match="knows the layers of CLIP's image tower; vit_tiny_patch16_224 has none of them"):
        LadderSideTuning(timm, 4, 2, 0.1)
    with pytest.raises(ValueError, match="LadderSideTuning adapts a frozen image tower: set IMAGE_FROZEN = 1.0"):
        LadderSideTuning(clip, 4, 2, 0.1)


def test_a_target_is_a_linear_layer_and_no_patch_embedding_of_that_name():
    timm = TimmTower("vit_tiny_patch16_224", None, (32, 128), None, True, None, sizes={"depth": 1}).requires_grad_(False)
    Lora(timm, 2, 2.0, ["qkv", "proj"], decomposed=False)
    assert {name.split(".lora")[0] for name, weight in timm.named_parameters() if weight.requires_grad} == {
        "vit.blocks.0.attn.qkv",
        "vit.blocks.0.attn.proj",
    }


@pytest.mark.parametrize("adapter", ["", "clip_adapter", "lora"])
def test_a_random_projection_learns_whatever_is_frozen(adapter, tmp_path):
    row, knobs = tmp_path / "row.gin", ["timm_tower.TimmTower.sizes = {'embed_dim': 48, 'depth': 2, 'num_heads': 2}"]
    includes = ["pretraining/mae.gin", *[f"adapters/{adapter}.gin"] * bool(adapter)]
    row.write_text("".join(f"include 'ablations/{include}'\n" for include in includes))
    knobs += {"": ["IMAGE_FROZEN = 1.0"], "lora": ["lora.Lora.targets = ('qkv',)"]}.get(adapter, [])
    model = build_model(load(row, "smoke", knobs), 0)
    step(model)
    assert model.towers.proj.weight.grad.abs().sum() > 0 and "towers.proj.weight" in model.kept_tensors()
    moved = {name for name, parameter in model.towers.named_parameters() if parameter.grad is not None and "lora" not in name}
    assert moved == {"proj.weight"}
