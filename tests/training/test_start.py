"""A training that begins with another CLIP4STR: what it takes, what it leaves, and what is refused in one line."""

import json
import shutil

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from ablations.plan import plan_cache
from ablations.rows import plan_row
from ablations.source import data_source
from core.charset import CHARSET_36, CHARSET_94
from core.errors import ConfigError, UserError
from core.evaluate.run import evaluate
from core.experiment.experiment import load
from core.export.model_folder import write_folder
from core.model.permutations import sample_permutations
from core.model.timm_tower import TimmTower
from core.train.run import build_model, train
from core.weights.checkpoint import load_model, save_model
from core.weights.start import Start, at_size
from reports.layout import read_layout
from tests.support.checkout import BASELINE, MICRO_GRID, MICRO_SIZE
from tests.support.starts import begun, images, outputs, saved

VISUAL = "ablations/table_V/recipe.gin"
NONE = "WEIGHTS = None"
WORDS = ["cat", "Table", "no!"]
CHARACTERS = "CHARSET = 'ablations/charsets/36.txt'"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A run of the baseline, with both branches."""
    return saved(tmp_path_factory.mktemp("start") / "seed0")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run with the visual branch alone."""
    return saved(tmp_path_factory.mktemp("start") / "alone", VISUAL)


def same(here, there, prefix=""):
    """Whether all tensors of two states, with names that begin so, are equal."""
    names = [name for name in here if name.startswith(prefix)]
    return bool(names) and all(torch.equal(here[name], there[name]) for name in names)


@pytest.fixture
def toy(golden, tmp_path):
    """Bindings of a row that builds the model of the toy released checkpoint, whatever its weights are."""
    model = load_model(golden / "released.ckpt")
    (tmp_path / "toy.json").write_text(json.dumps(model.towers.arch))
    sizes = {"IMAGE_SIZE": model.towers.image_size, "CONTEXT_LENGTH": 16, "DECODER_HEADS": model.visual_decoder.num_heads}
    return [
        f"ARCH = '{tmp_path}/toy.json'",
        NONE,
        "TEXT_FROZEN = None",
        *(f"{name} = {value}" for name, value in sizes.items()),
    ]


def test_without_a_step_a_model_is_its_released_start(golden, toy):
    expected, found = load_model(golden / "released.ckpt"), begun(golden / "released.ckpt", *toy)
    size = expected.towers.image_size
    assert all(torch.equal(a, b) for a, b in zip(outputs(found, size), outputs(expected, size), strict=True))
    assert found.started_from.without == {} and found.started_from.taken == sum(p.numel() for p in expected.parameters())


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_without_a_step_a_model_is_the_run_it_starts_from(start, name):
    for row in (BASELINE, VISUAL):
        expected, found = load_model(start), begun(start / name, NONE, row=row)
        branches = slice(2 if row == VISUAL else 3)
        assert all(torch.equal(a, b) for a, b in zip(outputs(found), outputs(expected)[branches], strict=True))
        unused = row == VISUAL
        assert found.started_from.unused == unused and found.started_from.text.endswith("is not used") == unused


def test_a_start_counts_over_pretrained_towers_and_leaves_the_seeds_numbers_alone(start):
    expected = load_model(start).state_dict()
    assert same(expected, begun(start).state_dict())
    torch.manual_seed(0)
    begun(start)
    first = torch.rand(1)
    build_model(load(BASELINE, "smoke"), 0)
    assert torch.equal(first, torch.rand(1))


@pytest.mark.parametrize(("there", "here"), [(94, 36), (36, 94)])
def test_characters_that_both_know_are_kept_in_their_places(tmp_path, there, here):
    rows = {94: [], 36: [CHARACTERS]}
    other = load_model(saved(tmp_path / "run", BASELINE, *rows[there]))
    model, fresh = begun(tmp_path / "run", *rows[here]), build_model(load(BASELINE, "smoke", rows[here]), 0)
    charsets = {94: CHARSET_94, 36: CHARSET_36}
    for branch in ("visual_decoder", "cross_decoder"):
        ours, theirs, scratch = (getattr(part, branch) for part in (model, other, fresh))
        pairs = {0: 0, here + 1: there + 1, here + 2: there + 2}  # [E], [B], [P]
        pairs |= {1 + charsets[here].index(letter): 1 + charsets[there].index(letter) for letter in CHARSET_36}
        for row in range(here + 3):
            kept = pairs.get(row)
            expected = scratch.context_embedding.weight[row] if kept is None else theirs.context_embedding.weight[kept]
            assert torch.equal(ours.context_embedding.weight[row], expected)
        for row in range(here + 1):
            kept, source = pairs.get(row), scratch.head if row not in pairs else theirs.head
            place = row if kept is None else kept
            assert torch.equal(ours.head.weight[row], source.weight[place]) and ours.head.bias[row] == source.bias[place]
    assert same(other.state_dict(), model.state_dict(), "towers.")
    unknown = {} if here == 36 else {"characters that it does not know": 2 * 58 * (96 + 96 + 1)}
    assert model.started_from.without == unknown


