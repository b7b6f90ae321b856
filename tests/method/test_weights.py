"""Weights of towers: every kind of file, every way not to fit."""

import huggingface_hub
import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from core.errors import UserError
from core.experiment.experiment import load
from core.files import ROOT
from core.model.timm_tower import TimmTower
from core.model.towers import ClipImageTower, ClipTowers
from core.train.run import build_model
from core.weights.checkpoint import load_model, save_model
from core.weights.pickles import read_pickle, read_tensors
from core.weights.pretrained import find_clip, read_clip
from core.weights.tensor_file import save_tensors

SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
}


@pytest.mark.parametrize(
    ("arch", "weights", "other"), [("ViT-B-16", "openai", "ViT-B-16-quickgelu"), ("ViT-H-14", "dfn5b", "ViT-H-14-quickgelu")]
)
def test_a_tag_of_another_activation_is_refused(arch, weights, other):
    with pytest.raises(ValueError, match=f"were trained with another activation: use ARCH = '{other}'"):
        find_clip(arch, weights)


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
    small = {**SMALL, "quick_gelu": kind == "jit"}
    source = open_clip.CLIP(**small).state_dict()
    path = write_weights(kind, source, tmp_path)
    for towers in (ClipTowers(small, str(path), (32, 32), None, 8), ClipImageTower(small, str(path), (32, 32), None)):
        towers.load_pretrained()
        for name, tensor in towers.visual.state_dict().items():
            torch.testing.assert_close(tensor, source[f"visual.{name}"], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("tower", [ClipTowers, ClipImageTower])
def test_openais_weights_are_refused_where_the_activation_is_another(tower, tmp_path):
    path = write_weights("jit", open_clip.CLIP(**SMALL).state_dict(), tmp_path)
    positions = (8,) if tower is ClipTowers else ()
    with pytest.raises(ValueError, match=r"clip.pt has OpenAI's format, .* QuickGELU, .* lacks: add \"quick_gelu\": true"):
        tower(SMALL, str(path), (32, 32), None, *positions).load_pretrained()
    with torch.device("meta"):
        named = tower("ViT-B-16", str(path), (224, 224), None, *positions)
    with pytest.raises(ValueError, match="set ARCH = 'ViT-B-16-quickgelu'"):
        named.load_pretrained()


@pytest.mark.parametrize(("named", "revision"), [("hf-hub:me/towers@v2", "v2"), ("hf-hub:me/towers", None)])
def test_a_revision_that_is_named_is_the_one_that_is_loaded(named, revision, tmp_path, monkeypatch):
    asked = []

    def download(repository, name, *, revision=None):
        asked.append((repository, revision))
        (tmp_path / name).write_bytes(b"weights")
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    find_clip("ViT-B-16", named)
    assert asked == [("me/towers", revision)]


def test_averaged_weights_are_taken_where_a_file_has_both(tmp_path):
    """Of the state, as timm does; the others were trained on after the average."""
    states = {name: {"a": torch.full((2,), value)} for name, value in (("model", 0.0), ("model_ema", 1.0))}
    for content, expected in ((states, 1.0), ({**states, "state_dict_ema": {"a": torch.full((2,), 2.0)}}, 2.0)):
        torch.save(content, tmp_path / "both.pth")
        assert read_tensors(tmp_path / "both.pth")["a"].tolist() == [expected] * 2


def test_weights_of_jax_are_read_by_timm(tmp_path):
    (tmp_path / "tiny.npz").write_bytes(b"")
    tower, asked = TimmTower("vit_tiny_patch16_224", str(tmp_path / "tiny.npz"), (32, 128), None, True, None), []
    tower.vit.load_pretrained = asked.append
    tower.load_pretrained()
    assert asked == [str(tmp_path / "tiny.npz")]


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
        read_clip(tmp_path / "cut.bin", None, SMALL, quick_gelu=False)


def offline(*_, **__):
    raise ConnectionError("no route to host")


def test_a_tag_without_a_network_says_which_file_to_place(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with torch.device("meta"):
        openai = ClipImageTower("ViT-B-16-quickgelu", "openai", (224, 224), None)
        dfn = ClipImageTower("ViT-H-14-quickgelu", "dfn5b", (224, 224), None)
        deit = TimmTower("deit_base_patch16_224", "fb_in1k", (224, 224), None, True, 512)
    with pytest.raises(ValueError, match=r"could not be downloaded .*fetch https://.*ViT-B-16.pt; place it .* WEIGHTS macro"):
        openai.load_pretrained()
    with pytest.raises(ValueError, match=r"fetch open_clip_model.safetensors of apple/DFN5B-CLIP-ViT-H-14 on"):
        dfn.load_pretrained()
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
    with pytest.raises(ValueError, match="tiny.pth does not fit vit_small_patch16_224: .*192"):
        TimmTower("vit_small_patch16_224", str(tmp_path / "tiny.pth"), (224, 224), None, True, None).load_pretrained()


def test_a_frozen_projection_that_no_file_holds_is_saved(tmp_path):
    """CLIP-Adapter on a frozen timm tower: the file holds adapter, decoder and the tower's random projection."""
    torch.manual_seed(0)
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "tiny.pth")
    text = (ROOT / "ablations/backbones/deit_b16.gin").read_text().replace("deit_base_", "vit_tiny_")
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


def test_what_is_written_can_be_read_by_others(tmp_path):
    """As the umask says, like any new file; safetensors itself gives files to their owner alone."""
    (tmp_path / "plain").touch()
    save_tensors({"a": torch.ones(2)}, tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_is_no_checkpoint_is_refused_without_advice_to_trust_it(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(
        UserError, match=r"picture.png is not a checkpoint that can be read safely: damaged or foreign"
    ) as error:
        read_pickle(tmp_path / "picture.png")
    assert "weights_only" not in str(error.value)
