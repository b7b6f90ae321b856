"""A precision is what the machine can do of it."""

import json

import pytest
import torch
from accelerate.state import AcceleratorState

from core.experiment import load
from core.precision import autocast, fit_for, name_of
from core.train import train
from tests.conftest import BASELINE


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False}, "no"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"bf16": True}, "bf16"),
    ],
)
def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch, known, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert fit_for("cpu", "bf16") == expected
    assert (fit_for("cpu", "no"), fit_for("cpu", "fp16"), fit_for("cuda", "bf16")) == ("no", "fp16", "bf16")


def test_autocast_computes_in_what_was_asked():
    weight, x = torch.randn(4, 4), torch.randn(2, 4)
    for precision, dtype in (("no", torch.float32), ("bf16", torch.bfloat16)):
        with autocast("cpu", precision):
            found = torch.nn.functional.linear(x, weight)
        assert found.dtype == dtype and name_of(precision) == str(dtype).removeprefix("torch.")


@pytest.fixture
def fresh():
    """accelerate holds one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("native", [True, False])
def test_a_run_says_what_it_computed_in(world_folder, tmp_path, monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    train(load(BASELINE, "smoke", ["optim.Optimisation.precision = 'bf16'"]), world_folder, tmp_path, 0)
    assert json.loads((tmp_path / "provenance.json").read_text())["precision"] == ("bfloat16" if native else "float32")


def test_an_unknown_precision_is_named():
    with pytest.raises(Exception, match="Optimisation.precision = 'half': expected one of no, bf16, fp16"):
        load(BASELINE, "smoke", ["optim.Optimisation.precision = 'half'"])
