"""Converters of the sets that make up the field's large real training set, on tiny sources in their published layouts."""

import json

import pytest

from core.data.convert.formats import guess
from core.data.convert.source import SourceOptions
from core.data.prepare import prepare
from core.errors import DataError
from tests.data.test_prepare import assert_crop, left_out, stored
from tests.support.formats import picture, put, put_pictures

SIZE = (90, 70)
MARK = "marked not to be read (###)"


def scene(path, seed=1):
    return put(path, picture(seed, SIZE, "PNG" if path.suffix == ".png" else "JPEG")).read_bytes()


def word(text, box=(10, 20, 40, 35), **fields):
    left, top, right, bottom = box
    return {"transcription": text, "points": [[left, top], [right, top], [right, bottom], [left, bottom]], **fields}


def flat(entry):
    return {**entry, "points": [side for point in entry["points"] for side in point]}


@pytest.mark.parametrize("prefix", ["gt_", ""])  # MLT 2017; MLT 2019
def test_mlt_scenes(tmp_path, prefix):
    src = tmp_path / "src"
    first, second = scene(src / "tr_img_2.png"), scene(src / "tr_img_10.jpg", 2)
    lines = "30,40,60,40,60,50,30,50,Latin,Hello, you\r\n1,1,9,1,9,9,1,9,None,###\r\n10,20,30,20,30,40,10,40,Hindi,हिन्दी\r\n"
    put(src / f"{prefix}tr_img_2.txt", b"\xef\xbb\xbf" + lines.encode())
    put(src / f"{prefix}tr_img_10.txt", "5,6,25,6,25,16,5,16,Symbols,&\n\n")
    report = prepare([src], tmp_path / "out")
    assert report["format"] == "mlt-scenes"
    (hello, label), (_, hindi), (sign, _) = stored(tmp_path / "out")
    assert (label, hindi) == ("Hello, you", "हिन्दी") and left_out(report) == [(f"{prefix}tr_img_2.txt:2", MARK)]
    assert_crop(hello, first, (30, 40, 60, 50))
    assert_crop(sign, second, (5, 6, 25, 16))
    report = prepare([src], tmp_path / "latin", options=SourceOptions(language="Latin,Symbols"))
    assert [text for _, text in stored(tmp_path / "latin")] == ["Hello, you", "&"]
    assert left_out(report)[1] == (f"{prefix}tr_img_2.txt:3", "language is 'Hindi', not 'Latin,Symbols'")


def test_mlt_words(tmp_path):
    made = put_pictures(tmp_path / "src", ["word_1.PNG", "word_2.png", "word_3.png"])
    put(tmp_path / "src" / "gt.txt", "word_1.PNG,Latin,Hello, you\nword_2.png,None,###\nword_3.png,Korean,한국\n")
    report = prepare([tmp_path / "src"], tmp_path / "out")
    assert report["format"] == "mlt-words" and left_out(report) == [("gt.txt:2 word_2.png", MARK)]
    assert stored(tmp_path / "out") == [(made["word_1.PNG"], "Hello, you"), (made["word_3.png"], "한국")]


def test_rctw17(tmp_path):
    content = scene(tmp_path / "image_0.jpg")
    lines = '10,20,40,20,40,35,10,35,0,"金氏, "眼镜""\n1,1,9,1,9,9,1,9,1,"###"\n5,6,25,6,25,16,5,16,1,"OPEN"\n'
    put(tmp_path / "image_0.txt", b"\xef\xbb\xbf" + lines.encode())
    report = prepare([tmp_path], tmp_path / "out")
    assert report["format"] == "rctw17" and left_out(report) == [("image_0.txt:2", MARK)]
    (cut, label), (_, hard) = stored(tmp_path / "out")
    assert (label, hard) == ('金氏, "眼镜"', "OPEN")
    assert_crop(cut, content, (10, 20, 40, 35))


def test_uber_text(tmp_path):
    content = scene(tmp_path / "0001.jpg")
    lines = "10 20 40 21 40 35 10 34\tMAIN ST\tStreetName\n1 1 9 1 9 9\t*\tNone\n5 6 25 6 25 16 5 16\t12\tStreetNumber\n"
    put(tmp_path / "truth_0001.txt", lines)
    report = prepare([tmp_path], tmp_path / "out")
    assert report["format"] == "uber-text" and left_out(report) == [("truth_0001.txt:2", "unreadable characters (*)")]
    (cut, label), (_, number) = stored(tmp_path / "out")
    assert (label, number) == ("MAIN ST", "12")
    assert_crop(cut, content, (10, 20, 40, 35))


