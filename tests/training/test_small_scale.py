"""Small scale from its world to scores, at a size for tests."""

import json

from ablations.source import rendered_world
from core.config import gin_files
from core.data.benchmarks import FAMILIES
from core.data.micro import render_world
from core.evaluate.run import evaluate
from core.experiment.experiment import load
from core.train.run import train
from core.weights.checkpoint import load_model
from tests.support.checkout import BASELINE

TINY = [f"micro.World.{name}" for name in ("train = 24", "synth = 2", "more = 2", "val = 4", "test = 2")]
FONTS = [f"{scope}page.Page.fonts = ('DejaVuSans.ttf',)" for scope in ("", "synthetic/")]
SHORT = ["WEIGHTS = None", "TEXT_FROZEN = None", "BATCH = 4", "DEVICE_BATCH = 4", "TRAIN_STEPS = 3"]
MACHINE = [f"optim.Optimisation.{name}" for name in ("workers = 0", "validate_every = 3", "precision = 'no'")]


def test_the_baseline_trains_on_the_small_world_and_reads_its_families(tmp_path):
    world, _ = rendered_world([*TINY, *FONTS], gin_files.world_of("small"))
    assert render_world(world, tmp_path / "world", workers=1) == 24 + 2 + 2 + 4 + 2 * len(FAMILIES)
    row = tmp_path / "row.gin"
    row.write_text(
        "from __gin__ import dynamic_registration\nfrom core.experiment import optim\n"
        f"include '{BASELINE}'\n" + "\n".join([*SHORT, *MACHINE])
    )
    loaded = load(row, "small")
    assert loaded.experiment.optimisation.steps == 3 and loaded.blueprint.num_permutations == 6
    train(loaded, tmp_path / "world", tmp_path / "run", seed=0)
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 3 and last["val_n"] == 4
    model = load_model(tmp_path / "run")
    assert model.towers.image_size == (32, 128) and model.max_letters == 25
    (scores,) = evaluate(model, tmp_path / "world", {tmp_path / "read": loaded.protocol}).values()
    assert {
        name: entry["n"] + sum(e["count"] for e in entry["left_out"].values()) for name, entry in scores["benchmarks"].items()
    } == (dict.fromkeys(FAMILIES, 2))
