"""Small scale in the workflow: its world and its towers are made before the first training."""

import re

from ablations.plan.plan import TOWERS
from core import config
from core.choices import SCALES
from core.config import gin_text
from core.config.gin_files import world_of
from core.files import ROOT
from core.pretrain.pretraining import Pretraining
from tests.support.checkout import copied_checkout, jobs_of, snakemake


def test_scales_that_render_have_a_world_of_their_own_or_anothers():
    worlds = {"micro": "micro", "small": "small", "smoke": "micro", "paper": None}
    assert {scale: world_of(scale) for scale in SCALES} == {
        scale: world and f"ablations/{world}/world.gin" for scale, world in worlds.items()
    }


def test_the_towers_of_small_scale_differ_in_what_their_names_say():
    plans = {name: gin_text.final_values(ROOT / f"ablations/small/{name}.gin") for name in TOWERS}
    schedule = {name.rpartition(".")[2]: "" for name in plans["clip"] if ".Pretraining." in name} | {"STEPS": ""}
    images = {name: values["IMAGES"] for name, values in plans.items()}
    assert images["clip_more"] == 2.5 * images["clip"] and len({*images.values()}) == 2
    assert {values["STEPS"] for values in plans.values()} == {plans["clip"]["STEPS"]} and {"batch", "lr"} <= schedule.keys()
    assert [plans[name].get("CLASSES") for name in TOWERS] == [None, None, None, 50, 1000]
    assert config.build(Pretraining, "ablations/small/clip.gin").task.network.context_length == 16


def test_missing_towers_are_made_before_what_is_trained_on_them(tmp_path):
    copy = copied_checkout(tmp_path, ("table_X",))
    (copy / "ablations/claims.yaml").unlink()
    for made in (copy / "ablations/small").glob("*.safetensors"):
        made.unlink()
    done = snakemake(copy, "table_X", "-n", "--config", "scale=small", "replicates=1")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    counts = jobs_of(output)
    assert counts["towers"] == counts["train"] == counts["evaluate"] == 2 and counts["training_words"] == 1
    assert {*re.findall(r"ablations/small/(\w+)\.safetensors", output)} == {"clip", "clip_large"}
    assert "small towers clip_large, once" in output
