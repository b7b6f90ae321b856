"""Captions are measured against the plain way, which makes the same ones."""

import json

import pytest
import torch

from core.bench import __main__ as bench
from core.bench.captions import InArrays, Plainly, ids_of, words_of


def test_both_ways_make_the_same_captions():
    ids = ids_of([*words_of("typical", 20, 0), *words_of("25", 3, 0), "Don't!", "a"])
    for one, other in zip(Plainly()(ids), InArrays()(ids.clone()), strict=True):
        assert torch.equal(one, other)


def test_every_setting_is_measured_as_it_says(monkeypatch, capsys):
    """Cold captions are tokenized in every repeat, warm ones before it."""
    forgotten, forget = [], InArrays.forget
    monkeypatch.setattr(InArrays, "forget", lambda maker: forgotten.append(len(maker.tokenizer.known)) or forget(maker))
    bench.main(["captions", "--captions", "6", "--repeats", "2", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    settings = [(line["lengths"], line["memory"]) for line in lines]
    assert settings == [(lengths, memory) for lengths in ("typical", "25") for memory in ("cold", "warm")]
    assert all(line["ratio"] > 0 and line["repeats"] == 2 and line["captions"] == 6 for line in lines)
    assert forgotten == [0, 6, 6] * 4  # a warm-up and two repeats of each


def test_impossible_settings_are_named(capsys):
    with pytest.raises(SystemExit):
        bench.main(["captions", "--captions", "0"])
    assert "--captions: expected a whole number of at least 1, got '0'" in capsys.readouterr().err