def test_art_and_lsvt(tmp_path):
    """One shape; ArT's words have a language, and in its word images no points."""
    content = scene(tmp_path / "lsvt" / "train_full_images_0" / "gt_1.jpg")
    words = [word("Hello", illegibility=False), word("blur", illegibility=True), word("###", illegibility=False)]
    put(tmp_path / "lsvt" / "train_full_labels.json", {"gt_1": words, "gt_9": [word("Gone", illegibility=False)]})
    report = prepare([tmp_path / "lsvt"], tmp_path / "out")
    ((cut, label),) = stored(tmp_path / "out")
    assert label == "Hello" and report["format"] == "lsvt"
    assert_crop(cut, content, (10, 20, 40, 35))
    assert [reason for _, reason in left_out(report)] == ["marked not to be read (illegibility)", MARK, "image missing"]

    made = put_pictures(tmp_path / "art", ["train_task2_images/res_1.jpg", "train_task2_images/res_2.jpg"], "JPEG")
    tea, cha = ({"transcription": text, "illegibility": False} for text in ("Tea", "茶"))
    labels = {"res_1": [tea | {"language": "Latin"}], "res_2": [cha | {"language": "Chinese"}]}
    put(tmp_path / "art" / "train_task2_labels.json", labels)
    report = prepare([tmp_path / "art"], tmp_path / "words", options=SourceOptions(language="latin"))
    assert report["format"] == "art" and stored(tmp_path / "words") == [(made["train_task2_images/res_1.jpg"], "Tea")]
    assert left_out(report) == [("train_task2_labels.json:res_2#1", "language is 'Chinese', not 'latin'")]


def test_rects(tmp_path):
    content = scene(tmp_path / "img" / "train_ReCTS_000001.jpg")
    lines = [flat(word("美丽 Cafe", ignore=0)), flat(word("###", ignore=1)), flat(word("x", ignore=1))]
    put(tmp_path / "gt" / "train_ReCTS_000001.json", {"chars": [flat(word("美", ignore=0))], "lines": lines})
    for number, source in enumerate((tmp_path, tmp_path / "gt")):
        report = prepare([source], tmp_path / f"out{number}")
        ((cut, label),) = stored(tmp_path / f"out{number}")
        assert label == "美丽 Cafe" and report["format"] == "rects"
        assert_crop(cut, content, (10, 20, 40, 35))
        assert report["left_out"]["counts"] == {"marked not to be read (ignore)": 2}


def test_ppocrlabel(tmp_path):
    """Paths begin with the folder's own name, as PPOCRLabel writes them; rec_gt.txt beside it is a list of words."""
    content = scene(tmp_path / "shop" / "1.jpg")
    words = [word("Hello", difficult=False), word("blur", difficult=True), word("", difficult=False)]
    put(tmp_path / "shop" / "Label.txt", f"shop/1.jpg\t{json.dumps(words)}\nshop/2.jpg\t[]\n")
    report = prepare([tmp_path / "shop"], tmp_path / "out")
    ((cut, label),) = stored(tmp_path / "out")
    assert label == "Hello" and report["format"] == "ppocrlabel"
    assert_crop(cut, content, (10, 20, 40, 35))
    assert [reason for _, reason in left_out(report)] == ["marked not to be read (difficult)", "empty label"]
    put(tmp_path / "shop" / "rec_gt.txt", "crop_img/1_crop_0.jpg\tHello\n")
    with pytest.raises(DataError, match="may be labels or ppocrlabel; say --format"):
        guess(tmp_path / "shop")


def test_open_images(tmp_path):
    content = scene(tmp_path / "train" / "a4.jpg")
    attributes = {"transcription": "Hello", "legible": 1, "language": "english", "type": "machine printed"}
    changes = ({}, {"legible": 0}, {"language": "non-english"}, {"transcription": None})
    annotations = [{"image_id": 7, "bbox": [10, 20, 30, 15], "attributes": attributes | change} for change in changes]
    images = [{"id": 7, "file_name": "train/a4.jpg", "width": 90, "height": 70}, {"id": 8, "file_name": "train/none.jpg"}]
    path = put(tmp_path / "text_spotting_openimages_v5_train_1.json", {"images": images, "annotations": annotations})
    report = prepare([path], tmp_path / "out")
    ((cut, label),) = stored(tmp_path / "out")
    assert label == "Hello" and report["format"] == "open-images"
    assert_crop(cut, content, (10, 20, 40, 35))
    reasons = ["marked not to be read (legible is false)", "language is 'non-english', not 'english'", "empty label"]
    assert [reason for _, reason in left_out(report)] == reasons


DAMAGED = {
    "art": ({"gt_0": [{"points": [0, 0, 9, 9]}]}, "a.json, gt_0, word 1: expected an object with transcription"),
    "lsvt": ({"gt_0": [word("x") | {"points": [1, 2, 3]}]}, r"gt_0, word 1: points = \[1, 2, 3\], expected"),
    "rects": ({"chars": []}, 'a.json: expected an object {"chars"'),
    "open-images": (
        {"images": [], "annotations": [{"image_id": 3}]},
        "annotation 1: expected the image_id of an image",
    ),
}


@pytest.mark.parametrize("form", DAMAGED)
def test_what_is_not_in_the_format_is_named(tmp_path, form):
    content, message = DAMAGED[form]
    path = put(tmp_path / "a.json", content)
    put(tmp_path / "gt_0.png", picture())
    with pytest.raises(DataError, match=message):
        prepare([tmp_path if form == "rects" else path], tmp_path / "out", form)


def test_a_language_is_refused_where_words_have_none(tmp_path):
    put(tmp_path / "labels.tsv", "a.png\tx\n")
    with pytest.raises(DataError, match="--language Latin: words of format labels have no language"):
        prepare([tmp_path], tmp_path / "out", options=SourceOptions(language="Latin"))
