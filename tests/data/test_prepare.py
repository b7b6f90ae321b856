import io
import json

import lmdb
import numpy as np
import pytest
from PIL import Image

from core.data.convert.load import Load
from core.data.convert.source import SourceOptions
from core.data.lmdb import WordLmdb, environment, write_lmdb
from core.data.prepare import Filter, prepare
from tests.support.formats import coco, iiit5k, picture, put, put_pictures, textocr


def stored(folder):
    """(image bytes, label) of every sample, as they lie in the LMDB."""
    with environment(folder).begin() as transaction:
        count = int(transaction.get(b"num-samples"))
        keys = [(f"image-{i:09d}".encode(), f"label-{i:09d}".encode()) for i in range(1, count + 1)]
        return [(transaction.get(image), transaction.get(label).decode()) for image, label in keys]


def labels(folder):
    return [label for _, label in stored(folder)]


def left_out(report):
    return [(entry["key"], entry["reason"]) for entry in report["left_out"]["samples"]]


def assert_crop(cut: bytes, scene: bytes, box):
    """The crop is a PNG of exactly the pixels of the decoded scene."""
    whole = np.asarray(Image.open(io.BytesIO(scene)).convert("RGB"))
    left, top, right, bottom = box
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(cut))), whole[top:bottom, left:right])


LISTS = {
    "labels.tsv": 'image\tlabel\na.png\tx, "y"\nsub/b.jpg\tz  z\nc.png\t \nnone.png\tw\nbad.png\tq\n',
    "labels.csv": 'a.png,"x, ""y"""\nsub/b.jpg,z  z\nc.png,\nnone.png,w\nbad.png,q\n',
    "labels.json": {"a.png": 'x, "y"', "sub/b.jpg": "z  z", "c.png": "", "none.png": "w", "bad.png": "q"},
}


@pytest.mark.parametrize("name", LISTS)
def test_folder_with_labels(tmp_path, name):
    made = put_pictures(tmp_path / "src", ["a.png", "sub/b.jpg", "c.png"])
    put(tmp_path / "src" / "bad.png", made["a.png"][:200])
    put(tmp_path / "src" / name, LISTS[name])
    report = prepare([tmp_path / "src"], tmp_path / "out")
    assert stored(tmp_path / "out") == [(made["a.png"], 'x, "y"'), (made["sub/b.jpg"], "z  z")]
    first = 4 if name == "labels.tsv" else 3
    assert left_out(report) == [
        (f"{name}:{first} c.png", "empty label"),
        (f"{name}:{first + 1} none.png", "image missing"),
        (f"{name}:{first + 2} bad.png", "image cannot be read"),
    ]
    assert report == json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert report["listed"] == 5 and report["written"] == 2 and report["format"] == "labels"


def test_iiit5k(tmp_path):
    made = iiit5k(tmp_path / "src")
    report = prepare([tmp_path / "src"], tmp_path / "train", options=SourceOptions(split="train"))
    assert stored(tmp_path / "train") == [(made["train/1_1.png"], "YOU"), (made["train/1_2.png"], "2000")]
    assert left_out(report) == [("traindata.mat:3 train/9_9.png", "image missing")]
    prepare([tmp_path / "src"], tmp_path / "test", options=SourceOptions(split="test"))
    assert labels(tmp_path / "test") == ["PRIVATE"]
    prepare([tmp_path / "src" / "trainCharBound.mat"], tmp_path / "tags")
    assert stored(tmp_path / "tags") == stored(tmp_path / "train")
    with pytest.raises(ValueError, match="found testdata.mat, traindata.mat; name the file or say --split"):
        prepare([tmp_path / "src"], tmp_path / "both")


def test_icdar_words(tmp_path):
    made = put_pictures(tmp_path / "src", ["word_1.png", "word_2.png", "word_3.png"])
    lines = 'word_1.png, "Genaxis, Theatre"\r\nword_2.png, "\\"No\\\\way\\""\r\nword_3.png, ""\r\n'
    put(tmp_path / "src" / "gt.txt", b"\xef\xbb\xbf" + lines.encode())
    report = prepare([tmp_path / "src"], tmp_path / "out")
    assert report["format"] == "icdar-words"
    assert stored(tmp_path / "out") == [(made["word_1.png"], "Genaxis, Theatre"), (made["word_2.png"], '"No\\way"')]
    assert left_out(report) == [("gt.txt:3 word_3.png", "empty label")]


