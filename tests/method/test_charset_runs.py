"""Runs with charsets of their own: the content of the file is their identity, and models and scores need no file."""

import io
import json

import pandas as pd
import pytest
from PIL import Image

from ablations.row_config import content_of
from core import moved
from core.charset import CHARSET_36, CHARSET_94
from core.data.lmdb import write_lmdb
from core.errors import ConfigError
from core.evaluate.run import evaluate
from core.experiment.experiment import load
from core.experiment.protocol import Protocol
from core.files import ROOT, text_digest
from core.run_files import MODEL_DESCRIPTION
from core.train.run import train
from core.weights.checkpoint import load_model, save_model
from core.weights.released import build_released
from tests.method.test_released import as_released
from tests.support.checkout import BASELINE

GREEK = "ablations/charsets/greek.txt"
KNOBS = ("CHARSET", "CAPTION_CHARSET", "SCORING_CHARSET")
WIDE = range(0x4E00, 0x4E00 + 7000)


def picture(seed: int) -> bytes:
    data = io.BytesIO()
    Image.linear_gradient("L").rotate(seed).resize((64, 16)).convert("RGB").save(data, "PNG")
    return data.getvalue()


def in_charset(path, bindings=()):
    """The baseline with one file for all its charsets."""
    return load(BASELINE, "smoke", [*(f"{knob} = '{path}'" for knob in KNOBS), *bindings])


def test_the_content_of_a_file_decides(smoke, tmp_path):
    copies = {"CHARSET": "94", "CAPTION_CHARSET": "36", "SCORING_CHARSET": "36"}
    for name in ("94", "36"):
        (tmp_path / f"my{name}.txt").write_text((ROOT / f"ablations/charsets/{name}.txt").read_text() + "# a copy\n")
    same = load(BASELINE, "smoke", [f"{knob} = '{tmp_path}/my{name}.txt'" for knob, name in copies.items()])
    assert (same.digest, same.protocol.digest) == (smoke.digest, smoke.protocol.digest)
    assert str(tmp_path) not in same.operative
    (tmp_path / "my94.txt").write_text("U+0061..U+007A\n")
    edited = load(BASELINE, "smoke", [f"CHARSET = '{tmp_path}/my94.txt'"])
    assert edited.digest != smoke.digest and edited.protocol.digest == smoke.protocol.digest


def test_every_charset_counts_for_what_reads_it(smoke):
    others = {"CHARSET": "ablations/charsets/62.txt", "CAPTION_CHARSET": "ablations/charsets/94.txt", "SCORING_CHARSET": GREEK}
    rows = {knob: load(BASELINE, "smoke", [f"{knob} = '{other}'"]) for knob, other in others.items()}
    assert len({smoke.digest, *(row.digest for row in rows.values())}) == 3
    assert {knob for knob, row in rows.items() if row.protocol.digest != smoke.protocol.digest} == {"SCORING_CHARSET"}
    assert rows["SCORING_CHARSET"].digest == smoke.digest


def test_published_charsets_count_as_their_sizes(smoke):
    lines = smoke.identity.splitlines()
    assert "core.model.clip4str.CLIP4STR.charset_size = 94" in lines
    assert "core.model.clip4str.CLIP4STR.caption_charset_size = 36" in lines
    assert not [line for line in lines if "charset =" in line]


def test_the_plan_reads_a_row_again_when_its_charset_changes(tmp_path):
    (tmp_path / "my.txt").write_text("a\nb\n")
    (tmp_path / "row.gin").write_text(f"include '{BASELINE}'\nCHARSET = \"{tmp_path}/my.txt\"\n")
    before = content_of(tmp_path / "row.gin", "smoke")
    (tmp_path / "my.txt").write_text("a\nc\n")
    assert before != content_of(tmp_path / "row.gin", "smoke")


