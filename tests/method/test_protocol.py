"""A protocol's digest names everything that can change a prediction or its score, and nothing else."""

from dataclasses import fields, replace

import pytest

from core.charset import CHARSET_94
from core.experiment.experiment import load
from core.experiment.protocol import Protocol, evaluation_digest
from tests.support.checkout import BASELINE

OTHER = {
    "normalisation": "half",
    "decode": "cloze",
    "refine_steps": 2,
    "fast_cross": True,
    "scoring_charset": CHARSET_94,
    "precision": "bf16",
    "batch": 3,
    "output": "visual",
}
SPEED_OR_CHOICE = ("batch", "output")  # how many images a pass has, and which of the kept outputs a table shows


@pytest.fixture
def protocol() -> Protocol:
    return load(BASELINE, "smoke").protocol


def test_every_setting_is_tried():
    assert list(OTHER) == [field.name for field in fields(Protocol)]


@pytest.mark.parametrize("name", OTHER)
def test_the_digest_changes_with_every_setting_that_decides(protocol, name):
    changed = replace(protocol, **{name: OTHER[name]})
    assert changed != protocol
    assert (changed.digest == protocol.digest) == (name in SPEED_OR_CHOICE)
    assert (evaluation_digest(changed.digest, "data") == evaluation_digest(protocol.digest, "data")) == (
        name in SPEED_OR_CHOICE
    )


def test_an_evaluation_is_named_by_its_data_too(protocol):
    assert evaluation_digest(protocol.digest, "data") != evaluation_digest(protocol.digest, "other data")


def test_what_shares_the_image_towers_pass(protocol):
    shared = {name for name in OTHER if replace(protocol, **{name: OTHER[name]}).encoding == protocol.encoding}
    assert shared == set(OTHER) - {"normalisation", "precision", "batch"}
    assert replace(protocol, scoring_charset="абв").encoding != protocol.encoding  # other test words
