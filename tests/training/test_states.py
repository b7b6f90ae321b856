"""Resumable states: what is on the disk when, which cannot be loaded and why; and the lock of a run directory."""

import errno
import fcntl
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from core.data.samples import Ledger
from core.errors import UserError
from core.run_files import saved_states
from core.train.record import Tally
from core.train.state import resume, run_lock, save_state


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
    new = done[0][1].split("/")[0]
    assert new.startswith("step-000000004.") and new.endswith(".partial")
    assert {*done[:2]} == {("sync", f"{new}/run_identity.json"), ("sync", f"{new}/state.pt")}
    assert done[2:] == [("sync", new), ("rename", new), ("sync", "."), ("delete", "step-000000002")]


def test_states_from_before_those_counts_were_saved_are_resumed(tmp_path):
    layer, tally = torch.nn.Linear(2, 2), Tally(torch.nn.Linear(2, 2))
    save_state({"model": layer}, tmp_path, 4, {"seed": 0})
    assert resume({"model": layer, "tally": tally}, tmp_path, {"seed": 0}) == 4 and tally.undecodable == Ledger()
    with pytest.raises(ValueError, match="state.pt cannot be read"):
        resume({"model": layer, "optimiser": layer}, tmp_path, {"seed": 0})


def test_one_process_a_run_directory(tmp_path):
    pid = os.fork()
    if not pid:
        with run_lock(tmp_path):
            signal.pause()
    try:
        while not (tmp_path / "lock").exists() or not (tmp_path / "lock").read_text():
            time.sleep(0.01)
        with pytest.raises(OSError, match=f"is being trained by process {pid} on"), run_lock(tmp_path, patience=0):
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with run_lock(tmp_path, patience=0):  # what a killed one held is free
        pass


def test_a_lock_that_its_holder_removed_meanwhile_is_not_taken(tmp_path, monkeypatch):
    """The holder ends between this process's opening the file and locking it: what is locked must have the name."""
    lockf, removed = fcntl.lockf, []

    def late(file, operation):
        if not removed:
            removed.append((tmp_path / "lock").unlink())
        lockf(file, operation)

    monkeypatch.setattr("fcntl.lockf", late)
    with run_lock(tmp_path, patience=0):
        pid = os.fork()
        if not pid:
            try:
                with run_lock(tmp_path, patience=0):
                    os._exit(0)
            except OSError:
                os._exit(1)
        assert removed and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_trained_on(tmp_path, monkeypatch, capsys, number):
    def lockf(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", lockf)
    with run_lock(tmp_path, patience=0):
        assert (tmp_path / "lock").read_text()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path} cannot be locked ({os.strerror(number)})")


def test_damaged_states_and_old_ones(tmp_path):
    layer = torch.nn.Linear(2, 2)
    for step in (2, 4):
        save_state({"model": layer}, tmp_path, step, {"seed": 0})
    assert [path.name for path in saved_states(tmp_path)] == ["step-000000004"] and resume(
        {"model": layer}, tmp_path, {"seed": 0}
    ) == 4
    (tmp_path / "state" / "step-000000006.partial").mkdir()
    assert resume({"model": layer}, tmp_path, {"seed": 0}) == 4
    save_state({"model": layer}, tmp_path, 4, {"seed": 0})
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-000000004"]  # with what a killed one had begun
    (tmp_path / "state" / "step-000000004" / "state.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match="state.pt cannot be read .*: delete .*state to start over"):
        resume({"model": layer}, tmp_path, {"seed": 0})
