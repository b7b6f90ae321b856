"""Towers beyond CLIP's: one protocol, token order, the libraries' own outputs, published counts, every way not to fit."""

import huggingface_hub
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from adapters.clip_adapter import ClipAdapter
from adapters.lora import Lora
from adapters.partial import BitFit
from core.errors import ConfigError, UserError
from core.experiment.experiment import MetaDevice, load
from core.model.captions import CaptionTokenizer
from core.model.freezing import Freezing
from core.model.hub_tokenizer import HubTokenizer
from core.model.memory import class_token, eos_token, text_tokens
from core.model.open_clip_towers import OpenClipTowers
from core.model.timm_tower import TimmTower
from core.model.timm_trunk import TIMM_FAMILIES
from core.model.tower_protocols import ImageTextTowers, Tower
from core.model.towers import ClipImageTower, ClipTowers, read_description
from tests.support.small_models import CLIP, hugging_face_clip, tensors_of, write_tokenizer

VIT = {"embed_dim": 48, "depth": 2, "num_heads": 2}
CONVNEXT, HIERA = {"depths": (1, 1, 2, 1), "dims": (8, 8, 16, 24)}, {"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 2, 1)}
TIMM = {  # one small model per family: architecture, sizes, whether it has [CLASS], tokens before the patches, pixels per token
    "vision_transformer": ("vit_base_patch14_reg4_dinov2", VIT, True, 5, 14),
    "deit": ("deit_tiny_patch16_224", VIT, True, 1, 16),
    "eva": ("vit_small_patch16_dinov3", VIT, True, 5, 16),
    "beit": ("beit_base_patch16_224", VIT, True, 1, 16),
    "hiera": ("hiera_tiny_224", HIERA, False, 0, 32),
    "convnext": ("convnext_tiny", CONVNEXT, False, 0, 32),
    "fastvit": ("fastvit_t8", {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128)}, False, 0, 32),
}
MORE = {  # of the same families: masked images with rotary positions, no [CLASS], a stem, one that pools before its last norm
    "eva02": ("eva02_tiny_patch14_224", VIT, True, 1, 14),
    "siglip": ("vit_base_patch16_siglip_224", VIT, False, 0, 16),
    "pe": ("vit_pe_core_tiny_patch16_384", VIT, True, 1, 16),
}
PAIRS = {  # this study's small stand-ins: architecture, image size that its tower takes
    "siglip": (32, 64),
    "eva02_clip": (28, 56),
    "pe_core": (32, 64),
    "mobileclip_b": (32, 64),
    "mobileclip_s1": (64, 128),
}


def pair(name, weights=None, size=None):
    arch = f"ablations/micro/{name}.json"
    return OpenClipTowers(arch, weights, size or PAIRS[name], None, read_description(arch)["text_cfg"]["context_length"], None)


def custom_clip(name):
    """open_clip's own model of an architecture of ours."""
    torch.manual_seed(0)
    config = read_description(f"ablations/micro/{name}.json")
    config.pop("custom_text")
    model = open_clip.CustomTextCLIP(**config).eval()
    for parameter in model.parameters():  # heads of timm begin near zero
        nn.init.normal_(parameter, std=0.05)
    return model


def all_weights(layers):
    return [*layers.embeddings, *(weight for block in layers.blocks for weight in block.parameters()), *layers.rest]


def towers_of_every_class():
    yield ClipTowers(CLIP, None, (32, 32), None, 8), True
    yield ClipImageTower(CLIP, None, (32, 32), None), False
    yield OpenClipTowers({**CLIP, "custom_text": True}, None, (32, 32), None, 8, None), True
    yield from ((pair(name), True) for name in PAIRS)
    for arch, sizes, has_class, _, step in [*TIMM.values(), *MORE.values()]:
        yield TimmTower(arch, None, (2 * step, 4 * step), None, has_class, 32, sizes), False


def test_every_tower_keeps_the_protocol():
    with MetaDevice():
        for tower, has_text in towers_of_every_class():
            assert isinstance(tower, Tower) and isinstance(tower, ImageTextTowers) == has_text, tower.arch
            tokens = tower.encode_image(torch.zeros(2, 3, *tower.image_size))
            assert tokens.shape[::2] == (2, tower.embed_dim) and tokens.shape[1] > 1
            weights = all_weights(tower.image_layers())
            if has_text:
                ids = torch.zeros(3, tower.context_length, dtype=torch.long)
                assert tower.encode_text(ids).shape == (3, tower.context_length, tower.embed_dim)
                assert tower.embed_text(ids).shape == (3, tower.context_length, tower.text_width)
                weights += all_weights(tower.text_layers())
            else:
                assert tower.text_layers() is None
            every = {id(weight) for weight in tower.parameters()}
            assert {id(weight) for weight in weights} == every and len(weights) == len(every), tower.arch
            assert {id(weight) for weight in (*tower.added(), *tower.unreached())} <= every