def test_a_start_without_a_cross_modal_branch_gives_its_visual_branch(alone):
    other, model, fresh = load_model(alone), begun(alone), build_model(load(BASELINE, "smoke"), 0)
    expected, found, before = other.state_dict(), model.state_dict(), fresh.state_dict()
    image = {name.replace("towers.visual.", "towers.clip.visual."): tensor for name, tensor in expected.items()}
    assert same(image, found) and same(before, found, "cross_decoder.")
    text = {name for name in before if name.startswith("towers.") and not name.startswith("towers.clip.visual.")}
    assert text and same({name: before[name] for name in text}, found)
    assert torch.equal(outputs(other)[1], outputs(model)[1])
    counts = {"the text tower": sum(before[name].numel() for name in text)}
    counts |= {"the cross decoder": sum(p.numel() for p in fresh.cross_decoder.parameters())}
    assert model.started_from.without == counts and "as without START begin" in model.started_from.text
    total = sum(p.numel() for p in model.parameters())
    assert f"{total - sum(counts.values()):,} of {total:,} weights" in model.started_from.text


def test_positions_of_another_image_size_are_resampled(start):
    size = (2 * MICRO_SIZE[0], MICRO_SIZE[1])
    model = begun(start, NONE, f"IMAGE_SIZE = {size}")
    name = "towers.clip.visual.positional_embedding"
    positions = load_model(start).state_dict()[name]
    expected = resample_abs_pos_embed(positions[None], [2 * MICRO_GRID[0], MICRO_GRID[1]], list(MICRO_GRID))[0]
    assert torch.equal(model.state_dict()[name], expected) and len(expected) == 1 + 2 * MICRO_GRID[0] * MICRO_GRID[1]
    assert begun(start, NONE, "PATCH_SIZE = (8, 8)").towers.visual.conv1.kernel_size == (8, 8)


def test_positions_of_a_vit_of_timm_are_resampled():
    here, there = (TimmTower("vit_tiny_patch16_224", None, size, None, True, None) for size in ((32, 128), (48, 64)))
    tensors = {f"towers.{name}": tensor for name, tensor in there.state_dict().items()}
    found = at_size(tensors, here, there)
    expected = resample_abs_pos_embed(there.vit.pos_embed, [2, 8], [3, 4])
    assert torch.equal(found["towers.vit.pos_embed"], expected) and expected.shape == here.vit.pos_embed.shape
    assert torch.equal(found["towers.vit.cls_token"], there.vit.cls_token)


@pytest.mark.parametrize("row", ["lora", "lst-r4", "vera", "bitfit"])
def test_adapters_go_on_top_and_are_saved_whole(start, row, tmp_path, monkeypatch):
    """The frozen tower is the start's, the ladder is pruned from it, and the run's file needs neither start nor pretrained."""
    path = f"ablations/table_VIII/{row}.gin"
    loaded = load(path, "smoke", [f"START = '{start}'"])
    model, other = build_model(loaded, 0), load_model(start)
    tower = model.towers.visual.state_dict()
    theirs = other.towers.visual.state_dict()
    assert torch.equal(tower["conv1.weight"], theirs["conv1.weight"]) and not model.towers.visual.conv1.weight.requires_grad
    if row == "lst-r4":
        weight, kept = other.towers.visual.transformer.resblocks[1].ln_1.weight, model.adapter.down[0].weight.argmax(1)
        assert torch.equal(model.adapter.blocks[0].ln_1.weight, weight[kept])
    else:
        torch.testing.assert_close(model.eval().predict(images()).visual, other.predict(images()).visual, atol=1e-4, rtol=1e-4)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train().losses(images(), WORDS, sample_permutations(5, 2, True, torch.Generator())).total.backward()
    optimiser.step()
    save_model(model, loaded.training, {}, tmp_path / "run")
    monkeypatch.setattr("core.model.towers.ClipImageTower.load_pretrained", None)
    monkeypatch.setattr("core.weights.start.Start", None)
    again = load_model(tmp_path / "run")
    torch.testing.assert_close(again.predict(images()).visual, model.eval().predict(images()).visual, rtol=0, atol=0)
    write_folder(tmp_path / "run", tmp_path / "hub")
    torch.testing.assert_close(outputs(load_model(tmp_path / "hub")), outputs(again), rtol=0, atol=0)