@pytest.mark.parametrize(("old", "macro"), [("36", ""), ("%SIZE", "SIZE = 36\n")])
def test_models_saved_when_charsets_had_sizes_load(smoke, model, tmp_path, old, macro):
    sized = smoke.training.replace(
        "clip4str.CLIP4STR.caption_charset = %CAPTION_CHARSET", f"clip4str.CLIP4STR.caption_charset_size = {old}"
    )
    sized = sized.replace("clip4str.CLIP4STR.charset = %CHARSET", "clip4str.CLIP4STR.charset_size = 94")
    assert sized.count("_size = ") == smoke.training.count("_size = ") + 2
    save_model(model, smoke.training, {}, tmp_path)
    description = json.loads((tmp_path / MODEL_DESCRIPTION).read_text())
    head, macros, rest = sized.partition("# Macros:")
    (tmp_path / MODEL_DESCRIPTION).write_text(json.dumps({**description, "gin": f"{head}{macro}{macros}{rest}"}))
    loaded = load_model(tmp_path)
    assert (loaded.tokenizer.charset, loaded.caption_charset) == (CHARSET_94, CHARSET_36)


def test_a_size_that_had_no_charset_is_an_error_of_the_model(smoke, model, tmp_path):
    save_model(
        model,
        smoke.training.replace("clip4str.CLIP4STR.charset = %CHARSET", "clip4str.CLIP4STR.charset_size = 12"),
        {},
        tmp_path,
    )
    with pytest.raises(ConfigError, match="charset_size"):
        load_model(tmp_path)


def test_protocols_that_were_recorded_by_size(smoke):
    recorded = json.loads(smoke.protocol.settings) | {"batch": 256, "output": "cross"}
    old = moved.with_first_settings(recorded)
    assert old["scoring_charset_size"] == 36 and "scoring_charset" not in old
    assert moved.with_new_settings(old) == moved.with_new_settings(recorded) == recorded
    assert Protocol.from_settings(old).settings == smoke.protocol.settings
    named = {name: value for name, value in old.items() if name not in ("batch", "output")}
    assert smoke.protocol.digest == text_digest(json.dumps(named, sort_keys=True))
    with pytest.raises(TypeError):
        Protocol.from_settings({**old, "scoring_charset_size": 12})


def test_a_released_checkpoint_of_another_charset(smoke, tmp_path):
    model = in_charset(GREEK).experiment.model(load_weights=False)
    tensors = {"state_dict": as_released(model), "hyper_parameters": {"charset_train": model.tokenizer.charset}}
    tensors["hyper_parameters"] |= {
        "img_size": model.towers.image_size,
        "context_length": model.towers.context_length,
        "dec_num_heads": 3,
    }
    assert build_released(tensors).tokenizer.charset == model.tokenizer.charset


def test_seven_thousand_characters_train_and_read_without_their_file(tmp_path):
    charset = tmp_path / "wide.txt"
    charset.write_text(f"U+{WIDE[0]:04X}..U+{WIDE[-1]:04X}\n")
    samples = [(picture(i), "".join(chr(WIDE[(i * 977 + k * 611) % 7000]) for k in range(1 + i % 5))) for i in range(16)]
    for folder in ("train/real", "val", "test/SVT"):
        write_lmdb(tmp_path / folder, [*samples, (picture(0), "Latin"), (picture(1), " ")])
    row = in_charset(charset)
    assert row.blueprint.visual_decoder.num_classes == 7001
    train(row, tmp_path, tmp_path / "run", 0)
    charset.unlink()
    metrics = evaluate(load_model(tmp_path / "run"), tmp_path, {tmp_path / "out": row.protocol})[tmp_path / "out"]
    entry = metrics["benchmarks"]["SVT"]
    assert entry["n"] == 16 and {"no supported character", "empty label"} == set(entry["left_out"])
    rows = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert rows.label.tolist() == [label for _, label in samples]
    assert {character for text in rows.cross for character in text} <= set(map(chr, WIDE))
    record = json.loads((tmp_path / "run" / "provenance.json").read_text())["train"]
    assert record["images"] == 16 and record["left_out"]["no supported character"]["count"] == 1
    assert Protocol.from_settings(metrics["protocol"]) == row.protocol