def test_every_family_has_a_small_model_here():
    assert set(TIMM) == set(TIMM_FAMILIES) - {
        "vision_transformer_hybrid"
    }  # whose only models are large; mobileclip-b builds one


@pytest.mark.parametrize(("arch", "sizes", "has_class", "prefix", "step"), [*TIMM.values(), *MORE.values()])
def test_tokens_come_row_by_row_after_class_and_registers(arch, sizes, has_class, prefix, step):
    """A change of one cell of the image changes its own token most, or second to a neighbour's."""
    torch.manual_seed(0)
    rows, columns = 2, 3 if step != 32 else 4
    tower = TimmTower(arch, None, (rows * step, columns * step), None, has_class, None, sizes).eval()
    images = torch.zeros(1, 3, rows * step, columns * step)
    with torch.no_grad():
        before = tower.encode_image(images)[0]
        assert before.shape == (prefix + rows * columns, tower.embed_dim)
        for row, column in ((0, columns - 1), (1, 0)):
            other = images.clone()
            other[..., row * step + step // 4 : (row + 1) * step - step // 4, column * step + 4 : (column + 1) * step - 4] = 1.0
            moved = (tower.encode_image(other)[0] - before).norm(dim=-1)[prefix:]
            assert row * columns + column in moved.topk(2).indices  # FastViT's large kernels reach the neighbour as well


@pytest.mark.parametrize(("arch", "sizes", "has_class", "prefix", "step"), [*TIMM.values(), *MORE.values()])
def test_files_of_timm_load_with_their_last_norm_at_any_size(arch, sizes, has_class, prefix, step, tmp_path):
    torch.manual_seed(0)
    native = (8 * step, 8 * step)
    sized = {} if step == 32 and arch != "hiera_tiny_224" else {"img_size": native}
    source = timm.create_model(arch, num_classes=5, **sizes, **sized).eval()
    for name, parameter in source.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter)
    save_file(tensors_of(source), tmp_path / "w.safetensors")
    same = TimmTower(arch, str(tmp_path / "w.safetensors"), native, None, has_class, None, sizes).eval()
    same.load_pretrained()
    images = torch.randn(1, 3, *native)
    with torch.no_grad():
        tokens = source.forward_features(images)
        norm = next((norm for norm in (getattr(source, "fc_norm", None), getattr(source.head, "norm", None)) if norm), None)
        tokens = norm(tokens) if norm is not None else tokens
        tokens = tokens.flatten(2).mT if tokens.ndim == 4 else tokens
        torch.testing.assert_close(same.encode_image(images), tokens, atol=1e-4, rtol=1e-4)
    wide = TimmTower(arch, str(tmp_path / "w.safetensors"), (2 * step, 8 * step), None, has_class, None, sizes)
    wide.load_pretrained()
    assert wide.encode_image(torch.zeros(1, 3, 2 * step, 8 * step)).shape[1] == prefix + 2 * 8
    tensors = {name: tensor.contiguous() for name, tensor in source.state_dict().items() if "blocks.0" not in name}
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match=f"less.safetensors does not fit {arch}: .*the file no such tensor"):
        TimmTower(arch, str(tmp_path / "less.safetensors"), native, None, has_class, None, sizes).load_pretrained()


