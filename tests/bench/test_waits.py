"""Waits for the device: counted where they would be, one per decoding pass, and reading is the same where asking is dear."""

import json

import pytest
import torch

from core.bench import waits
from core.bench.__main__ import main
from core.bench.forced_outputs import forced_outputs
from core.bench.read import forced_reading
from core.bench.words import draw_words
from core.experiment.experiment import load
from core.model import autoregressive, decoding
from core.model.transfer import Download, on_host, rows_where, together
from tests.support.checkout import BASELINE

CPU = torch.device("cpu")


@pytest.fixture
def dear(monkeypatch):
    """As on a GPU: no pass asks how far it has to look, and steps ask rarely whether all words have ended."""
    for module in (autoregressive, decoding):
        monkeypatch.setattr(module, "waiting_is_costly", lambda device: True)


@pytest.mark.parametrize(
    ("work", "count"),
    [
        (lambda x: x.sum().item(), 1),
        (lambda x: bool((x > 0).all()), 1),
        (lambda x: x[x > 0], 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: on_host(together(x.sum(), x.max())), 1),
        (lambda x: x[torch.tensor([0])], 0),
        (lambda x: x.masked_fill(x > 0, 0.0), 0),
        (lambda x: x[rows_where(x[:, 0] > 9, 0)], 0),
        (lambda x: Download(x).wait(), 1),
    ],
)
def test_what_counts_as_a_wait(work, count, monkeypatch):
    monkeypatch.setattr(waits, "project_place", lambda: "here")
    x = torch.arange(6.0).view(3, 2)
    with waits.counted(CPU) as places:
        work(x)
    assert places["here"] == count


def counts(guesses, batch=6):
    """The waits of reading words whose guesses are right or wrong, by place."""
    model = load(BASELINE, "smoke").experiment.model(load_weights=False).eval()
    images = torch.randn(batch, 3, *model.towers.image_size)
    words = draw_words("typical", batch, 1, model.visual_decoder.max_outputs)
    protocol = load(BASELINE, "smoke").protocol
    with forced_outputs(model) as outputs:
        return waits.waits_of(forced_reading(model, outputs, images, words, guesses, protocol)(0), CPU)


def test_right_guesses_wait_once_per_branch_and_for_the_captions(dear):
    assert counts("right").total() <= 6


def test_wrong_guesses_wait_less_where_it_is_dear(monkeypatch, request):
    here = counts("wrong").total()
    request.getfixturevalue("dear")
    assert counts("wrong").total() < 0.6 * here


def test_the_command_prints_places(capsys):
    main(["waits", "--scale", "smoke", "--batch", "2", "--guesses", "wrong", "--json"])
    step, reading = map(json.loads, capsys.readouterr().out.splitlines())
    assert (step["what"], reading["what"]) == ("training step", "reading")
    assert step["waits"] == sum(step["places"].values()) == 1  # for the captions' characters
    assert reading["waits"] >= 2 and all(place.startswith("core/") for place in reading["places"])
    main(["waits", "--scale", "smoke", "--batch", "2"])
    assert "counted as operations that would wait on a GPU" in capsys.readouterr().out
