"""The rows of the table of other pretrained models: their published sizes and operations, and that they train."""

import open_clip
import pytest
import timm
import torch

from core.experiment.experiment import MetaDevice, load
from core.experiment.operations import cost
from core.experiment.step_memory import saved_bytes
from core.files import ROOT
from core.model.open_clip_towers import OpenClipTowers

PUBLISHED = {
    "siglip": (203, 7_087_104),
    "siglip2": (375, 7_087_104),
    "eva02-clip": (150, 0),
    "pe-core": (448, 7_087_104),
    "mobileclip-b": (150, 0),
    "mobileclip-s1": (85, 0),
    "siglip2-image": (93, 7_087_104),
    "dinov2": (87, 0),
    "dinov3": (86, 0),
    "mae": (86, 0),
    "beit": (86, 0),
    "eva02": (86, 0),
    "convnext": (89, 1_025_000),
    "hiera": (52, 769_000),
}


POSITIONS = {"dinov2": (37 * 37 - 16 * 16) * 768}  # of 518 x 518 pixels, which at 224 x 224 are fewer


@pytest.mark.parametrize("row", PUBLISHED)
def test_every_model_of_the_pretraining_table_has_its_published_size(row):
    towers = load(f"ablations/pretraining/{row}.gin", "paper").blueprint.towers
    with MetaDevice():
        if isinstance(towers, OpenClipTowers):
            config = open_clip.get_model_config(towers.arch)
            config.pop("custom_text")
            whole = open_clip.CustomTextCLIP(**config)
            assert open_clip.get_pretrained_cfg(towers.arch, towers.weights)
        else:
            whole = timm.create_model(towers.arch, num_classes=1000 if row in ("convnext", "hiera") else 0)
            assert f"{towers.arch}.{towers.weights}" in timm.list_pretrained()
    ours = sum(weight.numel() for weight in towers.parameters()) - sum(weight.numel() for weight in towers.added())
    total = sum(weight.numel() for weight in whole.parameters())
    published, left_out = PUBLISHED[row]
    assert round(total / 1e6) == published and ours == total - left_out - POSITIONS.get(row, 0)


@pytest.mark.parametrize(
    ("row", "published"),  # multiplications of the image tower at 224 x 224, 1e9: timm's and the papers' figures
    [("convnext", 15.4), ("hiera", 9.4), ("mae", 17.6)],
)
def test_operations_are_the_published_ones(row, published):
    model = load(f"ablations/pretraining/{row}.gin", "paper").blueprint
    assert cost(model, letters=10, captions=1.0).encode / 2e9 == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize("row", sorted(path.stem for path in ROOT.glob("ablations/pretraining/*.gin")))
def test_every_row_of_the_pretraining_table_trains_and_reads(row):
    """A step of the stand-in: every weight that learns has a gradient, but those that no loss depends on."""
    torch.manual_seed(0)
    model = load(f"ablations/pretraining/{row}.gin", "smoke").experiment.model(load_weights=True).train()
    images = torch.randn(2, 3, *model.towers.image_size)
    model(images, ["word", "ab"], torch.Generator().manual_seed(0)).total.backward()
    unreached = {id(weight) for weight in model.towers.unreached()}
    without = [name for name, w in model.named_parameters() if w.requires_grad and w.grad is None and id(w) not in unreached]
    assert without == []
    assert torch.isfinite(model.eval().predict(images).output).all()


@pytest.mark.parametrize(("row", "share"), [("siglip", 1 / 3), ("dinov3", 0.5), ("convnext", 0.6)])
def test_frozen_blocks_make_training_cheaper_in_every_kind_of_tower(row, share):
    none, some = (
        load(f"ablations/pretraining/{row}.gin", "smoke", [f"IMAGE_FROZEN = {frozen}"]).blueprint for frozen in (0.0, share)
    )
    least, most = (cost(model, letters=3, captions=1.0) for model in (some, none))
    assert least.train < most.train and least.encode == most.encode
    assert saved_bytes(some, 1.0).image < saved_bytes(none, 1.0).image