def test_icdar_scenes(tmp_path):
    scene = {name: put(tmp_path / "images" / name, picture(i, (90, 70))) for i, name in enumerate(["img_2.png", "img_10.jpg"])}
    truth = tmp_path / "truth"
    put(truth / "gt_img_10.txt", '38, 43, 60, 55, "Tired"\n5 6 25 16 "a ""\n')
    put(
        truth / "gt_img_2.txt",
        b"\xef\xbb\xbf10,12,40,10,42,30,11,31,Caf\xc3\xa9, 5\r\n0,0,9,0,9,9,0,9,###\n-5,60,20,60,20,90,-5,90,edge\n"
        b"95,0,99,0,99,9,95,9,out\n7,7,7,9,7,9,7,7,thin\n",
    )
    report = prepare([truth], tmp_path / "out", options=SourceOptions(images=tmp_path / "images"), workers=2)
    words = stored(tmp_path / "out")
    assert [label for _, label in words] == ["Café, 5", "edge", "Tired", 'a "']
    boxes = [(10, 10, 42, 31), (0, 60, 20, 70), (38, 43, 60, 55), (5, 6, 25, 16)]
    for (cut, _), box, name in zip(words, boxes, ["img_2.png"] * 2 + ["img_10.jpg"] * 2, strict=True):
        assert_crop(cut, scene[name].read_bytes(), box)
    assert left_out(report) == [
        ("gt_img_2.txt:2", "marked not to be read (###)"),
        ("gt_img_2.txt:4", "box outside the image"),
        ("gt_img_2.txt:5", "box has no area"),
    ]


def test_svt_xml(tmp_path):
    scene = put(tmp_path / "img" / "14_03.jpg", picture(1, (90, 70), "JPEG")).read_bytes()
    rectangle = '<taggedRectangle height="20" width="30" x="5" y="7"><tag>LIVING</tag></taggedRectangle>'
    lost = '<taggedRectangle height="2" width="3" x="5" y="7"><tag>LOST</tag></taggedRectangle>'
    image = "<image><imageName>{}</imageName><lex>A,B</lex><taggedRectangles>{}</taggedRectangles></image>"
    body = image.format("img/14_03.jpg", rectangle) + image.format("img/00_00.jpg", lost)
    put(tmp_path / "test.xml", f'<?xml version="1.0" encoding="utf-8"?><tagset>{body}</tagset>')
    report = prepare([tmp_path], tmp_path / "out")
    ((cut, label),) = stored(tmp_path / "out")
    assert label == "LIVING" and left_out(report) == [("test.xml:img/00_00.jpg#1", "image missing")]
    assert_crop(cut, scene, (5, 7, 35, 27))


def test_coco_text(tmp_path):
    path = coco(tmp_path / "src")
    report = prepare([path], tmp_path / "out", options=SourceOptions(split="train"))
    ((cut, label),) = stored(tmp_path / "out")
    assert label == "R&B" and report["format"] == "coco-text" and report["pad"] == 2
    assert_crop(cut, (tmp_path / "src" / "train2014" / "COCO_train2014_01.jpg").read_bytes(), (8, 18, 43, 37))
    assert [reason for _, reason in left_out(report)] == [
        "legibility is 'illegible', not 'legible'",
        "language is 'not english', not 'english'",
        "class is 'handwritten', not 'machine printed'",
        "unreadable characters (# or *)",
        "box outside the image",
    ]
    prepare([path], tmp_path / "any", options=SourceOptions(split="all", language="any", writing="any"), load=Load())
    assert labels(tmp_path / "any") == ["R&B", "rue", "hi", "val"]
    with pytest.raises(ValueError, match=r"--split test is not in it; it holds train \(6 words\), val \(1 words\)"):
        prepare([path], tmp_path / "no", options=SourceOptions(split="test"))
    old = json.loads(path.read_text())
    for annotation in old["anns"].values():
        annotation["polygon"] = annotation.pop("mask", [])
    put(tmp_path / "src" / "COCO_Text.json", old)
    prepare([tmp_path / "src" / "COCO_Text.json"], tmp_path / "old", options=SourceOptions(split="train"))
    assert stored(tmp_path / "old") == stored(tmp_path / "out")


