"""A START that does not fit is refused, by a training and by a plan."""

import json
import re
import shutil

import pytest
import torch

from core.errors import ConfigError, UserError
from core.experiment.experiment import load
from core.files import ROOT
from core.train.run import train
from core.weights.checkpoint import load_model
from tests.support.checkout import BASELINE
from tests.support.starts import begun, outputs, saved

VISUAL = "ablations/table_V/recipe.gin"
NONE = "WEIGHTS = None"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A run of the baseline, with both branches."""
    return saved(tmp_path_factory.mktemp("start") / "seed0")


def refused(start, *bindings, row=BASELINE):
    """The one line that refuses a start, when a training begins and before its data is opened."""
    loaded = load(row, "smoke", [f"START = '{start}'", *bindings])
    with pytest.raises(UserError) as error:
        train(loaded, ROOT / "no such data", ROOT / "no such run", 0)
    assert f"START = '{start}'" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("bindings", "message"),
    [
        (["DECODER_DEPTH = 2"], "its DECODER_DEPTH is 1, the model's 2; set DECODER_DEPTH = 1, or name another START"),
        (["DECODER_HEADS = 4"], "its DECODER_HEADS is 3, the model's 4; set DECODER_HEADS = 3"),
        (["decoder.Decoder.mlp_ratio = 2.0"], "mlp_ratio is 4.0, the model's 2.0; set decoder.Decoder.mlp_ratio = 4.0"),
        (["clip4str.CLIP4STR.max_letters = 20"], "is 25, the model's 20; set clip4str.CLIP4STR.max_letters = 25"),
    ],
)
def test_decoders_of_another_size_are_refused(start, bindings, message):
    assert message in refused(start, *bindings)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (None, {"embed_dim": 48}, "its joint width D is 96, the model's 48; set ARCH to that of its towers"),
        ("vision_cfg", {"layers": 2}, "its image tower's number of layers is 4, the model's 2; set ARCH"),
        ("text_cfg", {"layers": 2}, "its text tower's number of layers is 4, the model's 2; set ARCH"),
        ("vision_cfg", {"head_width": 64}, "its image tower's number of heads is 4, the model's 2; set ARCH"),
        (None, {"quick_gelu": True}, "its activation is GELU, the model's QuickGELU; set ARCH"),
        (
            "vision_cfg",
            {"width": 64, "head_width": 16},
            r"towers\.visual\..*: the model has \(.*64.*\), the file \(.*128.*\); set ARCH",
        ),
        ("text_cfg", {"width": 48}, r"the model has \(.*48.*\), the file \(.*96.*\); set ARCH"),
    ],
)
def test_towers_of_another_size_are_refused(start, tmp_path, section, values, message):
    arch = json.loads((ROOT / "ablations/micro/clip.json").read_text())
    (arch[section] if section else arch).update(values)
    (tmp_path / "clip.json").write_text(json.dumps(arch))
    assert re.search(message, refused(start, f"ARCH = '{tmp_path}/clip.json'", NONE))


def test_towers_of_another_family_are_refused(start, tmp_path):
    (tmp_path / "row.gin").write_text(
        "include 'ablations/base.gin'\ninclude 'ablations/variants/visual.gin'\ninclude 'ablations/backbones/vit_b16.gin'\n"
        "IMAGE_SIZE = (32, 64)\nPATCH_SIZE = (16, 16)\n"
    )
    assert "its image tower is CLIP's, the model's timm's VisionTransformer; set ARCH" in refused(
        start, row=tmp_path / "row.gin"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.ckpt", "gone.ckpt does not exist (paths count from the repository root); name a released CLIP4STR checkpoint"),
        ("empty", "empty/model.safetensors does not exist"),
        ("clip.safetensors", "model.json, which says how to build the model, is not beside it; name a released"),
        ("towers.pt", "holds neither our format nor a released CLIP4STR checkpoint; name a released CLIP4STR checkpoint"),
        ("cut.ckpt", "cut.ckpt is not a checkpoint that can be read safely"),
        ("part.ckpt", "not a whole CLIP4STR checkpoint"),
    ],
)
def test_what_is_not_a_clip4str_is_refused(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    shutil.copy(ROOT / "ablations/micro/clip.safetensors", tmp_path / "clip.safetensors")
    torch.save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "towers.pt")
    torch.save({"state_dict": {"clip_model.visual.proj": torch.zeros(2, 2)}}, tmp_path / "part.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04 cut")
    assert message in refused(tmp_path / name)


def test_a_start_with_an_adapter_of_its_own_is_refused_and_a_tuned_one_is_not(tmp_path):
    assert "was trained with an adapter, Lora, which no model takes over" in refused(
        saved(tmp_path / "lora", "ablations/table_VIII/lora.gin")
    )
    run = saved(tmp_path / "bitfit", "ablations/table_VIII/bitfit.gin")
    found, expected = begun(run, row=VISUAL), load_model(run)
    assert torch.equal(outputs(found)[1], outputs(expected)[1])


@pytest.mark.parametrize("value", ["3", "''", "True"])
def test_a_start_is_named_by_a_path(value):
    with pytest.raises(ConfigError, match=f"START = {value}: expected None, or a released CLIP4STR checkpoint"):
        load(BASELINE, "smoke", [f"START = {value}"])
