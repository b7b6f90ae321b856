"""Every tower the study names: built, counted, and loaded from every kind of weights file."""

import json

import open_clip
import pytest
import timm
import torch

from core.errors import ConfigError
from core.experiment import summary
from core.experiment.experiment import load
from core.files import ROOT
from core.model.freezing import Freezing
from core.model.timm_tower import TimmTower
from core.model.towers import ClipTowers, read_architecture


def counted(capsys, row, *arguments) -> dict:
    summary.main([row, "--json", *arguments])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("model", "total", "frozen", "decoder"),
    [
        ("clip4str-b", 158_256_319, 44_250_625, 4_317_791),
        ("clip4str-l", 446_861_247, 80_531_713, 9_622_367),
        ("clip4str-h", 1_020_157_631, 126_249_985, 17_024_095),
    ],
)
def test_the_three_published_sizes(capsys, model, total, frozen, decoder):
    found = counted(capsys, f"ablations/table_II/{model}.gin", "--scale", "paper")
    assert (found["total"], found["frozen"]) == (total, frozen)
    assert found["parts"]["visual decoder"]["total"] == found["parts"]["cross decoder"]["total"] == decoder


@pytest.mark.parametrize(
    ("row", "learnable"),
    [
        ("frozen", 0),
        ("clip-adapter", 262_144),
        ("lst-r4", 4_096_134),
        ("lst-r2", 13_105_926),
        ("fine-tune", 86_192_640),
    ],
)
def test_the_published_adaptations(capsys, row, learnable):
    found = counted(capsys, f"ablations/table_VIII/{row}.gin", "--scale", "paper")
    assert found["encoders_trainable"] == learnable and found["parts"]["cross decoder"]["total"] == 0


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOT.glob("ablations/backbones/*.gin")))
def test_every_backbone_builds(name, tmp_path):
    """On the meta device, at the size of its scale; the tag exists in the library that would fetch it."""
    scale = name.partition("_")[0] if name.startswith(("micro_", "small_")) else "paper"
    text = (ROOT / f"ablations/backbones/{name}.gin").read_text()
    alone = "import timm_tower" in text or name.partition("_")[2].startswith(("classes", "vit")) and scale != "paper"
    includes = ["base.gin", *["variants/visual.gin"] * alone, f"backbones/{name}.gin"]
    row = tmp_path / "row.gin"
    row.write_text("".join(f"include 'ablations/{part}'\n" for part in includes))
    bindings = ["PATCH_SIZE = (8, 8)"] if name in ("micro_vit_s", "small_vit_s") else []
    bindings += ["IMAGE_SIZE = (32, 128)", "PATCH_SIZE = (4, 8)"] if name == "vit_s_4x8" else []
    model = load(row, scale, bindings).blueprint
    towers = model.towers
    if scale == "paper" and towers.weights:
        if isinstance(towers, TimmTower):
            assert f"{towers.arch}.{towers.weights}" in timm.list_pretrained()
        else:
            assert open_clip.get_pretrained_cfg(towers.arch, towers.weights)
    assert model.visual_decoder.embed_dim == towers.embed_dim


@pytest.mark.parametrize(("arch", "activation"), [("ViT-B-16-quickgelu", "QuickGELU"), ("ViT-B-16", "GELU")])
def test_the_activation_is_the_towers_own(arch, activation):
    with torch.device("meta"):
        towers = ClipTowers(arch, None, (224, 224), None, 16)
    assert type(towers.visual.transformer.resblocks[0].mlp.gelu).__name__ == activation


def test_the_tags_activation_is_the_architectures():
    """open_clip knows which tags were trained with QuickGELU; our backbone files agree with it."""
    for path in ROOT.glob("ablations/backbones/clip_*.gin"):
        values = dict(line.split(" = ") for line in path.read_text().splitlines() if " = " in line)
        arch, tag = values["ARCH"].strip("'"), values["WEIGHTS"].strip("'")
        quick = open_clip.get_pretrained_cfg(arch, tag).get("quick_gelu", False)
        assert quick == read_architecture(arch).get("quick_gelu", False), path
        half = open_clip.get_pretrained_cfg(arch, tag)["mean"] == (0.5, 0.5, 0.5)
        assert half == ("NORMALISATION = 'half'" in path.read_text()), path


def test_a_projection_that_no_file_holds_learns_at_the_scratch_rate():
    loaded = load("ablations/table_VII/imagenet-1k.gin", "paper")
    groups = {group["name"]: group["params"] for group in loaded.experiment.optimisation.groups(loaded.blueprint)}
    projection = loaded.blueprint.towers.proj.weight
    assert any(projection is parameter for parameter in groups["scratch, decayed"])
    assert any(loaded.blueprint.towers.vit.cls_token is parameter for parameter in groups["towers, not decayed"])
    assert any(loaded.blueprint.towers.vit.patch_embed.proj.weight is parameter for parameter in groups["towers, decayed"])


