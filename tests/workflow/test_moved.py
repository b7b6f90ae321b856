"""Modules that moved: saved models load as before, and no run has another digest."""

import json

import pytest
import torch

from core import moved
from core.experiment.identity import UNDECISIVE, training_identity
from core.experiment.optim import Optimisation
from core.run_files import MODEL_DESCRIPTION
from core.weights.checkpoint import load_model, save_model
from tests.support.checkout import ROOT

SAVED = ROOT / "tests" / "support" / "saved" / "model-59586ed.gin"  # of a smoke run's model.json, before core/ had rooms


def test_a_model_saved_before_the_modules_moved_loads(tmp_path, smoke, model):
    save_model(model, smoke.training, {"training": "0"}, tmp_path)
    description = json.loads((tmp_path / MODEL_DESCRIPTION).read_text())
    (tmp_path / MODEL_DESCRIPTION).write_text(json.dumps({**description, "gin": SAVED.read_text()}))
    images = torch.randn(2, 3, *model.towers.image_size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_model(tmp_path).predict(images).cross, model.predict(images).cross)


@pytest.mark.parametrize("old", moved.MOVED)
def test_a_module_that_moved_leaves_digests_alone(old, smoke, monkeypatch):
    """As if it had not moved, and as if it moved once more."""
    now = moved.MOVED[old]
    (package, name), text = now.rsplit(".", 1), smoke.training
    line = f"from {package} import {name}\n"
    assert line in text + smoke.operative
    again = smoke.operative.replace(line, f"from core.elsewhere import {name}\n")
    before = training_identity(smoke.operative, "")
    assert f"{old}." in before and now not in before
    monkeypatch.setitem(moved.MOVED, old, f"core.elsewhere.{name}")
    names = frozenset(undecisive.replace(f"{now}.", f"core.elsewhere.{name}.") for undecisive in UNDECISIVE)
    monkeypatch.setattr("core.experiment.identity.UNDECISIVE", names)
    assert training_identity(again, "") == before


def test_what_decides_no_result_are_fields_of_the_optimisation():
    assert {name.rpartition(".")[2] for name in UNDECISIVE} <= set(Optimisation.__dataclass_fields__)
    assert {name.rpartition(".")[0] for name in UNDECISIVE} == {f"{Optimisation.__module__}.{Optimisation.__qualname__}"}


def test_old_names_are_only_changed_in_import_lines():
    text = "from core import optim\n# from core import optim\noptim.Optimisation.eps = 1e-6  # core.optim\n"
    assert moved.with_new_names(text) == text.replace("from core import optim\n#", "from core.experiment import optim\n#", 1)
