"""Models that no tower can be made of, each refused in one line."""

import pytest

from core.errors import UserError
from core.experiment.experiment import MetaDevice
from core.model.open_clip_towers import OpenClipTowers
from core.model.timm_tower import TimmTower
from tests.support.small_models import CLIP


def test_an_architecture_runs_nothing_and_fetches_nothing():
    """model.json may be anyone's, and an architecture is part of it."""
    kwargs = {"hf_tokenizer_name": "me/words", "tokenizer_kwargs": {"trust_remote_code": True}}
    towers = OpenClipTowers({**CLIP, "text_cfg": {**CLIP["text_cfg"], **kwargs}}, None, (32, 32), None, 8, None)
    with pytest.raises(UserError, match="tokenizer_kwargs: 'trust_remote_code' is not one of clean, strip_sep_token"):
        towers.caption_tokenizer().prepare()
    vision = {"timm_model_name": "hf-hub:me/model", "timm_model_pretrained": True}
    with pytest.raises(UserError, match="timm cannot build 'hf-hub:me/model': it has no such model"):
        OpenClipTowers({**CLIP, "vision_cfg": vision}, None, (32, 32), None, 8, None)
    with pytest.raises(UserError, match="TimmTower.sizes: 'pretrained' is not one of depth, "):
        TimmTower("test_vit", None, (32, 32), None, True, None, {"pretrained": True})


@pytest.mark.parametrize(
    ("arch", "length", "message"),
    [
        ("RN50", 16, "RN50 has no patch tokens"),
        ("coca_ViT-B-32", 16, "coca_ViT-B-32: its text tower is not open_clip's own"),
        ("roberta-ViT-B-32", 16, "its text tower is not open_clip's own; name a model whose text_cfg has no hf_model_name"),
        ("swin_base_patch4_window7_224", 16, "is one of its swin_transformer models; towers come from beit, convnext"),
        ("ViT-B-16-SigLIP", 16, "attends to all of its 64 text positions, padding too; set CONTEXT_LENGTH = 64"),
        ("EVA02-B-16", 80, "has 77 text positions"),
        ("ViT-B-16-SigLIP3", 64, "open_clip knows no architecture 'ViT-B-16-SigLIP3'; near it: .*ViT-B-16-SigLIP2"),
    ],
)
def test_models_without_tokens_are_refused_by_name(arch, length, message):
    with MetaDevice(), pytest.raises(UserError, match=message):
        OpenClipTowers(arch, None, (224, 224), None, length, None)


@pytest.mark.parametrize(
    ("arch", "has_class", "patch", "size", "message"),
    [
        ("resnet18", False, None, (32, 64), "resnet18 of timm is one of its resnet models"),
        ("hiera_tiny_224", True, None, (32, 64), "class_token = True: hiera_tiny_224 has no .CLASS. token; say False"),
        ("beit_base_patch16_224", False, None, (32, 64), "beit_base_patch16_224 always has a .CLASS. token; say True"),
        ("convnext_tiny", False, (8, 8), (32, 64), r"PATCH_SIZE = \(8, 8\): convnext_tiny has no patches of a size to choose"),
        ("convnext_tiny", False, None, (16, 64), r"image_size \(16, 64\) is not a multiple of .* \(32, 32\) of convnext_tiny"),
        ("vit_smal", True, None, (32, 64), "timm cannot build 'vit_smal': .* near it: "),
    ],
)
def test_image_models_that_cannot_be_towers(arch, has_class, patch, size, message):
    with MetaDevice(), pytest.raises(UserError, match=message):
        TimmTower(arch, None, size, patch, has_class, None)