def test_both_branches_take_another_patch_size():
    model = load("ablations/table_V/cross.gin", "smoke", ["PATCH_SIZE = (8, 8)"]).blueprint
    assert model.towers.visual.grid_size == (2, 8)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("IMAGE_SIZE = 224", "IMAGE_SIZE = 224: expected height and width"),
        ("IMAGE_SIZE = (16, 64, 3)", "IMAGE_SIZE = .* expected height and width"),
        ("PATCH_SIZE = 8", "PATCH_SIZE = 8: expected height and width"),
        ("PATCH_SIZE = (0, 8)", "is not a multiple of the patch size"),
        ("IMAGE_FROZEN = 'half'", "IMAGE_FROZEN = 'half': a fraction of the blocks"),
        ("PERMUTATIONS = 2.5", "PERMUTATIONS .* = 2.5: expected a whole number"),
        ("REFINE_STEPS = 1.5", "REFINE_STEPS = 1.5: expected a whole number"),
        ("DECODER_HEADS = 0", "decoder width 96 is not a multiple of its 0 heads"),
        ("DEVICE_BATCH = 0", "DEVICE_BATCH = 0 is not positive"),
    ],
)
def test_values_of_another_kind_are_named(binding, message):
    with pytest.raises(ConfigError, match=message):
        load("ablations/table_V/cross.gin", "smoke", [binding])


@pytest.mark.parametrize(
    ("arch", "size", "message"),
    [
        ("RN50", (224, 224), "RN50 is not a ViT CLIP"),
        ("ViT-B-16", (224, 220), r"image_size \(224, 220\) is not a multiple of the patch size \(16, 16\) of ViT-B-16"),
        ("ViT-Q-16", (224, 224), "open_clip knows no architecture 'ViT-Q-16'; near it: .*ViT"),
        ("ablations/none.json", (224, 224), "architecture file ablations/none.json does not exist"),
    ],
)
def test_what_is_no_tower_is_refused(arch, size, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        ClipTowers(arch, None, size, None, 16)


def test_parseqs_encoder_has_no_class_token():
    tower = TimmTower("vit_small_patch16_224", None, (32, 128), (4, 8), False, None)
    assert tower.encode_image(torch.zeros(1, 3, 32, 128)).shape == (1, 128, 384)
    with pytest.raises(ValueError, match=r"image_size \(32, 130\)|timm cannot build"):
        TimmTower("vit_small_patch16_224", None, (32, 130), (4, 8), False, None)
    with pytest.raises(ValueError, match="timm cannot build 'vit_smal'"):
        TimmTower("vit_smal", None, (32, 128), None, True, None)
    with pytest.raises(ValueError, match="class_token = True: convnext_atto has no .CLASS. token; say False"):
        TimmTower("convnext_atto", None, (32, 128), None, True, None)
    with pytest.raises(ValueError, match="resnet18 of timm is one of its resnet models; towers come from beit, convnext, "):
        TimmTower("resnet18", None, (32, 128), None, True, None)


@pytest.mark.parametrize(
    ("arch", "class_token", "prefix"),
    [
        ("vit_small_patch14_reg4_dinov2", True, 5),
        ("vit_base_patch16_reg4_gap_256", True, 5),
        ("vit_base_patch16_siglip_224", False, 0),
        ("eva02_tiny_patch14_224", True, 1),
        ("vit_small_patch16_dinov3", True, 5),
    ],
)
def test_registers_and_rotary_positions(arch, class_token, prefix):
    """[CLASS] and registers come first; every parameter is in one group, and freezing starts at the input."""
    with torch.device("meta"):
        tower = TimmTower(arch, None, (32, 128), (4, 8), class_token, None)
        assert tower.encode_image(torch.zeros(1, 3, 32, 128)).shape == (1, prefix + 128, tower.embed_dim)
    embeddings, blocks, rest = tower.image_layers()
    grouped = [*embeddings, *(p for block in blocks for p in block.parameters()), *rest]
    assert {id(parameter) for parameter in grouped} == {id(parameter) for parameter in tower.parameters()}
    assert len(grouped) == len(list(tower.parameters())) and len(blocks) == 12
    Freezing(image=0.5, text=None).apply(tower)
    trained = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    assert {int(name.split(".")[2]) for name in trained if ".blocks." in name} == set(range(6, 12))
    assert "vit.patch_embed.proj.weight" in trained and "vit.cls_token" not in trained and "vit.reg_token" not in trained


def test_a_text_tower_that_is_not_there_is_not_frozen():
    with pytest.raises(ConfigError, match="TEXT_FROZEN = 0.5: .*clip.json is used without a text tower; set it to None"):
        load("ablations/table_V/recipe.gin", "smoke", ["TEXT_FROZEN = 0.5"])
    with pytest.raises(ConfigError, match="OUTPUT = 'cross', but the model has the visual branch alone"):
        load("ablations/table_V/recipe.gin", "smoke", ["OUTPUT = 'cross'"])
