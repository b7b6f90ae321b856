"""Towers that the workflow makes: a run has the same identity before and after, and an edited recipe is another."""

import pytest
import torch
from safetensors.torch import save_file

from core.errors import ConfigError, UserError
from core.experiment.experiment import load
from core.files import ROOT, file_digest
from core.pretrain.__main__ import main
from core.weights.made import RECIPE, file_identity, is_made_here, is_outdated, recipe_digest, recorded_recipe, weights_digest
from core.weights.pretrained import find_clip
from tests.support.checkout import BASELINE

SHORT = ("STEPS = 2", "IMAGES = 200", "pretrain.Pretraining.batch = 8")


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "world.gin").write_text(f"include '{ROOT}/ablations/micro/world.gin'\n")
    text = (ROOT / "ablations/micro/clip.gin").read_text()
    (tmp_path / "towers.gin").write_text(text.replace("ablations/micro/pretraining.gin", f"{tmp_path}/schedule.gin"))
    (tmp_path / "schedule.gin").write_text((ROOT / "ablations/micro/pretraining.gin").read_text())
    return tmp_path / "towers.gin"


def test_a_file_is_identified_by_its_recipe_before_and_after_it_is_made(recipe):
    weights = recipe.with_suffix(".safetensors")
    before = file_identity(weights)
    assert before == f"made-{recipe_digest(recipe)}" and is_made_here(weights)
    save_file({"a": torch.zeros(2)}, weights, {RECIPE: recipe_digest(recipe)})
    assert file_identity(weights) == before and is_made_here(weights)
    assert not is_outdated(weights) and not is_outdated(recipe)
    save_file({"a": torch.zeros(2)}, weights, {RECIPE: "01234567"})
    assert is_outdated(weights)
    save_file({"a": torch.zeros(2)}, weights, {RECIPE: recipe_digest(recipe)})
    recipe.unlink()
    assert file_identity(weights) == before and not is_made_here(weights)  # what lies there is what it was made from
    save_file({"a": torch.zeros(2)}, weights)
    assert file_identity(weights) == file_digest(weights) and file_identity(recipe) == ""


def test_values_are_the_recipe_and_comments_are_not(recipe):
    first = recipe_digest(recipe)
    schedule = recipe.with_name("schedule.gin")
    schedule.write_text("# Another comment.\n" + schedule.read_text())
    recipe_digest.cache_clear()
    assert recipe_digest(recipe) == first
    assert recipe_digest(recipe, ("STEPS = 2",)) != first
    schedule.write_text(schedule.read_text().replace("STEPS = 9000", "STEPS = 9001"))
    recipe_digest.cache_clear()
    assert recipe_digest(recipe) != first


def test_a_change_of_world_or_architecture_is_another_recipe(recipe, tmp_path, monkeypatch):
    """Of what no value of the gin files says: here the renderer, and what is in the architecture's file."""
    first = recipe_digest(recipe)
    with monkeypatch.context() as patched:
        patched.setattr("core.data.micro.RENDERER", 2)
        recipe_digest.cache_clear()
        assert recipe_digest(recipe) != first
    arch = tmp_path / "arch.json"
    arch.write_text((ROOT / "ablations/micro/clip.json").read_text())
    recipe.write_text(recipe.read_text().replace("ablations/micro/clip.json", str(arch)))
    recipe_digest.cache_clear()
    before = recipe_digest(recipe)
    arch.write_text(arch.read_text().replace('"head_width": 32', '"head_width": 64'))
    recipe_digest.cache_clear()
    assert recipe_digest(recipe) != before


def test_the_same_recipe_gives_the_same_file(recipe, tmp_path):
    """Its seed decides the weights before the first step, too."""
    files = [tmp_path / f"{number}.safetensors" for number in (1, 2)]
    for number, out in enumerate(files):
        torch.manual_seed(number)
        main([str(recipe), str(out), "--threads", "1", *(word for binding in SHORT for word in ("--set", binding))])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_recipe_without_its_world_is_refused(recipe):
    recipe.with_name("world.gin").unlink()
    with pytest.raises(ConfigError, match=r"towers.gin: its world has to be the world.gin beside it"):
        recipe_digest(recipe)


def test_weights_that_ship_are_identified_by_content_and_damaged_ones_too(tmp_path):
    shipped = ROOT / "ablations/micro/clip.safetensors"
    assert weights_digest([str(shipped), "None", "openai"]) == file_digest(shipped) and not is_made_here(shipped)
    (tmp_path / "bad.safetensors").write_bytes(b"\x05\x00\x00\x00\x00\x00\x00\x00{{{{{")
    assert recorded_recipe(tmp_path / "bad.safetensors") == ""
    assert file_identity(tmp_path / "bad.safetensors") == file_digest(tmp_path / "bad.safetensors")


def test_missing_towers_name_the_command_that_makes_them():
    if (ROOT / "ablations/small/clip.safetensors").is_file():
        pytest.skip("they are made")
    row = load(BASELINE, "small")
    assert row.files.endswith(f" made-{recipe_digest(ROOT / 'ablations/small/clip.gin')}")
    command = "python -m core.pretrain ablations/small/clip.gin ablations/small/clip.safetensors"
    with pytest.raises(UserError, match=f"weights file ablations/small/clip.safetensors does not exist; make it: {command}"):
        find_clip(*row.named[:2])


def test_a_short_pretraining_of_small_scale_is_in_colour_and_its_file_tells_its_recipe(tmp_path):
    out, recipe = tmp_path / "clip.safetensors", ROOT / "ablations/small/clip.gin"
    main([str(recipe), str(out), "--threads", "1", *(word for binding in SHORT for word in ("--set", binding))])
    assert recorded_recipe(out) == recipe_digest(recipe, SHORT) != recipe_digest(recipe)
    model = load(BASELINE, "small", [f"WEIGHTS = '{out}'"]).experiment.model(load_weights=True, start=None)
    assert model.towers.weights == str(out)
