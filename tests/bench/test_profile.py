"""The parts of reading and training, and that they make up the whole."""

import json

import pytest
import torch

from core.bench import __main__ as bench
from core.bench import profile
from core.bench.options import PROFILED
from core.bench.profile import ALL, FLOOR, REST, Stopwatch, named_parts
from core.bench.read import forget_captions
from core.bench.train import AFTERWARDS
from core.experiment.experiment import load
from core.model.captions import CaptionTokenizer

ROW = "ablations/table_IX/cross-ar.gin"


CALLS = {
    "image tower, forward": 1,
    "text tower, forward": 1,
    "captions to tokens": 1,
    "visual decoder: keys and values of what it reads": 1,
    "cross decoder: keys and values of what it reads": 2,  # the image's, the captions'
}
PASSES = {"read": {"visual decoder: passes": 2, "cross decoder: passes": 1}}  # a guess; each branch checks and refines at once
PASSES["train"] = {"visual decoder: passes": 1, "cross decoder: passes": 1} | dict.fromkeys(AFTERWARDS, 1)


@pytest.mark.parametrize("what", PROFILED)
def test_every_part_is_timed_and_what_no_part_has(what, capsys):
    bench.main(["profile", what, "--scale", "smoke", "--batch", "2", "--passes", "1", "--threads", "1", "--json"])
    parts = {line["part"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(parts)[0] == FLOOR and list(parts)[-2:] == [REST, ALL] and parts[FLOOR]["share"] == 1
    assert {name: part["calls"] for name, part in list(parts.items())[1:-2]} == CALLS | PASSES[what]
    assert all(part["ms"] > 0 for part in parts.values())
    assert sum(part["ms"] for name, part in parts.items() if name not in (ALL, FLOOR)) == pytest.approx(parts[ALL]["ms"])


@pytest.mark.parametrize("what", PROFILED)
def test_captions_are_tokenized_in_every_pass(what, monkeypatch):
    tokenized, encode = [], CaptionTokenizer.tokenize
    monkeypatch.setattr(CaptionTokenizer, "tokenize", lambda *given: tokenized.append(given[1]) or encode(*given))
    known = []
    monkeypatch.setattr(profile, "forget_captions", lambda model: known.append(len(tokenized)) or forget_captions(model))
    profile.parts_of(what, ROW, "smoke", batch=1, lengths="full", passes=2)
    assert known == [0, 1, 2] and len(tokenized) == 3


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
    assert "--passes: expected a whole number of at least 1, got '0'" in capsys.readouterr().err
