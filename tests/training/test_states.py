"""Resumable states that cannot be loaded, for reasons of their own or of the moment."""

import os
import shutil
from pathlib import Path

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


def test_a_state_is_on_the_disk_before_it_has_its_name_and_older_ones_go(tmp_path, monkeypatch):
    """The power may fail between any two of these."""
    layer, done, fsync, rename, rmtree = torch.nn.Linear(2, 2), [], os.fsync, Path.rename, shutil.rmtree

    def noted(what, path, do, *arguments, **options):
        if Path(path).exists():
            done.append((what, str(Path(path).relative_to(tmp_path / "state"))))
        return do(*arguments, **options)

    save_state({"model": layer}, tmp_path, 2, {"seed": 0})
    monkeypatch.setattr(os, "fsync", lambda number: noted("sync", Path(f"/proc/self/fd/{number}").readlink(), fsync, number))
    monkeypatch.setattr(Path, "rename", lambda path, to: noted("rename", path, rename, path, to))
    monkeypatch.setattr(shutil, "rmtree", lambda path, **options: noted("delete", path, rmtree, path, **options))
    save_state({"model": layer}, tmp_path, 4, {"seed": 0})
    new = "step-000000004.partial"
    assert {*done[:2]} == {("sync", f"{new}/run_identity.json"), ("sync", f"{new}/state.pt")}
    assert done[2:] == [("sync", new), ("rename", new), ("sync", "."), ("delete", "step-000000002")]
