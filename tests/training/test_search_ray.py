"""A whole search by Ray Tune, as a person starts it: two trials of two steps each."""

import json

import pytest

from core.search import tuner
from core.search.__main__ import main as search
from reports import search_table as report
from tests.training.test_search import PLAN

pytest.importorskip("ray", reason="Ray is not installed (the optional extra: pip install '.[search]')")


@pytest.fixture(scope="module")
def searched(world_folder, tmp_path_factory):
    """A search's folder."""
    folder = tmp_path_factory.mktemp("search")
    plan = folder / "plan.gin"
    imports = "from __gin__ import dynamic_registration\nfrom core.search import study\n"
    plan.write_text(f"{imports}include '{PLAN}'\nstudy.Search.trials = 2\n")
    arguments = [str(plan), "--data", str(world_folder), "--out", str(folder / "out"), "--scale", "smoke"]
    search(arguments)
    return arguments, folder / "out"


def test_a_search_trains_every_value_and_chooses_one(searched, world_folder, tmp_path):
    _, out = searched
    found = json.loads((out / "search.json").read_text())
    values = [trial["value"] for trial in found["trials"]]
    assert values == tuner.draw(0.012, 0.0015, 0.096, 2, seed=0) and found["own"] == 0.012 and found["chosen"] in values
    for trial in found["trials"]:
        assert trial["steps"] == 2 and trial["n"] == 8 and 0 <= trial["accuracy"] <= 100 and trial["loss"] > 0
        assert (out / f"encoder_lr-{trial['value']:g}" / "model.safetensors").is_file()
        written = (out / f"encoder_lr-{trial['value']:g}" / "operative.gin").read_text()
        assert f"ENCODER_LR = {trial['value']!r}\n" in written
    assert "## " not in report.write(out / "search.json", tmp_path / "lr_search").read_text()


def test_the_same_command_trains_nothing_twice(searched):
    arguments, out = searched
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    found = json.loads((out / "search.json").read_text())
    search(arguments)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*")} == before
    assert json.loads((out / "search.json").read_text()) == found
