"""The parts of reading and training, and that they make up the whole."""

import json

import pytest
import torch

from core import bench
from core.benchmark.profile import ALL, FLOOR, REST, Stopwatch, named_parts
from core.experiment import load

ROW = "ablations/table_IX/cross-ar.gin"


@pytest.mark.parametrize(("what", "own"), [("read", set()), ("train", {"backward pass", "optimiser"})])
def test_parts_make_up_the_whole(what, own, capsys):
    bench.main(["profile", what, "--scale", "smoke", "--batch", "2", "--passes", "1", "--threads", "1", "--json"])
    parts = {line["part"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {"image tower, forward", "text tower, forward", "captions to tokens", "visual decoder: passes"} | own < parts.keys()
    assert sum(part["ms"] for name, part in parts.items() if name not in (ALL, FLOOR)) == pytest.approx(parts[ALL]["ms"])
    assert all(part["ms"] > 0 and part["calls"] > 0 for part in parts.values()) and parts[FLOOR]["share"] == 1
    assert parts["text tower, forward"]["calls"] == parts["image tower, forward"]["calls"] == 1
    assert list(parts)[0] == FLOOR and list(parts)[-2:] == [REST, ALL]


def test_a_model_is_left_as_it_was():
    model = load(ROW, "smoke").experiment.model(load_weights=False)
    before = {name: getattr(owner, attribute) for owner, attribute, name in named_parts(model)}
    watch = Stopwatch(torch.device("cpu"))
    watch.begin()
    with pytest.raises(KeyError), watch.on(model):
        assert all(getattr(owner, attribute) != before[name] for owner, attribute, name in named_parts(model))
        raise KeyError
    assert {name: getattr(owner, attribute) for owner, attribute, name in named_parts(model)} == before


def test_a_visual_branch_has_no_captions(capsys):
    bench.main(["profile", "read", "ablations/table_V/vit-b.gin", "--scale", "smoke", "--batch", "1", "--passes", "1"])
    said = capsys.readouterr().out
    assert "visual decoder" in said and "cross decoder" not in said and "captions" not in said


def test_impossible_settings_are_named(capsys):
    with pytest.raises(SystemExit):
        bench.main(["profile", "read", "--passes", "0"])
    assert "--passes 0 is below 1" in capsys.readouterr().err