def test_textocr(tmp_path):
    path = textocr(tmp_path / "src")
    report = prepare([path], tmp_path / "out")
    ((cut, label),) = stored(tmp_path / "out")
    assert label == "Café" and report["format"] == "textocr"
    assert left_out(report) == [("TextOCR_0.1_train.json:train/a4ea.jpg#a4ea_2", "illegible or not English (.)")]
    assert_crop(cut, (tmp_path / "src" / "train_images" / "a4ea.jpg").read_bytes(), (10, 20, 40, 40))
    prepare([path], tmp_path / "jpeg", load=Load(crop="jpeg"))
    ((jpeg, _),) = stored(tmp_path / "jpeg")
    assert Image.open(io.BytesIO(jpeg)).format == "JPEG" and Image.open(io.BytesIO(jpeg)).size == (30, 20)


def test_union14m(tmp_path):
    made = put_pictures(tmp_path / "full_images" / "art", ["1.png", "2.png"])
    rows = [("full_images/art/1.png", "One"), ("full_images/art/2.png", "Two"), ("full_images/art/3.png", "Gone")]
    lines = "".join(json.dumps({"filename": name, "text": text}) + "\n" for name, text in rows)
    annotations = tmp_path / "train_annos"
    old = put(annotations / "mmocr-0.x" / "train_hard.jsonl", lines)
    entries = [{"img_path": name, "instances": [{"text": text}]} for name, text in rows]
    new = put(annotations / "mmocr1.0.x" / "train_hard.json", {"metainfo": {"task": "textrecog"}, "data_list": entries})
    for number, path in enumerate((old, new)):
        report = prepare([path], tmp_path / f"out{number}")
        assert stored(tmp_path / f"out{number}") == [(made["1.png"], "One"), (made["2.png"], "Two")]
        assert left_out(report) == [(f"{path.name}:3 full_images/art/3.png", "image missing")]


def test_occlusion_list(tmp_path):
    made = put_pictures(tmp_path, ["heavy/1.png", "heavy/2.png", "weak/3.png"])
    path = put(tmp_path / "host.txt", "heavy/1.png park\nheavy/2.png\ttwo words\nheavy/3.png x\n")
    report = prepare([path], tmp_path / "out")
    assert report["format"] == "occlusion"
    assert stored(tmp_path / "out") == [(made["heavy/1.png"], "park"), (made["heavy/2.png"], "two words")]
    assert left_out(report) == [("host.txt:3 heavy/3.png", "image missing")]


def test_damaged_lmdbs_are_told_key_by_key(tmp_path):
    write_lmdb(tmp_path / "src", [(picture(i), f"w{i}") for i in range(5)])
    with lmdb.open(str(tmp_path / "src")) as database, database.begin(write=True) as transaction:
        transaction.delete(b"label-000000001")
        transaction.put(b"label-000000002", b"\xff\xfe")
        transaction.delete(b"image-000000003")
        transaction.put(b"num-samples", b"4")
    report = prepare([tmp_path / "src"], tmp_path / "out")
    assert labels(tmp_path / "out") == ["w3"]
    assert left_out(report) == [
        ("src/label-000000001", "no such key"),
        ("src/label-000000002", "label is not UTF-8"),
        ("src/label-000000003", "image cannot be read"),
        ("src/label-000000005", "beyond num-samples"),
    ]


def test_lmdbs_are_merged_filtered_and_cut_down(tmp_path):
    samples = [(picture(i), label) for i, label in enumerate(["one", "Zwei!", "drei", "4"])]
    write_lmdb(tmp_path / "src" / "b", samples[:2])
    write_lmdb(tmp_path / "src" / "a", samples[2:])
    prepare([tmp_path / "src"], tmp_path / "all")
    assert stored(tmp_path / "all") == samples[2:] + samples[:2]
    report = prepare([tmp_path / "src" / "b", tmp_path / "src" / "a"], tmp_path / "words", keep=Filter(match="[a-z]+"))
    assert stored(tmp_path / "words") == [samples[0], samples[2]]
    assert left_out(report) == [
        ("b/b/label-000000002", "label does not match"),
        ("a/a/label-000000002", "label does not match"),
    ]
    report = prepare([tmp_path / "src"], tmp_path / "two", keep=Filter(subset=frozenset({1, 4})))
    assert stored(tmp_path / "two") == [samples[2], samples[1]]
    assert report["left_out"]["counts"] == {"not in the subset": 2}
    report = prepare([tmp_path / "src"], tmp_path / "same", load=Load(min_side=40))
    assert report["written"] == 4 and len(WordLmdb(tmp_path / "same")) == 4
    with pytest.raises(ValueError, match="asks for number 9 and the source lists 4 words"):
        prepare([tmp_path / "src"], tmp_path / "nine", keep=Filter(subset=frozenset({9})))