def test_frozen_layers_are_the_starts(start):
    model = begun(start, "IMAGE_FROZEN = 1.0", "TEXT_FROZEN = 1.0")
    assert same(load_model(start).state_dict(), model.state_dict()) and not any(
        p.requires_grad for p in model.towers.parameters()
    )


def test_the_learning_rates_are_those_of_a_model_without_a_start(start):
    with_start, without = load(BASELINE, "smoke", [f"START = '{start}'"]), load(BASELINE, "smoke")
    groups = [
        [(group["name"], len(group["params"]), group["peak_lr"]) for group in loaded.experiment.optimisation.groups(model)]
        for loaded, model in ((with_start, begun(start)), (without, build_model(without, 0)))
    ]
    assert groups[0] == groups[1]


def test_a_run_is_trained_recorded_and_read_without_its_start(start, world_folder, tmp_path, capsys):
    shutil.copytree(start, tmp_path / "start")
    loaded = load(BASELINE, "smoke", [f"START = '{tmp_path}/start'", "TRAIN_STEPS = 2"])
    train(loaded, world_folder, tmp_path / "run", 0)
    assert f"START {tmp_path}/start: " in capsys.readouterr().out
    record = json.loads((tmp_path / "run" / "provenance.json").read_text())["train"]["start"]
    assert record["start"] == f"{tmp_path}/start" and record["taken"] > 0 and record["without"] == {}
    shutil.rmtree(tmp_path / "start")
    row = load(tmp_path / "run" / "operative.gin", "smoke")  # which names the start, and is only read for its protocol
    results = evaluate(load_model(tmp_path / "run"), world_folder, {tmp_path / "evaluation": row.protocol})
    assert results[tmp_path / "evaluation"]["benchmarks"]
    write_folder(tmp_path / "run", tmp_path / "hub")
    card = (tmp_path / "hub" / "README.md").read_text()
    assert f"weights of a trained CLIP4STR (digest {record['digest']})" in card and str(tmp_path) not in card
    with pytest.raises(UserError, match="START = .*start.* does not exist"):
        train(row, tmp_path / "no data", tmp_path / "again", 0)


def test_the_identity_is_the_starts_content_wherever_it_lies(start, tmp_path):
    def digest(place):
        return load(BASELINE, "smoke", [f"START = '{place}'"]).digest

    shutil.copytree(start, tmp_path / "copy")
    places = (start, start / "model.safetensors", tmp_path / "copy", tmp_path / "copy" / "model.safetensors")
    assert len({digest(place) for place in places}) == 1
    assert digest(start) != load(BASELINE, "smoke").digest == load(BASELINE, "smoke", ["START = None"]).digest
    assert digest(saved(tmp_path / "other", seed=8)) != digest(start)


@pytest.fixture
def planned(tmp_path):
    """A function that writes a row with more lines than the baseline, plans it, and returns the name of its run."""
    source, layout = data_source(None, "smoke", tmp_path / "results", False), read_layout("table_VI")

    def plan(text: str) -> str:
        path, cache = tmp_path / "row.gin", plan_cache(tmp_path / "results")
        path.write_text(f"include '{BASELINE}'\n{text}\n")
        row = plan_row(path, path, layout, "smoke", source, cache)
        cache.write()
        return row.run

    return plan


def test_a_plan_refuses_a_start_that_cannot_be_used_at_its_scale(planned, start):
    with pytest.raises(ConfigError, match=r"row.gin: START = 'gone.ckpt': gone.ckpt does not exist .*, or set START = None"):
        planned("START = 'gone.ckpt'")
    with pytest.raises(ConfigError, match="row.gin: START = .* does not fit the model: its DECODER_DEPTH is 1"):
        planned(f"START = '{start}'\nDECODER_DEPTH = 2")
    assert planned("[paper]\nSTART = 'gone.ckpt'") == planned("")


def test_a_plan_follows_the_content_of_a_start(planned, start, tmp_path):
    place = tmp_path / "place"
    with pytest.raises(ConfigError, match="does not exist"):
        planned(f"START = '{place}'")
    shutil.copytree(start, place)
    first = planned(f"START = '{place}'")
    assert first == planned(f"START = '{start}'") != planned("")
    saved(place, seed=9)
    assert planned(f"START = '{place}'") != first
    shutil.rmtree(place)
    with pytest.raises(ConfigError, match="does not exist"):
        planned(f"START = '{place}'")


def test_reading_a_start_leaves_the_configuration_as_it_is(start):
    loaded = load(BASELINE, "smoke", ["DROPOUT = 0.3"])
    Start.read(str(start))
    model = loaded.experiment.model(load_weights=False, start=None)
    assert model.visual_decoder.drop.p == 0.3
