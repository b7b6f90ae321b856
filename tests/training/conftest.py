"""Trainings that something happens to."""

import pytest
import torch

from core.train.loop import Run


@pytest.fixture
def at_step(monkeypatch):
    """Has something happen right before a step."""

    def arrange(number, happen):
        step = Run.step

        def stepped(run, step_number, batches, starts):
            if step_number == number:
                happen(run)
            return step(run, step_number, batches, starts)

        monkeypatch.setattr(Run, "step", stepped)

    return arrange


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
