"""Every tower the study names: built, counted, and loaded from every kind of weights file."""

import json

import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from core import summary
from core.checkpoint import load_model, save_model
from core.config import ConfigError
from core.experiment import load
from core.model.timm_tower import TimmTower
from core.model.towers import ClipImageTower, ClipTowers, read_architecture
from core.model.weights import find_clip, read_clip
from core.train import build_model

SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
}


def counted(capsys, row, *arguments) -> dict:
    summary.main([row, "--json", *arguments])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("model", "total", "frozen", "decoder"),
    [
        ("clip4str_b", 158_256_319, 44_402_689, 4_317_791),
        ("clip4str_l", 446_861_247, 80_795_905, 9_622_367),  # 80.5 M without [CLASS] and positions, as Table II counts
        ("clip4str_h", 1_020_157_631, 126_580_225, 17_024_095),
    ],
)
def test_the_three_published_sizes(capsys, model, total, frozen, decoder):
    found = counted(capsys, f"ablations/models/{model}.gin", "--scale", "paper")
    assert (found["total"], found["frozen"]) == (total, frozen)
    assert found["parts"]["visual decoder"]["total"] == found["parts"]["cross decoder"]["total"] == decoder


@pytest.mark.parametrize(
    ("row", "learnable"),
    [
        ("frozen", 0),
        ("clip-adapter", 262_144),
        ("lst-r4", 4_096_134),
        ("lst-r2", 13_105_926),
        ("fine-tune", 86_040_576),
    ],
)
def test_the_published_adaptations(capsys, row, learnable):
    found = counted(capsys, f"ablations/table_VIII/{row}.gin", "--scale", "paper")
    assert found["encoders_trainable"] == learnable and found["parts"]["cross decoder"]["total"] == 0


@pytest.mark.parametrize("name", sorted(path.stem for path in summary.config.ROOT.glob("ablations/backbones/*.gin")))
def test_every_backbone_builds(name, tmp_path):
    """On the meta device, at the size of its scale; the tag exists in the library that would fetch it."""
    scale = "micro" if name.startswith("micro") else "paper"
    alone = name.startswith(("vit_", "deit_", "in21k_", "micro_classes", "micro_vit"))
    includes = ["base.gin", *["variants/visual.gin"] * alone, f"backbones/{name}.gin"]
    row = tmp_path / "row.gin"
    row.write_text("".join(f"include 'ablations/{part}'\n" for part in includes))
    bindings = ["PATCH_SIZE = (8, 8)"] if name == "micro_vit_s" else []
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
    for path in summary.config.ROOT.glob("ablations/backbones/clip_*.gin"):
        values = dict(line.split(" = ") for line in path.read_text().splitlines() if " = " in line)
        arch, tag = values["ARCH"].strip("'"), values["WEIGHTS"].strip("'")
        quick = open_clip.get_pretrained_cfg(arch, tag).get("quick_gelu", False)
        assert quick == read_architecture(arch).get("quick_gelu", False), path
        half = open_clip.get_pretrained_cfg(arch, tag)["mean"] == (0.5, 0.5, 0.5)
        assert half == ("NORMALISATION = 'half'" in path.read_text()), path


@pytest.mark.parametrize(
    ("arch", "weights", "other"), [("ViT-B-16", "openai", "ViT-B-16-quickgelu"), ("ViT-H-14", "dfn5b", "ViT-H-14-quickgelu")]
)
def test_a_tag_of_another_activation_is_refused(arch, weights, other):
    with pytest.raises(ValueError, match=f"were trained with another activation: use ARCH = '{other}'"):
        find_clip(arch, weights)


def test_a_projection_that_no_file_holds_learns_at_the_scratch_rate():
    loaded = load("ablations/table_VII/imagenet-1k.gin", "paper")
    groups = {group["name"]: group["params"] for group in loaded.experiment.optimisation.groups(loaded.blueprint)}
    projection = loaded.blueprint.towers.proj.weight
    assert any(projection is parameter for parameter in groups["scratch, decayed"])
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
        ("DEVICE_BATCH = 0", "Optimisation.device_batch = 0 is not positive"),
    ],
)
def test_values_of_another_kind_are_named(binding, message):
    with pytest.raises(ConfigError, match=message):
        load("ablations/table_V/cross.gin", "smoke", [binding])