@pytest.mark.parametrize("name", PAIRS)
def test_image_and_text_tokens_are_what_open_clip_pools(name, tmp_path):
    """At another image size than the file's: our resampling on loading is timm's `set_input_size`."""
    clip, size = custom_clip(name), PAIRS[name]
    tensors = tensors_of(clip)
    save_file({key: t[None] if key.startswith("logit") else t for key, t in tensors.items()}, tmp_path / "w.safetensors")
    towers = pair(name, str(tmp_path / "w.safetensors")).eval()
    towers.load_pretrained()
    trunk = clip.visual.trunk
    if hasattr(trunk, "set_input_size"):
        trunk.set_input_size(img_size=size)
    images = torch.randn(2, 3, *size)
    ids = towers.caption_tokenizer()(["word", "some other words"])
    with torch.no_grad():
        tokens = towers.encode_image(images)
        if name in ("eva02_clip", "mobileclip_b"):  # [CLASS]
            found, wanted = tokens[:, 0], clip.encode_image(images)
        elif name == "mobileclip_s1":  # the mean, which the projection commutes with
            found, wanted = tokens.mean(1), clip.encode_image(images)
        elif name == "siglip":  # attention, which is left out
            found, wanted = trunk.attn_pool(tokens), clip.encode_image(images)
        else:
            found, wanted = tokens, trunk.head(trunk.forward_features(images))
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        padded = towers.context_length == clip.context_length
        full = ids if padded else torch.nn.functional.pad(ids, (0, clip.context_length - towers.context_length))
        torch.testing.assert_close(eos_token(towers, ids)[:, 0], clip.encode_text(full), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(text_tokens(towers, ids), towers.encode_text(ids))


def test_a_plain_clip_is_the_same_in_both_classes(tmp_path):
    torch.manual_seed(0)
    save_file(tensors_of(open_clip.CLIP(**CLIP)), tmp_path / "w.safetensors")
    plain = ClipTowers(CLIP, str(tmp_path / "w.safetensors"), (16, 64), (8, 4), 8).eval()
    other = OpenClipTowers(CLIP, str(tmp_path / "w.safetensors"), (16, 64), (8, 4), 8, None).eval()
    images, ids = torch.randn(2, 3, 16, 64), torch.randint(1000, (2, 8))
    for towers in (plain, other):
        towers.load_pretrained()
    torch.testing.assert_close(plain.encode_image(images), other.encode_image(images))
    torch.testing.assert_close(plain.encode_text(ids), other.encode_text(ids))


def test_files_of_hugging_face_load(tmp_path):
    """transformers' own outputs, also where config.json says another activation than the architecture has."""
    torch.manual_seed(0)
    model = hugging_face_clip("gelu")
    model.save_pretrained(tmp_path)
    towers = ClipTowers(CLIP, str(tmp_path / "model.safetensors"), (32, 32), None, 8).eval()
    towers.load_pretrained()
    images, ids = torch.randn(2, 3, 32, 32), torch.tensor([[998, 5, 7, 999, 0, 0, 0, 0], [998, 5, 6, 7, 8, 999, 0, 0]])
    with torch.no_grad():
        theirs = model(input_ids=ids, pixel_values=images)
        ours = [towers.encode_image(images)[:, 0], eos_token(towers, ids)[:, 0]]
    for found, wanted in zip(ours, (theirs.image_embeds, theirs.text_embeds), strict=True):
        torch.testing.assert_close(nn.functional.normalize(found, dim=-1), wanted, atol=1e-5, rtol=1e-4)
    assert towers.clip.logit_scale.item() == model.logit_scale.item()
    with pytest.raises(UserError, match="model.safetensors was trained with gelu .* set ARCH to one without QuickGELU"):
        ClipTowers({**CLIP, "quick_gelu": True}, str(tmp_path / "model.safetensors"), (32, 32), None, 8).load_pretrained()
    for broken in ('{"vision_config": {', "[]", '{"vision_config": [1]}'):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(UserError, match="config.json is not the config.json of a CLIPModel .*; copy it again"):
            towers.load_pretrained()


# Millions of parameters: as published for the whole model, and what is left out of it here (pooling by attention, classifiers).
# SigLIP and SigLIP 2: their model cards (203 M, 375 M). EVA-02-CLIP: Sun et al. 2023 (86 + 63). MobileCLIP: Vasu et al. 2024,
# Table 1 (86.3 + 63.4; 21.5 + 63.4). DINOv3, MAE, BEiT, EVA-02: 86 (the ViT-B of their papers, to whole millions), DINOv2 with
# registers and 37 x 37 positions 86.6. ConvNeXt-B: Liu et al. 2022 (89, with the classifier). Hiera-B: Ryali et al. 2023 (52,
# with the classifier). PE-Core and the image tower of SigLIP 2 alone: not a printed count, but that of open_clip's and timm's.


def test_the_first_blocks_of_a_map_freeze_with_what_brings_it_down():
    tower = TimmTower("convnext_tiny", None, (32, 128), None, False, None, CONVNEXT)
    Freezing(image=0.6, text=None).apply(tower)  # three of five: two whole stages, and the first block of the third
    trained = {name for name, weight in tower.named_parameters() if weight.requires_grad}
    assert not [name for name in trained if name.startswith(("vit.stages.0", "vit.stages.1", "vit.stages.2.downsample"))]
    assert {name.split(".")[2] for name in trained if ".stages." in name} == {"2", "3"} and "vit.head.norm.weight" in trained
    Freezing(image=1.0, text=None).apply(tower)
    assert not any(weight.requires_grad for weight in tower.parameters())


def test_images_of_a_step_do_not_decide_each_others_tokens():
    """No batch statistics, so that DEVICE_BATCH changes nothing and a frozen tower stays as it is."""
    for tower in (TimmTower("fastvit_t8", None, (32, 64), None, False, None, TIMM["fastvit"][1]), pair("mobileclip_s1")):
        images, before = torch.randn(3, 3, *tower.image_size), {name: t.clone() for name, t in tower.train().named_buffers()}
        torch.testing.assert_close(tower.encode_image(images)[:1], tower.encode_image(images[:1]), atol=1e-5, rtol=1e-4)
        assert before and all(torch.equal(before[name], tensor) for name, tensor in tower.named_buffers())


def test_adapters_reach_every_tower_or_say_which_they_know():
    for tower in (pair("siglip"), TimmTower("vit_small_patch16_224", None, (32, 64), None, True, 32, VIT)):
        Freezing(image=1.0, text=None).apply(tower)
        images = torch.randn(1, 3, *tower.image_size)
        before = tower.eval().encode_image(images)
        adapter = ClipAdapter(tower, 2, 0.2)
        torch.testing.assert_close(adapter(tower, images), adapter.mix(before))
        lora = Lora(tower, rank=2, alpha=2, targets=["qkv", "fc1"], decomposed=False)
        torch.testing.assert_close(lora(tower, images), before)
        for name, weight in tower.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight)
        assert not torch.allclose(lora(tower, images), before)
        Freezing(image=1.0, text=None).apply(tower)
        BitFit(tower)
        assert all(name.endswith("bias") for name, weight in tower.trunk.named_parameters() if weight.requires_grad)
    eva = TimmTower("eva02_tiny_patch14_224", None, (28, 56), None, True, None, VIT)
    Freezing(image=1.0, text=None).apply(eva)
    with pytest.raises(ValueError, match="Lora knows the layers of CLIP's image tower; eva02_tiny_patch14_224 has none"):
        Lora(eva, rank=2, alpha=2, targets=["qkv"], decomposed=False)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def own_tokenizer(folder):
    text = {**CLIP["text_cfg"], "hf_tokenizer_name": "me/words", "tokenizer_kwargs": {"clean": "canonicalize"}}
    towers = OpenClipTowers({**CLIP, "text_cfg": {**text, "vocab_size": 70_001}}, None, (32, 32), None, 4, folder)
    return towers, towers.caption_tokenizer()


