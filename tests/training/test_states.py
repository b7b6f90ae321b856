"""Resumable states that cannot be loaded, for reasons of their own or of the moment."""

import pytest
import torch

from core.errors import UserError
from core.train.state import resume, save_state


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), MemoryError(), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_a_state_that_could_not_be_loaded_just_now_is_not_called_damaged(tmp_path, monkeypatch, error):
    layer = torch.nn.Linear(2, 2)
    save_state({"model": layer}, tmp_path, 4, {"seed": 0})

    def fail(content):
        raise error

    monkeypatch.setattr(layer, "load_state_dict", fail)
    with pytest.raises(type(error)):
        resume({"model": layer}, tmp_path, {"seed": 0})
    (tmp_path / "state/step-000000004/run_identity.json").write_text("")  # of a power cut
    with pytest.raises(UserError, match="run_identity.json cannot be read .*: delete .*state to start over"):
        resume({"model": layer}, tmp_path, {"seed": 0})
