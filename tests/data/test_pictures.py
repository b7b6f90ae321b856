"""Pictures with classes, and the pretrainings of the micro towers in small."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ablations.plan import MICRO_TOWERS
from core import config
from core.data.micro import World
from core.data.render.pictures import Pictures, all_symbols
from core.model.towers import ClipImageTower, ClipTowers
from core.pretrain.pretraining import Pretraining, pretrain


@pytest.fixture(scope="module")
def world():
    config.parse("ablations/micro/world.gin")
    return config.construct(World, "world.gin")


def test_symbols_are_no_letters_and_all_different():
    symbols = all_symbols()
    assert len(symbols) > 1000 and len(set(symbols)) == len(symbols)
    assert not [symbol for symbol in symbols if symbol.isalnum()]


def test_a_picture_is_the_same_in_any_process_and_its_class_shows(world):
    pictures, words = Pictures(world, 50, 1), ["table", "word"]
    first, label = pictures.draw(7, words)
    again, same = pictures.draw(7, words)
    assert first.tobytes() == again.tobytes() and label == same and first.size == (128, 32)
    labels = [pictures.draw(i, words)[1] for i in range(400)]
    assert len(set(labels)) > 45
    plain, _ = world.draw("pretrain", None, 7, words)
    assert np.abs(np.asarray(first, float) - np.asarray(plain, float)).max() > 40


def test_the_word_says_nothing_about_the_class(world):
    """Words and classes of many pictures are independent (chi-squared of two words by two halves of the classes)."""
    pictures, words = Pictures(world, 2, 1), ["table", "word"]
    table = np.zeros((2, 2))
    for i in range(600):
        _, word = world.draw("pretrain", None, i, words)
        table[words.index(word), pictures.draw(i, words)[1]] += 1
    expected = table.sum(0) * table.sum(1)[:, None] / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 10.8  # p > 0.001


def test_too_many_classes_are_refused(world):
    with pytest.raises(ValueError, match=r"Pictures.classes = 9999: the font has \d+ symbols"):
        Pictures(world, 9999, 1)


def test_all_pretrainings_show_equally_many_images_to_one_architecture():
    plans = {name: config.build(Pretraining, f"ablations/micro/{name}.gin") for name in MICRO_TOWERS}
    assert len({(plan.steps, plan.batch, plan.lr) for plan in plans.values()}) == 1
    assert {plan.images for name, plan in plans.items() if name != "clip_more"} == {120000}
    assert plans["clip_more"].images == 300000  # more of them is what it is about
    sizes = {name: sum(p.numel() for p in tower(plan).visual.parameters()) for name, plan in plans.items()}
    assert sizes["clip"] == sizes["classes_50"] == sizes["classes_1000"] < sizes["clip_large"]


def tower(plan):
    return plan.task.network if isinstance(plan.task.network, ClipTowers) else plan.task.network[0]


@pytest.mark.parametrize("name", MICRO_TOWERS)
def test_a_short_pretraining_makes_a_file_that_loads(name, tmp_path):
    torch.manual_seed(0)
    bindings = ["STEPS = 2", "IMAGES = 300", "pretrain.Pretraining.batch = 16"]
    plan = config.build(Pretraining, f"ablations/micro/{name}.gin", bindings=bindings)
    before = tower(plan).visual.conv1.weight.detach().clone()
    pretrain(plan, tmp_path / "made.safetensors", workers=2)
    assert not torch.equal(before, tower(plan).visual.conv1.weight)
    loaded = ClipImageTower(plan.task.network.arch if "clip" in name else "ablations/micro/clip.json",
                            str(tmp_path / "made.safetensors"), (16, 64), None)  # fmt: skip
    loaded.load_pretrained()
    torch.testing.assert_close(loaded.visual.conv1.weight, tower(plan).visual.conv1.weight, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", MICRO_TOWERS)
def test_the_shipped_towers_are_whole(name):
    tensors = load_file(f"ablations/micro/{name}.safetensors")
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors.values())
    assert ("token_embedding.rows" in tensors) == name.startswith("clip")
