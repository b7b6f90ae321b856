"""Nothing in a file that is loaded is run: real malicious files, each of which does run under a plain loader."""

import argparse
import pathlib
import pickle
import re

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from core.errors import UnsafeFile
from core.model.timm_tower import TimmTower
from core.model.towers import ClipTowers
from core.weights import torchscript
from core.weights.checkpoint import load_model
from core.weights.pickles import read_pickle, read_tensors
from core.weights.pretrained import read_clip
from tests.method.test_weights import SMALL
from tests.support.hostile import KINDS, Touch, torch_zip

NAMED = {"zip", "stream", "pickle", "pickle5", "script pickle"}  # the message names what would have been called

VIT = "test_vit"  # timm's smallest


@pytest.fixture
def hostile(tmp_path):
    """Writes a malicious file of a kind; its payload would make `tmp_path / "pwned"`."""

    def write(kind, suffix=".ckpt"):
        path = tmp_path / f"evil{suffix}"
        KINDS[kind](path, Touch(tmp_path / "pwned"))
        return path

    yield write
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_malicious_file_is_refused_and_nothing_in_it_runs(kind, hostile):
    path = hostile(kind)
    with pytest.raises(ValueError, match=rf"{path} is not a checkpoint that can be read safely: ") as refusal:
        load_model(path)
    if kind in NAMED:
        assert isinstance(refusal.value, UnsafeFile)
        assert re.search(r"it asks for (posix|nt)\.mknod; nothing in it was run\. Get it as \.safetensors", str(refusal.value))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_clip(path, None, "ViT-B-16", quick_gelu=False)


@pytest.mark.parametrize("kind", ["zip", "stream", "pickle", "numpy pickle", "script state"])
def test_these_files_are_malicious(kind, tmp_path):
    """Without the restriction the payload runs, so that its absence above means something."""
    KINDS[kind](tmp_path / "evil", Touch(tmp_path / "pwned"))
    if kind == "script state":
        torch.jit.load(tmp_path / "evil")
    elif kind in ("pickle", "numpy pickle"):
        pickle.loads((tmp_path / "evil").read_bytes())
    else:
        torch.load(tmp_path / "evil", weights_only=False)
    assert (tmp_path / "pwned").exists()


def test_no_switch_of_the_environment_opens_the_door(hostile, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(UnsafeFile):
        load_model(hostile("zip"))


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth", ".safetensors"])
def test_towers_refuse_it_under_any_name(suffix, hostile):
    path = hostile("zip", suffix)
    reason = "damaged" if suffix == ".safetensors" else "asks for posix.mknod"
    with torch.device("meta"):
        towers = ClipTowers(SMALL, str(path), (32, 32), None, 8), TimmTower(VIT, str(path), (32, 32), None, True, None)
    for tower in towers:
        with pytest.raises(ValueError, match=f"{path.name} .*{reason}"):
            tower.load_pretrained()


def test_a_script_archive_that_acts_is_named(hostile):
    with pytest.raises(UnsafeFile, match=r"it asks for __torch__\.tests\.support\.hostile\.Writer"):
        read_clip(hostile("script state", ".pt"), None, "ViT-B-16", quick_gelu=False)


def test_what_training_programs_keep_beside_weights_is_let_in(tmp_path):
    kept = {
        "state_dict": {"module.weight": torch.ones(2)},
        "best": np.float64(0.5),
        "curve": np.arange(3),
        "args": argparse.Namespace(lr=0.1),
        "folder": pathlib.PosixPath("runs/a"),
    }
    for name, zipped in (("new", True), ("old", False)):
        torch.save(kept, tmp_path / name, _use_new_zipfile_serialization=zipped)
        found = read_pickle(tmp_path / name)
        assert found["best"] == 0.5 and found["curve"].tolist() == [0, 1, 2] and found["args"].lr == 0.1
        assert found["folder"] == pathlib.PurePosixPath("runs/a")
        assert list(read_tensors(tmp_path / name)) == ["weight"]


def test_the_door_is_closed_again_after_reading(tmp_path):
    before = torch.serialization.get_safe_globals()
    torch.save({"weight": torch.ones(1)}, tmp_path / "good.pt")
    read_pickle(tmp_path / "good.pt")
    torch_zip(tmp_path / "evil.pt", Touch(tmp_path / "pwned"))
    with pytest.raises(UnsafeFile):
        read_pickle(tmp_path / "evil.pt")
    assert torch.serialization.get_safe_globals() == before


def test_archives_are_read_as_torch_reads_them(tmp_path):
    torch.manual_seed(0)
    clip = open_clip.CLIP(**SMALL)
    example = torch.zeros(1, 3, 32, 32), torch.zeros(1, 16).long()
    torch.jit.save(torch.jit.trace(clip, example, check_trace=False), tmp_path / "clip.pt")
    expected, found = torch.jit.load(tmp_path / "clip.pt").state_dict(), read_pickle(tmp_path / "clip.pt")
    assert expected.keys() == found.keys() and len(found) > 60
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def test_a_tensor_beyond_its_storage_is_refused():
    storage = torch.arange(6.0)
    assert torchscript.rebuild(storage, 1, (2, 2), (2, 1)).tolist() == [[1, 2], [3, 4]]
    for offset, size, stride in ((0, (7,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (3, (2, 2), (2, 1))):
        with pytest.raises(pickle.UnpicklingError, match="outside its storage of 6 elements"):
            torchscript.rebuild(storage, offset, size, stride)


def test_our_own_weights_are_no_pickles(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads((tmp_path / "model.safetensors").read_bytes())