class Archive(torch.nn.Module):
    """A module with a given state and nothing to compute, to be written as a TorchScript archive."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            *parents, leaf = name.split(".")
            module = self
            for parent in parents:
                if not hasattr(module, parent):
                    module.add_module(parent, torch.nn.Module())
                module = getattr(module, parent)
            module.register_buffer(leaf, tensor)

    def forward(self, x):
        return x


def write_weights(kind, tensors, folder):
    path = folder / f"clip.{'pt' if kind == 'jit' else kind}"
    if kind == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    elif kind == "pt":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}, "epoch": 3}, path)
    elif kind == "bin":
        torch.save(tensors, path)
    else:
        halves = {name: tensor.half() for name, tensor in tensors.items()}
        extra = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
        torch.jit.save(torch.jit.trace(Archive({**halves, **extra}), torch.zeros(1)), path)
    return path


@pytest.mark.parametrize("kind", ["safetensors", "pt", "bin", "jit"])
def test_weights_of_every_kind_load(kind, tmp_path):
    torch.manual_seed(0)
    source = open_clip.CLIP(**SMALL).state_dict()
    path = write_weights(kind, source, tmp_path)
    for towers in (ClipTowers(SMALL, str(path), (32, 32), None, 8), ClipImageTower(SMALL, str(path), (32, 32), None)):
        towers.load_pretrained()
        for name, tensor in towers.visual.state_dict().items():
            torch.testing.assert_close(tensor, source[f"visual.{name}"], atol=1e-3, rtol=1e-3)


def test_positions_and_patches_are_resampled(tmp_path):
    torch.manual_seed(0)
    source = open_clip.CLIP(**SMALL)
    path = write_weights("safetensors", source.state_dict(), tmp_path)
    towers = ClipImageTower(SMALL, str(path), (16, 64), (4, 8))
    towers.load_pretrained()
    assert towers.visual.grid_size == (4, 8) and towers.encode_image(torch.zeros(1, 3, 16, 64)).shape == (1, 33, 32)
    old = source.visual.positional_embedding.detach()
    new = towers.visual.positional_embedding.detach()
    torch.testing.assert_close(new[0], old[0])
    rows = old[1:].unflatten(0, (4, 4)).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(rows, (4, 8), mode="bicubic", antialias=True)[0].permute(1, 2, 0).flatten(0, 1)
    torch.testing.assert_close(new[1:], expected)
    flat = ClipImageTower(SMALL, str(path), (32, 32), (8, 8))
    flat.load_pretrained()
    torch.testing.assert_close(flat.visual.conv1.weight, source.visual.conv1.weight)


def test_other_weights_are_refused_with_the_tensor(tmp_path):
    wider = {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "width": 96}}
    path = write_weights("safetensors", open_clip.CLIP(**wider).state_dict(), tmp_path)
    with pytest.raises(ValueError, match=r"visual.class_embedding: the model has \(64,\), the file \(96,\)"):
        ClipTowers(SMALL, str(path), (32, 32), None, 8).load_pretrained()
    finer = {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "patch_size": 4}}  # as ViT-B/16 beside ViT-B/32
    path = write_weights("pt", open_clip.CLIP(**finer).state_dict(), tmp_path)
    with pytest.raises(ValueError, match=r"visual.conv1.weight: the model has \(64, 3, 8, 8\), the file \(64, 3, 4, 4\)"):
        ClipImageTower(SMALL, str(path), (32, 32), None).load_pretrained()
    (tmp_path / "cut.bin").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cut.bin cannot be read as weights, it is damaged or of another kind"):
        read_clip(tmp_path / "cut.bin", None)


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


def offline(*_, **__):
    raise ConnectionError("no route to host")


def test_a_tag_without_a_network_says_which_file_to_place(monkeypatch):
    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    with torch.device("meta"):
        openai = ClipImageTower("ViT-B-16-quickgelu", "openai", (224, 224), None)
        dfn = ClipImageTower("ViT-H-14-quickgelu", "dfn5b", (224, 224), None)
        deit = TimmTower("deit_base_patch16_224", "fb_in1k", (224, 224), None, True, 512)
    with pytest.raises(ValueError, match=r"could not be downloaded .*fetch https://.*ViT-B-16.pt; place it .* WEIGHTS macro"):
        openai.load_pretrained()
    with pytest.raises(ValueError, match=r"fetch open_clip_model.safetensors of apple/DFN5B-CLIP-ViT-H-14 on"):
        dfn.load_pretrained()
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"fetch model.safetensors of timm/deit_base_patch16_224.fb_in1k on"):
        deit.load_pretrained()
    deit.weights = "in22k"
    with pytest.raises(ValueError, match="timm has no weights 'in22k' for deit_base_patch16_224; it has: fb_in1k"):
        deit.load_pretrained()


def test_timm_towers_load_files_of_another_size(tmp_path):
    torch.manual_seed(0)
    source = timm.create_model("vit_tiny_patch16_224")
    torch.save(source.state_dict(), tmp_path / "tiny.pth")
    tower = TimmTower("vit_tiny_patch16_224", str(tmp_path / "tiny.pth"), (32, 128), None, True, 64)
    tower.load_pretrained()
    assert tower.encode_image(torch.zeros(2, 3, 32, 128)).shape == (2, 1 + 2 * 8, 64)
    torch.testing.assert_close(tower.vit.blocks[3].mlp.fc1.weight, source.blocks[3].mlp.fc1.weight)
    same = TimmTower("vit_tiny_patch16_224", str(tmp_path / "tiny.pth"), (224, 224), None, True, None)
    same.load_pretrained()
    images = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(same.eval().encode_image(images), source.eval().forward_features(images))
    with pytest.raises(ValueError, match="tiny.pth does not fit vit_small_patch16_224 or is damaged: .*192"):
        TimmTower("vit_small_patch16_224", str(tmp_path / "tiny.pth"), (224, 224), None, True, None).load_pretrained()


def test_parseqs_encoder_has_no_class_token():
    tower = TimmTower("vit_small_patch16_224", None, (32, 128), (4, 8), False, None)
    assert tower.encode_image(torch.zeros(1, 3, 32, 128)).shape == (1, 128, 384)
    with pytest.raises(ValueError, match=r"image_size \(32, 130\)|timm cannot build"):
        TimmTower("vit_small_patch16_224", None, (32, 130), (4, 8), False, None)
    with pytest.raises(ValueError, match="timm cannot build 'vit_smal'"):
        TimmTower("vit_smal", None, (32, 128), None, True, None)
    with pytest.raises(ValueError, match="vit_base_patch16_reg4_gap_256 of timm is no plain ViT: it also has vit.reg_token"):
        TimmTower("vit_base_patch16_reg4_gap_256", None, (32, 128), None, True, None)
    with pytest.raises(ValueError, match="timm cannot build .resnet18. as a ViT"):
        TimmTower("resnet18", None, (32, 128), None, True, None)


def test_a_text_tower_that_is_not_there_is_not_frozen():
    with pytest.raises(ConfigError, match="TEXT_FROZEN = 0.5: .*clip.json is used without a text tower; set it to None"):
        load("ablations/table_V/recipe.gin", "smoke", ["TEXT_FROZEN = 0.5"])
    with pytest.raises(ConfigError, match="OUTPUT = 'cross', but the model has the visual branch alone"):
        load("ablations/table_V/recipe.gin", "smoke", ["OUTPUT = 'cross'"])


def test_a_frozen_projection_that_no_file_holds_is_saved(tmp_path):
    """CLIP-Adapter on a frozen timm tower: the file holds adapter, decoder and the tower's random projection."""
    torch.manual_seed(0)
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "tiny.pth")
    text = (summary.config.ROOT / "ablations/backbones/deit_b16.gin").read_text().replace("deit_base_", "vit_tiny_")
    text = text.replace("'fb_in1k'", f"'{tmp_path}/tiny.pth'") + "IMAGE_SIZE = (32, 64)\n"
    (tmp_path / "tiny.gin").write_text(text)
    ours = [f"ablations/{name}.gin" for name in ("base", "variants/visual", "adapters/clip_adapter")]
    includes = [*ours, tmp_path / "tiny.gin"]
    (tmp_path / "row.gin").write_text("".join(f"include '{path}'\n" for path in includes))
    loaded = load(tmp_path / "row.gin", "smoke")
    model = build_model(loaded, 0)
    save_model(model, loaded.training, {}, tmp_path)
    assert "towers.proj.weight" in load_file(tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 32, 64)
    torch.testing.assert_close(load_model(tmp_path).predict(images).visual, model.eval().predict(images).visual)