def test_captions_are_tokenized_as_the_model_was_trained(vocabulary):
    _, tokenizer = own_tokenizer(str(vocabulary))
    captions = ["word", "Other, word", "word", "word word other other word", ""]
    ids = tokenizer(captions)
    assert ids.tolist() == [[3, 1, 0, 0], [70_000, 3, 1, 0], [3, 1, 0, 0], [3, 3, 70_000, 1], [1, 0, 0, 0]]
    assert torch.equal(ids, tokenizer.tokenizer(captions, 4)) and tokenizer.truncated == 1
    assert torch.equal(tokenizer(captions), ids) and tokenizer.truncated == 1  # from the cache
    with MetaDevice():
        assert type(pair("siglip").caption_tokenizer()) is CaptionTokenizer


def test_a_tokenizer_that_is_not_there_is_one_line(vocabulary, tmp_path, monkeypatch):
    nowhere = "OpenClipTowers.tokenizer = 'none/such': there is no such folder"
    for folder, message in (("none/such", nowhere), (str(tmp_path), f"in {tmp_path} cannot be read")):
        with pytest.raises(UserError, match=message) as stop:
            own_tokenizer(folder)[1].prepare()
        assert "hf download me/words" in str(stop.value) and "\n" not in str(stop.value)

    def offline(*_, **__):
        raise OSError("We couldn't connect to the hub\nCheck your internet connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(UserError, match=r"its own tokenizer: me/words .* couldn't connect .*hf download me/words") as stop:
        own_tokenizer(None)[1](["word"])
    assert "\n" not in str(stop.value) and isinstance(own_tokenizer(None)[1], HubTokenizer)
    built = load("ablations/pretraining/siglip2.gin", "paper")  # counted and planned without the vocabulary
    assert built.blueprint.caption_tokenizer.name == "timm/ViT-B-16-SigLIP2"


def test_class_only_needs_a_class_token():
    with MetaDevice(), pytest.raises(UserError, match="memory.class_token: ablations/micro/siglip.json is used without"):
        class_token(pair("siglip"), torch.zeros(1, 4, 96))
    with pytest.raises(ConfigError, match="ViT-B-16-SigLIP is not a ViT CLIP of open_clip's own kind; take open_clip_towers"):
        load("ablations/pretraining/clip.gin", "paper", ["ARCH = 'ViT-B-16-SigLIP'"])
