"""Interrupted and hostile conversions: they go on, or end with a message that names file and line."""

import json
import re
import signal
import subprocess
import sys

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data.convert import parts
from core.data.convert.formats import FORMATS, guess
from core.data.convert.load import Load, pixels
from core.data.convert.source import SourceOptions
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.prepare import main, prepare, read_subset
from core.errors import DataError
from tests.support.formats import coco, picture, put, put_pictures, textocr

KILLED = """
import os, signal, sys
from pathlib import Path
from core.data.convert import parts
from core.data import prepare
parts.PART = 4
write = parts.write_lmdb
def cut_short(path, samples):
    def until_killed():
        yield samples[0]
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, until_killed() if path.name == "part-00002" else samples)
parts.write_lmdb = cut_short
prepare.prepare([Path(sys.argv[1])], Path(sys.argv[2]))
"""


def source(folder, count=18):
    """Every third image is missing."""
    put_pictures(folder, [f"{i}.png" for i in range(count) if i % 3])
    put(folder / "labels.tsv", "".join(f"{i}.png\tword{i}\n" for i in range(count)))
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_killed_conversion_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch):
    src = source(tmp_path / "src")
    run = subprocess.run([sys.executable, "-c", KILLED, src, tmp_path / "killed"], capture_output=True)
    assert run.returncode == -signal.SIGKILL and not (tmp_path / "killed").exists()
    begun = tmp_path / "killed.parts"
    assert {re.sub(r"\.[0-9a-f]{8}-\d+-[0-9a-f]{8}(?=\.partial)", "", path.name) for path in begun.glob("part*")} == {
        *("part-00000", "part-00000.json", "part-00001", "part-00001.json", "part-00002.json", "part-00002.partial")
    }
    monkeypatch.setattr(parts, "PART", 4)
    loaded, call = [], Load.__call__
    monkeypatch.setattr(Load, "__call__", lambda self, items: loaded.extend(items) or call(self, items))
    written = []
    monkeypatch.setattr(parts, "write_lmdb", lambda path, samples: written.append(path.name) or write_lmdb(path, samples))
    prepare([src], tmp_path / "killed")
    assert [item.label for item in loaded] == [f"word{i}" for i in range(8, 18) if i % 3]
    assert written == ["part-00002", "part-00003", "part-00004"]
    assert not begun.exists()
    for name, workers, size in (("whole", 1, 4), ("parallel", 2, 4), ("large", 1, 2048)):
        monkeypatch.setattr(parts, "PART", size)
        prepare([src], tmp_path / name, workers=workers)
        assert content(tmp_path / name) == content(tmp_path / "killed")
    assert [sample.label for sample in WordLmdb(tmp_path / "whole").samples] == [f"word{i}" for i in range(18) if i % 3]


def test_parts_of_another_job_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART", 4)
    src = source(tmp_path / "src")
    subprocess.run([sys.executable, "-c", KILLED, src, tmp_path / "out"], capture_output=True)
    with pytest.raises(ValueError, match=r"out.parts holds parts of another job \(min_side was 1 and is 2\); remove it"):
        prepare([src], tmp_path / "out", load=Load(min_side=2))
    put(src / "1.png", picture(99, (61, 40)))
    with pytest.raises(ValueError, match="source_fingerprint was"):
        prepare([src], tmp_path / "out")


