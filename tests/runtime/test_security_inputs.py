"""Inputs that are no weights: gin text, states, data files. Each hostile one would make a file if anything in it ran."""

import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from core.config import gin_text
from core.data.convert import iiit5k
from core.data.convert.source import SourceOptions
from core.errors import ConfigError, DataError
from core.experiment.experiment import load
from core.figures.maps import ARRAYS, DESCRIPTION, load_maps
from core.files import ABLATIONS
from core.train.state import resume, save_state
from core.weights.checkpoint import load_model
from tests.support.checkout import BASELINE
from tests.support.hostile import Touch

OURS = "from __gin__ import dynamic_registration\n"
HOSTILE_GIN = (  # what the refusal names, the text
    ("import os", "import os\nos.mknod.path = {pwned!r}\nclip4str.CLIP4STR.towers = @os.mknod()\n"),
    ("import os", "import os as towers\ntowers.mknod.path = {pwned!r}\n"),
    ("import posix.mknod", "from posix import mknod\n"),
    ("import core.files", "from core import files\nfiles.write_json.path = {pwned!r}\nfiles.write_json.content = 1\n"),
    ("import core.model.towers", "import core.model.towers\n"),
    ("towers.json.dump", "clip4str.CLIP4STR.towers = @towers.json.dump()\n"),
    ("towers.open_clip", "towers.open_clip.arch = 1\n"),
    ("freezing.freeze", "from core.model import freezing\nclip4str.CLIP4STR.towers = @freezing.freeze()\n"),
    ("x/towers.Layers", "from core.model import towers\nclip4str.CLIP4STR.towers = [{{'a': (@x/towers.Layers(), 1)}}]\n"),
    ("import core.weights.pretrained", "from core.weights import pretrained\nclip4str.CLIP4STR.towers = @pretrained.fit()\n"),
    ("include 'ablations/base.gin'", "include 'ablations/base.gin'\n"),
    ("os.mknod", "KNOB = @os.mknod()\n"),
    ("gin.macro", "KNOB/gin.macro.value = 3\n"),
)


@pytest.mark.parametrize(("asked", "added"), HOSTILE_GIN)
def test_the_gin_text_of_a_model_names_our_classes_or_is_refused(asked, added, tmp_path):
    pwned = tmp_path / "pwned"
    text = load(BASELINE, "smoke").training + added.format(pwned=str(pwned))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "model.json").write_text(json.dumps({"gin": text}))
    with pytest.raises(ConfigError) as refusal:
        load_model(tmp_path)
    assert str(refusal.value).startswith(f"{tmp_path / 'model.json'} is refused: its gin text says `{asked}`")
    assert not pwned.exists()


@pytest.mark.parametrize("row", sorted(ABLATIONS.glob("table_*/*.gin")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_model_of_ours_may_be_loaded(row):
    gin_text.refuse_foreign(load(row, "smoke").training, row)


def test_a_gin_file_of_the_user_is_a_program(tmp_path):
    """As the README warns: what a row's file names is called."""
    row, made = tmp_path / "row.gin", tmp_path / "made"
    row.write_text(f"{OURS}import os\ninclude '{BASELINE}'\nos.mknod.path = {str(made)!r}\nIMAGE_FROZEN = @os.mknod()\n")
    load(row, "smoke")
    assert made.exists()


class Part:
    """Anything with a state."""

    def __init__(self, state):
        self.state = state

    def state_dict(self):
        return {"value": self.state}

    def load_state_dict(self, state):
        self.state = state["value"]


def test_a_hostile_state_is_not_gone_on_from(tmp_path):
    save_state({"part": Part(Touch(tmp_path / "pwned"))}, tmp_path, 3, {"seed": 0})
    with pytest.raises(ValueError, match=r"state\.pt .*posix\.mknod"):
        resume({"part": Part(None)}, tmp_path, {"seed": 0})
    assert not (tmp_path / "pwned").exists()


def test_a_predictions_file_with_a_pickled_type_runs_nothing(tmp_path):
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Touch(tmp_path / "pwned")),
    }
    schema = pa.schema([pa.field("label", pa.int64(), metadata=metadata)])
    pyarrow.parquet.write_table(pa.table([pa.array([1, 2])], schema=schema), tmp_path / "predictions.parquet")
    assert list(pd.read_parquet(tmp_path / "predictions.parquet").label) == [1, 2]
    assert not (tmp_path / "pwned").exists()


def test_a_mat_file_that_is_a_pickle_is_refused(tmp_path):
    (tmp_path / "testdata.mat").write_bytes(pickle.dumps(Touch(tmp_path / "pwned")))
    with pytest.raises(DataError, match=r"testdata\.mat: not a readable MATLAB 5 file"):
        list(iiit5k.read(tmp_path / "testdata.mat", SourceOptions()))
    assert not (tmp_path / "pwned").exists()


def test_maps_with_pickled_arrays_are_refused(tmp_path):
    about = {"figure": "figure_1", "scale": "micro", "method": "", "tower": "", "seed": 0, "cases": [1]}
    (tmp_path / DESCRIPTION).write_text(json.dumps(about))
    np.savez(tmp_path / ARRAYS, maps=np.array([Touch(tmp_path / "pwned")], dtype=object), image_00000=np.zeros(1))
    with pytest.raises(DataError, match="allow_pickle=False"):
        load_maps(tmp_path, "figure_1")
    assert not (tmp_path / "pwned").exists()
