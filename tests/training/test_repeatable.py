"""A fixed order of sums on a GPU: what torch is told, and what it answers where it cannot."""

import pytest
import torch

from core.errors import TrainingError
from core.runtime.repeatable import repeatable

GPU = torch.device("cuda")


def test_a_gpu_is_told_until_the_block_ends(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with repeatable(GPU, True):
        assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled() and torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.parametrize(("device", "wanted"), [(torch.device("cpu"), True), (GPU, False)])
def test_nobody_else_is(device, wanted):
    with repeatable(device, wanted):
        assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_a_fixed_order_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    fix = r"^grid_backward cannot .*; set Optimisation.deterministic = False"
    with pytest.raises(TrainingError, match=fix), repeatable(GPU, True):
        raise RuntimeError("grid_backward does not have a deterministic implementation, but you set ...")
    with pytest.raises(RuntimeError, match="out of luck"), repeatable(GPU, True):
        raise RuntimeError("out of luck")
    assert not torch.are_deterministic_algorithms_enabled()
