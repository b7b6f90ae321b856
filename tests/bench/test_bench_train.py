"""What a training step is measured on, and against what."""

import json

import pytest
import torch

from core.bench import __main__ as bench
from core.bench.train import floor_step
from core.experiment.experiment import load
from core.experiment.optim import Optimisation
from core.model.clip4str import CLIP4STR

ROW = "ablations/table_IX/cross-ar.gin"


@pytest.mark.parametrize(("guesses", "captions"), [("right", 2), ("wrong", 4)])
def test_a_training_step_is_measured_with_the_captions_it_says(monkeypatch, capsys, guesses, captions):
    """Two images under two orders: one caption an image where the orders agree, one an order where they do not."""
    read = []
    caption_memory = CLIP4STR.caption_memory

    def counted(model, ids):
        found = caption_memory(model, ids)
        read.append(len(found[0][0].keys))
        return found

    monkeypatch.setattr(CLIP4STR, "caption_memory", counted)
    made, optimiser = [], Optimisation.optimiser
    monkeypatch.setattr(Optimisation, "optimiser", lambda *given: made.append(optimiser(*given)) or made[-1])
    bench.main(
        ["train", "--scale", "smoke", "--threads", "1", "--repeats", "2", "--batch", "2", "--guesses", guesses, "--json"]
    )
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["what"], line["row"], line["batch"], line["lengths"], line["guesses"]) == ("train", ROW, 2, "full", guesses)
    assert line["orders"] == 2 and line["mean_letters"] == 25 and line["repeats"] == 2
    assert line["median_s"] > line["floor_s"] > 0 and line["ratio"] > 1
    assert read == [captions] * 3  # a warm-up and two repeats
    assert len(made) == 1 and all(int(state["step"]) == 3 for state in made[0].state.values())  # which none of them set up anew


def test_a_floor_without_gradients_is_a_forward_pass(monkeypatch, capsys):
    """A frozen image tower has nothing to go back through."""
    backward = []
    monkeypatch.setattr(torch.Tensor, "backward", lambda *_: backward.append(1))
    row = load("ablations/table_VI/image12-text6.gin", "smoke")
    model = row.experiment.model(load_weights=False)
    floor_step(model, torch.randn(2, 3, *model.towers.image_size), "no")()
    assert not backward
