"""The names of runs and worlds: trained models and rendered data are found again only while these stay as they are."""

import hashlib
import re

import pytest

from core.experiment.experiment import load
from core.experiment.identity import CAME_LATER, counts, training_identity
from tests.support.checkout import BASELINE

FAMILY = "core.data.render.family.Family"
IDLE = {  # at these, everything is as before the value was there; more may be added
    "core.experiment.Experiment.train_images": None,
    "core.optim.Optimisation.algorithm": "AdamW",
    "core.model.timm_tower.TimmTower.sizes": None,
    **dict.fromkeys(f"core.data.micro.World.{name}" for name in ("synthetic", "synthetic_page", "texts")),
    "core.data.render.page.Page.oversampling": 1,
    "core.data.render.page.Page.slack": (0.0, 0.0),
    "core.data.render.page.Page.widths": None,
    f"{FAMILY}.trained": True,
    **{f"{FAMILY}.{name}": 0.0 for name in ("upper", "capitalised", "numbers", "signs", "arc", "colour", "texture")},
    **{f"{FAMILY}.{name}": 0.0 for name in ("outline", "shade", "compression")},
    **{f"{FAMILY}.{name}": 0.5 for name in ("least_arc", "least_patches")},
    f"{FAMILY}.patches": 0,
}
OF_THE_MACHINE = ("compile", "deterministic", "device_batch", "graphs", "max_loss_ratio", "most_skipped", "save_every",
                  "validate_every", "workers")  # fmt: skip
PINNED = "dffd3cea7efcdccdc1b26e8dd5289abe639b412dc035fd12ac9e459df44cf29a"


def test_the_baseline_of_the_paper_keeps_its_name():
    """If this fails, every run has a new name and is trained again: a new value belongs in CAME_LATER or UNDECISIVE."""
    identity = training_identity(load(BASELINE, "paper").training, "")
    assert hashlib.sha256(identity.encode()).hexdigest() == PINNED, identity


@pytest.mark.parametrize("name", IDLE)
def test_what_came_later_counts_only_where_it_changes_something(name):
    assert name in CAME_LATER and not counts(name, IDLE[name], ())
    assert not counts(f"regular/{name}", IDLE[name], ()) and counts(name, "another", ())


@pytest.mark.parametrize("name", OF_THE_MACHINE)
def test_settings_of_the_machine_decide_no_name(name, smoke):
    other = re.sub(rf"(?<=optim.Optimisation.{name} = ).*", "17", smoke.training)
    assert other != smoke.training and training_identity(other, "") == training_identity(smoke.training, "")


@pytest.mark.parametrize(
    "binding",
    [
        "DROPOUT = 0",
        "BETAS = [0.9, 0.98]",
        "TRAIN_DATA = ['real']",
        "IMAGE_SIZE = [16, 64]",
        "augment.RandAugment.magnitude = 5.0",
    ],
)
def test_equal_values_are_one_run_however_they_are_written(binding):
    assert load(BASELINE, "micro", [binding]).digest == load(BASELINE, "micro").digest


def test_a_whole_number_of_epochs_is_one_run_as_a_sweep_writes_it_too():
    digests = {load(BASELINE, "paper", [f"EPOCHS = {epochs}"]).digest for epochs in ("16", "16.0")}
    assert digests == {load(BASELINE, "paper").digest} and load(BASELINE, "paper", ["EPOCHS = 16.5"]).digest not in digests