def test_what_is_there_is_never_overwritten(tmp_path):
    src = source(tmp_path / "src")
    put(tmp_path / "out" / "mine.txt", "precious")
    with pytest.raises(FileExistsError, match="out is there already"):
        prepare([src], tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"


def test_nothing_usable_says_why_and_leaves_nothing(tmp_path):
    put_pictures(tmp_path / "src", ["b.png"])
    put(tmp_path / "src" / "labels.tsv", "a.png\tx\nb.png\t \n")
    said = r"none of 2 words can be used \(image missing: 1 \(first: labels.tsv:1 a.png\); empty label: 1 \(first: "
    with pytest.raises(ValueError, match=said):
        prepare([tmp_path / "src"], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


MALFORMED = {
    "labels.tsv": ("labels", b"a.png\tx\nno tab\n", "labels.tsv, line 2: expected image<TAB>label, found 'no tab'"),
    "a/labels.tsv": ("labels", b"a.png\tx\nb.png\t\xe9t\xe9\n", r"labels.tsv, line 2: not UTF-8 \(b'b.png"),
    "labels.csv": ("labels", b"a.png,x\n\nb.png,x,y\n", "labels.csv, line 3: expected image,label"),
    "b/labels.csv": ("labels", b'a.png,x\nb.png,"y\n', "labels.csv, line 2: unexpected end of data"),
    "labels.json": (
        "labels",
        b'[\n{"image": "a.png", "label": 5}]',
        "labels.json, entry 1: expected a label that is a string, found 5",
    ),
    "b/labels.json": ("labels", b'{"a.png":\n', "labels.json, line 2: not valid JSON"),
    "gt.txt": ("icdar-words", b'word_1.png, "a"\n\nword_2.png b\n', 'gt.txt, line 3: expected word_1.png, "label"'),
    "scenes/gt_img_1.txt": ("icdar-scenes", b"1,2,3,x,###\n", "gt_img_1.txt, line 1: expected x1,y1"),
    "train.xml": ("svt-xml", b"<tagset>\n<image>", "train.xml, line 2: not valid XML"),
    "traindata.mat": ("iiit5k", b"MATLAB" * 40, "traindata.mat: not a readable MATLAB 5 file"),
    "train.json": ("textocr", b'{"imgs": {}, "anns": {}}', "train.json: imgToAnns missing"),
    "train.jsonl": (
        "union14m",
        b'{"filename": "a.png"}\n',
        "train.jsonl, line 1: expected image and label, such as",
    ),
    "list.txt": ("occlusion", b"heavy/1.png park\nnoimage\n", "list.txt, line 2: expected image label"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_sources_name_file_and_line(tmp_path, name):
    form, raw, message = MALFORMED[name]
    path = put(tmp_path / name, raw)
    with pytest.raises(ValueError, match=message):
        prepare([path.parent if form == "icdar-scenes" else path], tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", MALFORMED)
@given(data=st.data())
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_damaged_bytes_never_crash_a_reader(tmp_path, name, data):
    """Bytes overwritten anywhere in a list: it is read, or refused with the file's name."""
    form, raw, _ = MALFORMED[name]
    place, noise = data.draw(st.integers(0, len(raw))), data.draw(st.binary(max_size=8))
    path = put(tmp_path / name, raw[:place] + noise + raw[place + len(noise) :])
    try:
        entries = list(FORMATS[form].read(path.parent if form == "icdar-scenes" else path, SourceOptions(images=tmp_path)))
    except DataError as error:
        assert path.name in str(error)
    else:
        assert all(path.name in entry.key for entry in entries)


def test_damaged_annotations_are_named(tmp_path):
    words = json.loads(coco(tmp_path).read_text())
    words["anns"]["9"]["bbox"] = [1, 2, 3]
    with pytest.raises(ValueError, match=r"c.json: annotation 9: bbox = \[1, 2, 3\], expected \[x, y, width, height\]"):
        prepare([put(tmp_path / "c.json", words)], tmp_path / "out", "coco-text", options=SourceOptions(split="train"))
    words = json.loads(textocr(tmp_path).read_text())
    words["anns"]["a4ea_1"]["points"] = [1, 2, 3]
    with pytest.raises(ValueError, match=r"a4ea_1: points = \[1, 2, 3\], expected"):
        prepare([put(tmp_path / "t.json", words)], tmp_path / "out", "textocr")


def test_hostile_labels_and_names_are_kept_or_said(tmp_path):
    put_pictures(tmp_path / "ü ö", ["a.png"])
    names = {"nul": "x\0y", "long": "z" * 10_000, "arabic": "سلام", "emoji": "👩‍👩‍👧", "lone": "\ud800"}
    rows = [{"image": "a.png", "label": label} for label in names.values()]
    rows += [
        {"image": "n" * 10_000 + ".png", "label": "x"},
        {"image": "a\0.png", "label": "x"},
        {"image": "\udcff", "label": "x"},
    ]
    put(tmp_path / "ü ö" / "labels.json", rows)
    report = prepare([tmp_path / "ü ö"], tmp_path / "out ä")
    reasons = {"image missing": 3, "label is not valid Unicode": 1, "control character in the label": 1}
    assert report["written"] == 3 and report["left_out"]["counts"] == reasons
    with lmdb.open(str(tmp_path / "out ä"), readonly=True, lock=False) as database, database.begin() as transaction:
        stored = [transaction.get(f"label-{i:09d}".encode()).decode() for i in range(1, 4)]
    assert stored == [names[name] for name in ("long", "arabic", "emoji")]


def test_formats_are_told_from_files_or_listed(tmp_path):
    put(tmp_path / "photo.png", picture())
    with pytest.raises(ValueError, match="is in no format that can be told") as caught:
        guess(tmp_path)
    assert all(f"{name}: {form.looks}" in str(caught.value) for name, form in FORMATS.items())
    put(tmp_path / "labels.csv", "photo.png,x\n")
    put(tmp_path / "gt.txt", 'photo.png, "x"\n')
    with pytest.raises(ValueError, match="may be labels or icdar-words; say --format"):
        guess(tmp_path)
    with pytest.raises(ValueError, match="gone: no such file or folder"):
        guess(tmp_path / "gone")


def test_boxes_cover_the_pixels_they_touch():
    assert pixels((1.2, 2.8, 5.1, 6.0), 0, (10, 10)) == (1, 2, 6, 6)
    assert pixels((1.2, 2.8, 5.1, 6.0), 2, (7, 7)) == (0, 0, 7, 7)
    assert pixels((0, 0, float("nan"), 5), 0, (9, 9)) == "box has no area"
    assert pixels((9, 0, 12, 5), 0, (9, 9)) == "box outside the image"


def test_index_lists(tmp_path):
    assert read_subset(put(tmp_path / "a.txt", "3\n\n1\n")) == {1, 3}
    for text in ("1\n0\n", "1\nx\n", "1\n1\n"):
        with pytest.raises(ValueError, match="b.txt, line 2: expected a number from 1"):
            read_subset(put(tmp_path / "b.txt", text))


def test_command_line(tmp_path, capsys):
    src = source(tmp_path / "src", 3)
    main([str(src), str(tmp_path / "out"), "--workers", "1", "--match", "word[02]"])
    assert "left out        1  label does not match" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["command"].startswith("python -m core.data.prepare ")
    with pytest.raises(SystemExit, match="1"):
        main([str(src), str(tmp_path / "out")])
    assert "error:" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="1"):
        main([str(src), str(tmp_path / "new"), "--match", "["])
    assert "--match '[' is not a regular expression" in capsys.readouterr().err


def test_options_that_would_be_ignored_are_refused(tmp_path):
    write_lmdb(tmp_path / "train" / "set", [(picture(), "a")])
    with pytest.raises(ValueError, match="--split test: format lmdb has no splits in one source; name the folder"):
        prepare([tmp_path / "train"], tmp_path / "out", options=SourceOptions(split="test"))
    path = textocr(tmp_path / "src")
    with pytest.raises(ValueError, match="TextOCR_0.1_train.json is named after train, yet --split says val"):
        prepare([path], tmp_path / "out", options=SourceOptions(split="val"))
    with pytest.raises(ValueError, match="TextOCR_0.1_train.json is named after train, yet --split says test"):
        prepare([path.parent], tmp_path / "out", options=SourceOptions(split="test"))  # the only file of a folder
    with pytest.raises(ValueError, match="--workers 0: take 1 or more"):
        prepare([path], tmp_path / "out", workers=0)
