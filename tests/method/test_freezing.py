"""Freezing starts at the input of either tower, and at 1 the whole tower stays as pretrained."""

import re

import pytest

from core.experiment.experiment import load
from tests.support.checkout import BASELINE

BLOCK = re.compile(r"towers\.clip\.(visual\.)?transformer\.resblocks\.(\d+)\.")


def trained(scale: str, *bindings: str) -> set[str]:
    model = load(BASELINE, scale, bindings).blueprint
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def blocks(names: set[str], visual: bool) -> list[int]:
    found = (BLOCK.match(name) for name in names)
    return sorted({int(match[2]) for match in found if match and bool(match[1]) == visual})


@pytest.mark.parametrize(("fraction", "first"), [(0.0, 0), (0.25, 3), (0.5, 6), (0.75, 9)])
def test_the_first_blocks_of_the_text_tower_are_frozen(fraction, first):
    """Table VI's column: 0, 3, 6, 9 of 12 layers; tokens and positions always, what follows the blocks never."""
    names = trained("paper", f"TEXT_FROZEN = {fraction}")
    assert blocks(names, visual=False) == list(range(first, 12))
    assert not names & {"towers.clip.token_embedding.weight", "towers.clip.positional_embedding"}
    assert names >= {"towers.clip.ln_final.weight", "towers.clip.text_projection"}


@pytest.mark.parametrize(("fraction", "first"), [(0.25, 3), (0.5, 6), (0.75, 9)])
def test_the_first_blocks_of_the_image_tower_are_frozen(fraction, first):
    names = trained("paper", f"IMAGE_FROZEN = {fraction}")
    assert blocks(names, visual=True) == list(range(first, 12))
    assert not names & {"towers.clip.visual.class_embedding", "towers.clip.visual.positional_embedding"}
    assert names >= {f"towers.clip.visual.{part}" for part in ("conv1.weight", "ln_pre.weight", "ln_post.weight", "proj")}


@pytest.mark.parametrize("tower", ["IMAGE", "TEXT"])
def test_a_whole_tower_is_frozen(tower):
    other = "TEXT" if tower == "IMAGE" else "IMAGE"
    names = {name for name in trained("smoke", f"{tower}_FROZEN = 1.0", f"{other}_FROZEN = None") if name.startswith("towers.")}
    assert names and {name.startswith("towers.clip.visual.") for name in names} == {tower == "TEXT"}


def test_none_freezes_nothing():
    everything = {name for name, _ in load(BASELINE, "smoke").blueprint.named_parameters()}
    assert trained("smoke", "IMAGE_FROZEN = None", "TEXT_FROZEN = None") == everything


def test_what_no_file_holds_is_never_frozen():
    """The projection of a timm tower to the decoder's width, random at the start."""
    model = load("ablations/pretraining/mae.gin", "paper", ["IMAGE_FROZEN = 1.0"]).blueprint
    assert [name for name, weight in model.towers.named_parameters() if weight.requires_grad] == ["proj.weight"]
