"""What is not one word's text never becomes a label: refused with file and line, or left out by name."""

import csv
import io
import json
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from core.charset import not_a_word
from core.data.convert.formats import FORMATS, guess
from core.data.convert.source import Item, SourceOptions
from core.data.lmdb import WHOLE, WordLmdb, write_lmdb
from core.data.prepare import Filter, prepare
from core.data.render.lexicon import read_word_list
from core.errors import DataError
from reports.collect.labels import read_labels
from tests.support.formats import cells, put, put_pictures

fast = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
BOXES = '[{"transcription": "Hello", "points": [[0, 0], [9, 0], [9, 9], [0, 9]]}]'


def labels_of(path, form, **options):
    """What would be written: the labels of a source after the filter, whether or not their images exist."""
    entries = FORMATS[form].read(path, SourceOptions(images=path if path.is_dir() else path.parent, **options))
    return [entry.label for entry in Filter()(entries) if isinstance(entry, Item)]


REFUSED = {
    "a third column": ("labels.tsv", "labels", "a.png\tHello\na.png\tWorld\ten\n", "labels.tsv, line 2: .*no third column"),
    "an empty third column": ("labels.tsv", "labels", "a.png\tHello\t\n", "labels.tsv, line 1: .*no third column"),
    "a third column of CSV": (
        "labels.csv",
        "labels",
        "a.png,Hello\na.png,World,en\n",
        "labels.csv, line 2: expected image,label",
    ),
    "a third column of a list": ("list.txt", "occlusion", "a.png Hello\na.png World\ten\n", "list.txt, line 2: .*no further"),
    "a third column of ICDAR": ("gt.txt", "icdar-words", 'a.png, "Hello\ten"\n', "gt.txt, line 1: .*no further"),
    "a quoted third column": ("gt.txt", "icdar-words", 'a.png, "Hello", "en"\n', "gt.txt, line 1: .*no further column"),
    "a quoted fifth column": ("gt_a.txt", "icdar-scenes", '0, 0, 9, 9, "Hello", "en"\n', "gt_a.txt, line 1: .*no further"),
    "a fifth column": ("gt_a.txt", "icdar-scenes", '0, 0, 9, 9, "Hello", en\n', "gt_a.txt, line 1: .*no further column"),
    "another script": ("gt_a.txt", "icdar-scenes", "0,0,9,0,9,9,0,9,Thai,Hello\n", "line 1: .*--format mlt-scenes"),
    "commas in TSV": ("labels.tsv", "labels", "a.png,Hello\n", r"line 1: expected image<TAB>label, not separated by commas"),
    "semicolons in CSV": ("labels.csv", "labels", "a.png;Hello\n", "line 1: expected image,label, not separated by semicolons"),
    "tabs in CSV": ("labels.csv", "labels", "a.png\tHello\n", r"line 1: expected image,label, not separated by tabs \(.tsv\)"),
    "a list of words": (
        "labels.jsonl",
        "labels",
        '{"image": "a.png", "label": ["W", "X"]}\n',
        r'line 1: .* found \["W", "X"\]',
    ),
    "a number": ("labels.jsonl", "labels", '\n{"image": "a.png", "label": 5}\n', "labels.jsonl, line 2: .* found 5"),
    "an object": ("labels.json", "labels", '{"a.png": {"text": "Hello"}}', 'labels.json, entry 1: .*found {"text": "Hello"}'),
    "true": ("train.jsonl", "union14m", '{"filename": "a.png", "text": true}\n', "train.jsonl, line 1: .* found true"),
    "a key twice": (
        "labels.json",
        "labels",
        '{"a.png": "Hello", "a.png": "World"}',
        "labels.json: the key 'a.png' comes twice",
    ),
    "deep JSON": ("labels.json", "labels", "[" * 100_000, "labels.json: JSON that cannot be read"),
    "a huge number": ("labels.json", "labels", "9" * 5000, "labels.json: JSON that cannot be read"),
    "two texts of one image": (
        "x.json",
        "union14m",
        '{"data_list": [{"img_path": "a.png", "instances": [{"text": "a"}, {"text": "b"}]}]}',
        "x.json, entry 1: 2 texts for a.png",
    ),
    "boxes instead of a label": ("gt.tsv", "labels", f"a.png\t{BOXES}\n", "gt.tsv, line 1: .*--format ppocrlabel"),
    "boxes in a list": ("list.txt", "occlusion", f"a.png {BOXES}\n", "list.txt, line 1: .*not JSON"),
    "a script before the word": ("gt_a.txt", "icdar-scenes", "0,0,9,0,9,9,0,9,Latin,Hello\n", "line 1: .*--format mlt-scenes"),
    "a mark before the word": ("gt_a.txt", "icdar-scenes", '0,0,9,0,9,9,0,9,0,"Hello"\n', "line 1: .*--format rctw17"),
    "an unknown script": ("gt_a.txt", "mlt-scenes", "0,0,9,0,9,9,0,9,Hello\n", "line 1: .*script: Arabic, "),
    "two tags": (
        "train.xml",
        "svt-xml",
        '<t><image><imageName>a.png</imageName><taggedRectangle x="0" y="0" width="9" height="9"><tag>A</tag><tag>B</tag>'
        "</taggedRectangle></image></t>",
        "train.xml: a.png, rectangle 1: expected one <tag>",
    ),
    "UTF-16": ("labels.tsv", "labels", "a.png\tHello\n".encode("utf-16"), r"labels.tsv: UTF-16 \(byte order mark FF FE\)"),
    "UTF-16, big end first": ("labels.csv", "labels", b"\xfe\xff\0a", r"labels.csv: UTF-16 \(byte order mark FE FF\)"),
    "UTF-32": ("labels.json", "labels", '{"a.png": "x"}'.encode("utf-32"), r"UTF-32 \(byte order mark FF FE 00 00\)"),
    "UTF-16 without mark": ("labels.tsv", "labels", "a.png\tHello\n".encode("utf-16-le"), "labels.tsv, line 1: a NUL byte"),
    "Latin-1": ("labels.tsv", "labels", "a.png\tHello\na.png\tCafé\n".encode("latin-1"), "labels.tsv, line 2: not UTF-8"),
    "Chinese": ("labels.tsv", "labels", "a.png\t眼镜\n".encode("gb18030"), "labels.tsv, line 1: not UTF-8 .*gb18030"),
    "line ends of 1990": ("labels.tsv", "labels", "a.png\tHello\rb.png\tWorld\r", "labels.tsv, line 1: a carriage return"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_file_and_line(tmp_path, kind):
    name, form, content, message = REFUSED[kind]
    path = put(tmp_path / name, content)
    with pytest.raises(DataError, match=message):
        labels_of(tmp_path if "scenes" in form else path, form)


LEFT_OUT = {
    "null": ('{"filename": "a.png", "text": null}\n', "empty label"),
    "only spaces": ('{"filename": "a.png", "text": "  "}\n', "empty label"),
    "marked": ('{"filename": "a.png", "text": "###"}\n', "marked not to be read (###)"),
    "marked at length": ('{"filename": "a.png", "text": " #####"}\n', "marked not to be read (###)"),
    "a tab inside": ('{"filename": "a.png", "text": "Hello\\ten"}\n', "control character in the label"),
    "two lines": ('{"filename": "a.png", "text": "Hello\\nWorld"}\n', "control character in the label"),
    "a line of Unicode": ('{"filename": "a.png", "text": "Hello\\u2028World"}\n', "control character in the label"),
    "NUL": ('{"filename": "a.png", "text": "H\\u0000i"}\n', "control character in the label"),
    "a script": ('{"filename": "a.png", "text": "Latin,Hello"}\n', "script name before the word"),
    "half a character": ('{"filename": "a.png", "text": "\\ud800"}\n', "label is not valid Unicode"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_left_out_by_name(tmp_path, kind):
    put_pictures(tmp_path, ["a.png", "b.png"])
    line, reason = LEFT_OUT[kind]
    path = put(tmp_path / "train.jsonl", line + '{"filename": "b.png", "text": "Word"}\n')
    report = prepare([path], tmp_path / "out")
    assert report["written"] == 1 and report["left_out"]["counts"] == {reason: 1}
    assert report["left_out"]["samples"][0]["key"] == "train.jsonl:1 a.png"


def test_numbers_in_matlab_files_are_no_words(tmp_path):
    for value in (np.array([5, 6]), 7.5, np.array(["A", "B"], dtype=object)):
        savemat(tmp_path / "traindata.mat", {"traindata": cells([{"ImgName": "a.png", "GroundTruth": value}])})
        with pytest.raises(DataError, match="traindata.mat, entry 1: expected (one|a) string, found"):
            labels_of(tmp_path / "traindata.mat", "iiit5k")


def test_stored_labels_that_are_no_words_are_in_the_ledger(tmp_path):
    """LMDBs that others made: glued columns and marks are dropped by name, white space at the ends is not."""
    write_lmdb(tmp_path / "set", [(b"", label) for label in ("Hello\ten", "###", "####", " x\n", "##", "a#", "\0", "New York")])
    words = WordLmdb(tmp_path / "set")
    assert [sample.label for sample in words.samples] == ["x", "##", "a#", "NewYork"]
    assert words.ledger.counts == {"control character in the label": 2, "marked not to be read (###)": 2}


def test_cleaned_labels_and_word_lists_follow_the_same_rules(tmp_path):
    path = put(tmp_path / "SVT.csv", "\ufeffindex,label\n1,Hello\n2,###\n")
    assert read_labels(path, {WHOLE: 2}).dropna().to_dict() == {(WHOLE, 1): "Hello"}
    for content, message in (("1,Hello,en", "line 2: expected index,label"), ("1", "line 2: expected index,label")):
        with pytest.raises(DataError, match=f"SVT.csv, {message}"):
            read_labels(put(tmp_path / "SVT.csv", f"index,label\n{content}\n"), {WHOLE: 1})
    with pytest.raises(DataError, match="SVT.csv: UTF-16"):
        read_labels(put(tmp_path / "SVT.csv", "index,label\n1,x\n".encode("utf-16")), {WHOLE: 1})
    with pytest.raises(DataError, match=r"words.txt, line 2: 'Big\\tWorld' would not be kept"):
        read_word_list(put(tmp_path / "words.txt", "Hello\nBig\tWorld\n"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_encodings_are_named_before_the_format_is(tmp_path, encoding):
    put(tmp_path / "gt.txt", 'a.png, "Hello"\n'.encode(encoding))
    with pytest.raises(DataError, match="gt.txt(, line 1)?: (UTF|a NUL byte, as in UTF)"):
        guess(tmp_path)


@pytest.mark.parametrize("separator", ["\\", "/", "\\sub/../"])
def test_backslashes_are_read_as_folders(tmp_path, separator):
    put_pictures(tmp_path, ["img/a.png", "img/sub/x.png"])
    put(tmp_path / "labels.tsv", f"img{separator}a.png\tHello\r\n")
    prepare([tmp_path], tmp_path / "out")
    assert [sample.label for sample in WordLmdb(tmp_path / "out").samples] == ["Hello"]


@pytest.mark.parametrize("name", ["gt.txt", "rec_gt.txt", "train.txt"])
def test_tab_separated_lists_beside_their_images(tmp_path, name):
    put_pictures(tmp_path / "src", ["a.png", "word 4.jpg"])
    path = put(tmp_path / "src" / name, "a.png\tHello\nword 4.jpg\tBig World\n")
    source = path if name == "train.txt" else tmp_path / "src"
    assert guess(source) == "labels"
    prepare([source], tmp_path / "out")
    assert [sample.label for sample in WordLmdb(tmp_path / "out").samples] == ["Hello", "BigWorld"]


LINES = {
    "labels.tsv": ("labels", ["a.png\t", "Hello", "\t", "###", "\n", "\r\n", "\\", '"']),
    "list.txt": ("occlusion", ["a.png ", "Hello", "\t", "###", "\n", "b.jpg\t"]),
    "gt.txt": ("mlt-words", ["a.png,Latin,", "Hello", "###", "\n", ",", "b.jpg,None,"]),
    "mlt/gt_a.txt": ("mlt-scenes", ["0,0,9,0,9,9,0,9,Latin,", "Hello", "\n", ",", "###", "0,0,9,0,9,9,0,9,"]),
    "icdar/gt_a.txt": ("icdar-scenes", ["0,0,9,0,9,9,0,9,", "Latin,", "Hello", "\n", "###", '0,"', '"', "1, 2, 3, 4, "]),
    "rctw/image_0.txt": ("rctw17", ['0,0,9,0,9,9,0,9,0,"', "Hello", '"\n', "###", "\n", "0,0,9,0,9,9,0,9,"]),
    "uber/truth_a.txt": ("uber-text", ["0 0 9 0 9 9\t", "Hello", "\tStreetName\n", "*", "\n", "\t"]),
}


@pytest.mark.parametrize("name", LINES)
@given(data=st.data())
@fast
def test_any_bytes_never_a_label_that_was_not_there(tmp_path, name, data):
    """Every label stands in the file as it is, on one line, and is one word's text."""
    form, pieces = LINES[name]
    known = st.sampled_from([piece.encode() for piece in pieces])
    noise = st.binary(max_size=4) | st.text(max_size=4).map(str.encode)
    raw = b"".join(data.draw(st.lists(known | known | known | noise, max_size=12)))
    path = put(tmp_path / name, raw)
    for image in ("a.png", "b.jpg", "image_0.jpg"):
        put(path.parent / image, b"")
    try:
        labels = labels_of(path.parent if "/" in name else path, form)
    except DataError as error:
        assert path.name in str(error)
        return
    lines = raw.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    for label in labels:
        assert any(label in line for line in lines) and label.strip() != "###" and not label.startswith("Latin,")
        assert not any(unicodedata.category(character) == "Cc" for character in label)


@given(labels=st.lists(st.text(max_size=6), max_size=4))
@fast
def test_labels_survive_csv_or_are_left_out(tmp_path, labels):
    put(tmp_path / "a.png", b"")
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(("a.png", label) for label in labels)
    path = put(tmp_path / "labels.csv", stream.getvalue())
    try:
        assert labels_of(path, "labels") == [label for label in labels if label.strip() and not not_a_word(label)]
    except DataError as error:
        assert "labels.csv, line " in str(error) and any(sign in "".join(labels) for sign in "\0\r")


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
values = plain | st.lists(plain, max_size=3) | st.dictionaries(st.text(max_size=3), plain, max_size=3)


@pytest.mark.parametrize("form", ["json", "jsonl", "art"])
@given(contents=st.lists(values, min_size=1, max_size=4))
@fast
def test_json_values_are_labels_only_if_they_are_strings(tmp_path, form, contents):
    if form == "art":
        words = [{"transcription": value, "points": [0, 0, 9, 9]} for value in contents]
        path, reader = put(tmp_path / "a.json", {"gt_0": words}), "art"
    else:
        rows = [{"filename": "a.png", "text": value} for value in contents]
        path = put(tmp_path / f"labels.{form}", "\n".join(map(json.dumps, rows)) if form == "jsonl" else rows)
        reader = "labels"
    put(tmp_path / "gt_0.png", b"")
    put(tmp_path / "a.png", b"")
    if all(value is None or isinstance(value, str) for value in contents):
        assert labels_of(path, reader) == [value for value in contents if value and value.strip() and not not_a_word(value)]
    else:
        with pytest.raises(DataError, match=f"{path.name}.*expected a label that is a string"):
            labels_of(path, reader)
