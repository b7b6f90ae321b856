"""Pictures with classes, and the pretrainings of the micro towers in small."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ablations.plan.plan import TOWERS
from core import config
from core.data.micro import World
from core.data.render.fractals import Fractals, System, density, search
from core.errors import UserError
from core.model.towers import ClipImageTower, ClipTowers
from core.pretrain.pretraining import Pretraining, pretrain
from core.train.state import Interrupted
from core.weights.made import recorded_recipe
from tests.support.checkout import MICRO_SIZE


@pytest.fixture(scope="module")
def world():
    config.parse("ablations/micro/world.gin")
    return config.construct(World, "world.gin")


def test_the_word_says_nothing_about_the_class(world, monkeypatch):
    """Words and classes of many pictures are independent (chi-squared of two words by two classes)."""
    plain = replace(world, families=tuple(family.as_listed() for family in world.families))
    pictures, words, shown = Fractals(plain, 2, 0.2, 15.0, 0.3, 1), ["table", "word"], []
    draw = plain.choose
    monkeypatch.setattr(World, "choose", lambda _, *arguments: shown.append(draw(*arguments)) or shown[-1])
    table = np.zeros((2, 2))
    for i in range(600):
        label = pictures.draw(i, words)[1]
        table[words.index(shown[-1][0]), label] += 1
    expected = table.sum(0) * table.sum(1)[:, None] / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 10.8  # p > 0.001


def test_fractals_are_found_by_their_filling_rate_and_differ_between_classes(world):
    systems = search(30, 0.2, 1)
    assert all(np.array_equal(fewer.maps, more.maps) for fewer, more in zip(search(10, 0.2, 1), systems[:10], strict=True))
    rng, fractals = np.random.default_rng(0), Fractals(world, 30, 0.2, 15.0, 0.3, 1)
    for system in systems:
        assert 2 <= system.maps.shape[1] <= 8 and system.ends[-1] == pytest.approx(1)
        assert np.count_nonzero(density(system.points(rng), 64, 64)) > 0.1 * 64 * 64  # 0.2 in the search's own draws
    first, label = fractals.draw(7, ["table"])
    again, same = fractals.draw(7, ["table"])
    assert first.tobytes() == again.tobytes() and label == same and first.size == (128, 32)
    assert len({fractals.draw(i, ["table"])[1] for i in range(300)}) == 30


def test_instances_of_a_class_are_nearer_to_each_other_than_to_another_class(world):
    """Unmirrored and unturned, the densities of one system's draws correlate more than those of two systems."""
    rng, systems = np.random.default_rng(0), search(12, 0.2, 1)
    twice = [[np.log1p(density(system.points(rng), 16, 16)).ravel() for system in systems] for _ in range(2)]
    likeness = np.corrcoef(*twice)[:12, 12:]
    assert (likeness.argmax(1) == np.arange(12)).all()


def test_a_system_that_runs_away_or_lies_on_a_line_has_no_points():
    rng = np.random.default_rng(0)
    grows = System(np.array([[3.0], [0], [0], [3], [1], [1]]).repeat(2, 1), np.array([0.5, 1.0]))
    flat = System(np.array([[0.5, 0.5], [0, 0], [0, 0], [0.5, 0.5], [0, 1], [0, 0]]), np.array([0.5, 1.0]))
    assert grows.points(rng, steps=800) is None and flat.points(rng) is None


@pytest.mark.parametrize(("knob", "value"), (("classes", 1), ("filling", 0.9), ("word_size", 0.0)))
def test_fractals_that_cannot_be_drawn_are_refused(world, knob, value):
    with pytest.raises(ValueError, match=rf"Fractals.{knob} = {value}: it lies in"):
        Fractals(**{"world": world, "classes": 5, "filling": 0.2, "rotation": 0.0, "word_size": 0.3, "seed": 1, knob: value})


def test_all_pretrainings_show_equally_many_images_to_one_architecture():
    plans = {name: config.build(Pretraining, f"ablations/micro/{name}.gin") for name in TOWERS}
    assert len({(plan.steps, plan.batch, plan.lr) for plan in plans.values()}) == 1
    (images,) = {plan.images for name, plan in plans.items() if name != "clip_more"}
    assert plans["clip_more"].images > 2 * images  # more of them is what it is about
    sizes = {name: sum(p.numel() for p in tower(plan).visual.parameters()) for name, plan in plans.items()}
    assert sizes["clip"] == sizes["classes_50"] == sizes["classes_1000"] < sizes["clip_large"]


def tower(plan):
    return plan.task.network if isinstance(plan.task.network, ClipTowers) else plan.task.network[0]


def short_plan(name, *bindings, steps=2):
    torch.manual_seed(0)
    small = [f"STEPS = {steps}", "IMAGES = 300", "pretrain.Pretraining.batch = 16"]
    return config.build(Pretraining, f"ablations/micro/{name}.gin", bindings=[*small, *bindings])


@pytest.mark.parametrize(("name", "precision"), (("clip", "bf16"), ("classes_50", "no")))
def test_a_stopped_pretraining_ends_in_the_same_weights(name, precision, tmp_path, monkeypatch):
    bindings = (f"pretrain.Pretraining.precision = '{precision}'",)
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    pretrain(short_plan(name, *bindings, steps=50), whole, workers=1, keep_every=25, recipe="mine")
    with monkeypatch.context() as patched:
        patched.setattr("core.train.state.Stopper.asked", lambda self: signal.SIGTERM)
        with pytest.raises(Interrupted, match="stopped after step 20 "):
            pretrain(short_plan(name, *bindings, steps=50), stopped, workers=1, identity="mine", recipe="mine")
    assert not stopped.exists()
    with pytest.raises(UserError, match="was saved with configuration mine, this run has other"):
        pretrain(short_plan(name, *bindings, steps=50), stopped, workers=1, identity="other", recipe="mine")
    with pytest.raises(UserError, match="was saved with recipe mine, this run has other"):  # other fonts, say
        pretrain(short_plan(name, *bindings, steps=50), stopped, workers=1, identity="mine", recipe="other")
    pretrain(short_plan(name, *bindings, steps=50), stopped, workers=1, save_every=20, identity="mine", recipe="mine")
    one, two = load_file(whole), load_file(stopped)
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    logs = [lines(path.with_suffix(".pretraining") / "metrics.jsonl") for path in (whole, stopped)]
    assert [entry["step"] for entry in logs[0]] == [20, 40, 50]
    measured = [[{key: entry[key] for key in ("step", "loss", "accuracy", "lr")} for entry in log] for log in logs]
    assert measured[0] == measured[1] and not (stopped.with_suffix(".pretraining") / "state").exists()
    kept = sorted(path.name for path in whole.with_suffix(".pretraining").glob("step-*"))
    assert kept == ["step-000025.safetensors", "step-000050.safetensors"]
    last = load_file(whole.with_suffix(".pretraining") / kept[1])
    assert recorded_recipe(whole) == "mine" and recorded_recipe(whole.with_suffix(".pretraining") / kept[1]) == ""
    assert all(torch.equal(one[key], last[key]) for key in one)


def test_words_kept_for_testing_are_never_shown(world):
    seen, kept = world.words()
    contrastive, classification = (short_plan(name).task for name in ("clip", "classes_50"))
    assert kept and contrastive.words and not {*contrastive.words} & {*kept}
    assert contrastive.draw.keywords["words"] is contrastive.words
    assert classification.draw.keywords["words"] == seen and not {*seen} & {*kept}


def test_a_file_has_the_embeddings_of_all_tokens_that_were_shown(tmp_path):
    plan, shown = short_plan("clip"), set()
    tokenize = plan.task.tokenize

    def watched(captions):
        ids = tokenize(captions)
        shown.update(ids.unique().tolist())
        return ids

    plan.task.tokenize = watched
    pretrain(plan, tmp_path / "made.safetensors", workers=1)
    torch.manual_seed(9)
    loaded = ClipTowers(plan.task.network.arch, str(tmp_path / "made.safetensors"), MICRO_SIZE, None, 14)
    loaded.load_pretrained()
    rows, own = sorted(shown), plan.task.network.clip.token_embedding.weight
    assert len(rows) > 20
    torch.testing.assert_close(loaded.clip.token_embedding.weight[rows], own[rows], atol=1e-3, rtol=1e-3)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_captions_are_lower_case_whatever_the_image_shows():
    plan = short_plan("clip")
    labels = [plan.task.draw(index)[1].upper() for index in range(40)]
    chosen = plan.task.choose([*labels, *map(str.lower, labels)], 16, np.random.default_rng(0))
    assert len({[*labels, *labels][position] for position in chosen}) == 16
    with pytest.raises(UserError, match="a batch of 64 different words cannot be made: [1-4]"):
        plan.task.choose([*labels, *labels], 64, np.random.default_rng(0))
    seen = []
    plan.task.tokenize = lambda captions: seen.extend(captions) or torch.ones(len(captions), 14, dtype=torch.long)
    plan.task.loss(torch.zeros(4, 3, *MICRO_SIZE), labels[:4], np.random.default_rng(0))
    assert [caption.replace(" ", "") for caption in seen] == [label.lower() for label in labels[:4]]
    for share, spelled in ((0.0, 0), (0.5, 20), (1.0, 40)):
        plan.task.spelled = share
        seen.clear()
        plan.task.loss(torch.zeros(40, 3, *MICRO_SIZE), labels, np.random.default_rng(0))
        written = [caption == " ".join(label.lower()) for caption, label in zip(seen, labels, strict=True)]
        assert sum(written) == pytest.approx(spelled, abs=10 * (share == 0.5))


@pytest.mark.parametrize("name", TOWERS)
def test_a_short_pretraining_makes_a_file_that_loads(name, tmp_path):
    plan = short_plan(name)
    before = tower(plan).visual.conv1.weight.detach().clone()
    pretrain(plan, tmp_path / "made.safetensors", workers=2)
    assert not torch.equal(before, tower(plan).visual.conv1.weight)
    loaded = ClipImageTower(plan.task.network.arch if "clip" in name else "ablations/micro/clip.json",
                            str(tmp_path / "made.safetensors"), MICRO_SIZE, None)  # fmt: skip
    loaded.load_pretrained()
    torch.testing.assert_close(loaded.visual.conv1.weight, tower(plan).visual.conv1.weight, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", TOWERS)
def test_the_shipped_towers_are_whole(name):
    tensors = load_file(f"ablations/micro/{name}.safetensors")
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors.values())
    assert ("token_embedding.rows" in tensors) == name.startswith("clip")
