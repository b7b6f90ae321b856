"""The doctor: what it finds in data that was spoilt on purpose, each finding known by hand."""

import io
import json
import os

import lmdb
import numpy as np
import pytest
from PIL import Image

from core.data.benchmarks import AVERAGES, PUBLISHED_SIZES, benchmark_size, canonical, training_size
from core.data.doctor import duplicates
from core.data.doctor.__main__ import main
from core.data.doctor.diagnosis import examine
from core.data.doctor.duplicates import across, candidates_inside, copies_inside
from core.data.doctor.report import as_text, sections_of
from core.data.doctor.scan import BLOCK_SIZE, SAMPLE, look_of, scan_all
from core.data.lmdb import write_lmdb
from core.data.sets import fingerprint


def picture(seed, size=(60, 24), mode="RGB") -> Image.Image:
    """Smooth noise: no two seeds look alike."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 12, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image, form="PNG", quality=75) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, quality=quality)
    return stream.getvalue()


def png(seed, size=(60, 24), mode="RGB") -> bytes:
    return encoded(picture(seed, size, mode), "JPEG" if mode == "CMYK" else "PNG")


def spoilt(folder):
    """A data root: 2 copies inside train, one exact and one near pair across, one copy under another label, bad samples."""
    near = encoded(picture(3).resize((66, 26)), "JPEG")
    train = [(png(1), "one"), (png(1), "one"), (near, "Three!"), (png(9), "old"), (png(5), "same"), (png(50, mode="CMYK"), "c")]
    bad = [(png(6)[:200], "cut"), (b"no image", "junk"), (png(7), ""), (png(8), "x" * 30), (png(10), "漢字"), (png(11), "é€")]
    write_lmdb(folder / "train" / "real" / "A", [*train, *bad])
    write_lmdb(folder / "val" / "B", [(png(20), "twenty")])
    test = [(png(3), "three"), (png(9), "new"), (png(4), "same"), (png(1), "one"), (png(30, (5, 30)), "I")]
    write_lmdb(folder / "test" / "SVT", test)
    return folder


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory):
    return examine(spoilt(tmp_path_factory.mktemp("data")), [], workers=2)


def test_every_bad_sample_is_named(diagnosis):
    train = diagnosis.scans[0]
    assert train.name == "train/real/A" and len(train.samples) == 12
    assert [found.index for found in train.unreadable] == [7, 8]
    assert train.image_facts()["odd"] == [["image-000000006", "JPEG in mode CMYK: converted to RGB"]]
    facts = train.label_facts()
    assert [entry[:2] for entry in facts["ledger"]] == [
        ["label-000000009", "empty label"],
        ["label-000000010", "longer than 25 characters"],
        ["label-000000011", "no supported character"],
    ]
    assert facts["characters_outside"] == {"漢": 1, "字": 1, "é": 1, "€": 1}
    assert facts["kept"] == 9 and train.usable == 7
    assert facts["lengths"] == {"1": 2, "3": 4, "4": 2, "6": 1}


def test_images_in_numbers(tmp_path):
    """Six: one is flat, two are taller than wide, three wider, one is lower than 8 pixels; and one that cannot be read."""
    sizes = [(60, 24), (10, 30), (9, 10), (40, 7), (50, 20)]
    flat = encoded(Image.new("RGB", (8, 8), "red"))
    write_lmdb(
        tmp_path / "test" / "SVT", [*((png(seed, size), "a") for seed, size in enumerate(sizes)), (flat, "b"), (b"no", "c")]
    )
    (scan,) = examine(tmp_path, [], workers=1).scans
    facts = scan.image_facts()
    assert (facts["readable"], facts["lower_than_8_pixels"], facts["taller_than_wide"], facts["flat"]) == (6, 1, 2, 1)
    assert (facts["width"], facts["height"]) == ([8, 25, 60], [7, 15, 30])


def test_copies_and_overlap_are_the_ones_planted(diagnosis):
    assert copies_inside(diagnosis.scans[0]) == [[1, 2]]
    found = {(pair.kind, pair.left.index, pair.right.index, pair.same_label) for pair in diagnosis.pairs}
    assert found == {("exact", 1, 4, True), ("exact", 2, 4, True), ("exact", 4, 2, False), ("near", 3, 1, True)}
    assert diagnosis.overlap == {("train/real", "test/SVT"): 3}


def test_the_summary_says_it_in_words(diagnosis):
    text = as_text(sections_of(diagnosis))
    for words in (
        "5 stored, 5 usable; published are 647",
        "2 images cannot be decoded: image-000000007",
        "1 images are JPEG in mode CMYK",
        "1 labels are dropped, longer than 25 characters: label-000000010",
        "1 images are copies of others of the same LMDB (keys 1 = 2)",
        "3 images of test/SVT have a copy or near copy in train/real",
        fingerprint(diagnosis.root / "train" / "real"),
    ):
        assert words in text


def test_a_look_survives_another_size_and_encoding_and_tells_pictures_apart():
    image = picture(0, (120, 40))
    again = Image.open(io.BytesIO(encoded(image.resize((90, 33)), "JPEG", 50)))
    assert bin(look_of(image) ^ look_of(again)).count("1") <= 4
    far = [bin(look_of(picture(0)) ^ look_of(picture(seed))).count("1") for seed in range(1, 20)]
    assert min(far) > 10
    assert look_of(Image.new("RGB", (50, 20), "red")) == 0


def test_content_is_that_of_the_samples_whatever_the_file_and_the_processes(tmp_path):
    samples = [(png(i % 7), f"w{i}") for i in range(BLOCK_SIZE + 20)]
    write_lmdb(tmp_path / "a", samples)
    write_lmdb(tmp_path / "b", samples[:3])
    with lmdb.open(str(tmp_path / "b"), map_size=1 << 26) as database, database.begin(write=True) as transaction:
        for number, (image, label) in enumerate(samples, start=1):
            transaction.put(b"image-%09d" % number, image)
            transaction.put(b"label-%09d" % number, label.encode())
        transaction.put(b"num-samples", str(len(samples)).encode())
    folders = {"a": tmp_path / "a", "b": tmp_path / "b"}
    steps = []
    one, two = scan_all(folders, 1, lambda images, total: steps.append(images)), scan_all(folders, 2)
    assert {found.content for found in [*one, *two]} == {one[0].content} and sum(steps) == 2 * len(samples)
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    write_lmdb(tmp_path / "a", [*samples[:-1], (samples[-1][0], "other")])
    assert scan_all({"a": tmp_path / "a"}, 1)[0].content != one[0].content


def test_a_broken_database_is_a_finding_and_the_rest_is_looked_at(tmp_path):
    spoilt(tmp_path)
    file = tmp_path / "val" / "B" / "data.mdb"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    diagnosis = examine(tmp_path, [], workers=1)
    assert "cut off" in diagnosis.scans[1].error and len(diagnosis.scans[2].samples) == 5
    assert "val/B: cannot be read" in as_text(sections_of(diagnosis))


def test_near_pairs_need_equal_labels(tmp_path):
    write_lmdb(tmp_path / "train" / "real", [(png(3), "three")])
    near = encoded(picture(3).resize((66, 26)), "JPEG")
    write_lmdb(tmp_path / "test" / "X", [(near, "four"), (near, "3"), (near, "THREE"), (b"", "three")])
    folders = {name: tmp_path / name for name in ("train/real", "test/X")}
    assert [(pair.kind, pair.right.index) for pair in across(scan_all(folders, 1))] == [("near", 3)]


def test_near_copies_inside_one_lmdb(tmp_path):
    near = encoded(picture(3).resize((66, 26)), "JPEG")
    samples = [(png(3), "three"), (png(4), "three"), (near, "Three!"), (near, "four"), (png(3), "three")]
    write_lmdb(tmp_path / "train" / "real", samples)
    diagnosis = examine(tmp_path, [], workers=1)
    (pairs,) = diagnosis.near.values()
    assert {(pair.left.index, pair.right.index) for pair in pairs} == {(1, 3), (3, 5)}
    assert "2 pairs with equal labels look alike (keys 1 and 3, 3 and 5)" in as_text(sections_of(diagnosis))
    assert [entry["left"] for entry in diagnosis.as_dict()["near_inside"]] == [("train/real", 1), ("train/real", 3)]


def test_of_a_crowded_label_equal_looks_are_found(monkeypatch):
    samples = np.zeros(6, SAMPLE)
    samples["label"], samples["look"], samples["bytes"] = 9, [0b111, 5, 0b111, 0b110, 5, 0], [1, 2, 3, 4, 2, 6]
    close = {(0, 1): 1, (0, 2): 0, (0, 3): 1, (0, 4): 1, (1, 2): 1, (1, 3): 2, (2, 3): 1, (2, 4): 1, (3, 4): 2}
    assert {(i, j): bits for i, j, bits in candidates_inside(samples)} == close  # 1 and 4 have the same bytes, 5 is flat
    monkeypatch.setattr(duplicates, "CROWD", 3)
    assert list(candidates_inside(samples)) == [(0, 2, 0)]


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "val"), ("val", "test")])
def test_what_two_splits_share_is_named(tmp_path, one, other):
    """A copy, a copy under another label and a near copy; samples of the third split and of the same split are left alone."""
    near = encoded(picture(3).resize((66, 26)), "JPEG")
    folders = {"train": "train/real/A", "val": "val/B", "test": "test/SVT"}
    samples = {split: [(png(100 + number), "word")] for number, split in enumerate(folders)}
    samples[one] += [(png(1), "one"), (png(9), "old"), (png(3), "three"), (png(5), "five")]
    samples[other] += [(png(9), "new"), (near, "Three!"), (png(1), "one"), (png(6), "five")]
    for split, folder in folders.items():
        write_lmdb(tmp_path / folder, samples[split])
    diagnosis = examine(tmp_path, [], workers=1)
    shared = {(pair.kind, pair.left, pair.right, pair.same_label) for pair in diagnosis.pairs}
    left, right = folders[one], folders[other]
    assert shared == {
        ("exact", (left, 2), (right, 4), True),
        ("exact", (left, 3), (right, 2), False),
        ("near", (left, 4), (right, 3), True),
    }
    (overlap,) = diagnosis.overlap.items()
    assert overlap[1] == 3 and [key.split("/")[0] for key in overlap[0]] == [one, other]
    assert f"3 images of {overlap[0][1]} have a copy or near copy in {overlap[0][0]}" in as_text(sections_of(diagnosis))


@pytest.mark.parametrize(("bits", "close"), [(7, True), (8, False)])
def test_looks_of_up_to_seven_different_bits_are_compared(bits, close):
    samples = np.zeros(2, SAMPLE)
    look = 0x0F0F_3333_5555_1234
    samples["label"], samples["look"], samples["bytes"] = 9, [look, look ^ int("1" * bits, 2) << 20], [1, 2]
    assert list(candidates_inside(samples)) == ([(0, 1, bits)] if close else [])


def waves(noise: float) -> Image.Image:
    """Slopes that decide the dHash, and over them a fine grid, which the miniature sees and the dHash averages out."""
    y, x = np.mgrid[:16, :64]
    slopes = np.sin(x / 5) + np.cos(x / 11 + y / 3)
    grid = np.where((x + y) % 2, 1.0, -1.0)
    return Image.fromarray(np.uint8(128 + 30 * (slopes / slopes.std() + noise * grid)))


@pytest.mark.parametrize(("correlation", "alike"), [(0.82, True), (0.78, False)])
def test_near_copies_correlate_by_four_fifths(tmp_path, correlation, alike):
    """Of a picture and itself with noise, of which the correlation is known: 1 / sqrt(1 + noise^2)."""
    noisy = waves((1 / correlation**2 - 1) ** 0.5)
    assert bin(look_of(waves(0)) ^ look_of(noisy)).count("1") <= 7
    write_lmdb(tmp_path / "val", [(encoded(waves(0)), "wave")])
    write_lmdb(tmp_path / "test" / "X", [(encoded(noisy), "wave")])
    pairs = across(scan_all({name: tmp_path / name for name in ("val", "test/X")}, 1))
    assert [pair.alike for pair in pairs] == ([pytest.approx(correlation, abs=0.01)] if alike else [])


@pytest.mark.parametrize(
    ("name", "numbers", "as_published", "note"),
    [
        ("IIIT5k", (3000, 3000, 3000), True, "3,000 as published"),
        ("COCO", (9896, 9888, 9825), True, "9,825 as published"),
        ("IC15_1811", (2077, 2077, 2077), False, "this is IC15_2077 (2,077): rename the folder to IC15_2077"),
        ("IC13", (857, 857, 857), True, "857 as published"),
        ("cocov1.4", (9896, 9888, 9825), True, "9,825 as published"),
        ("IC15", (2000, 2000, 2000), False, "by size it would be one of IC15_1811 1,811 and IC15_2077 2,077"),
        ("SVTP", (644, 644, 644), False, "644 stored, 644 usable; published are 645"),
        ("mine", (10, 10, 10), False, "test/mine (10 images) is not a benchmark of the paper and is read under its own name"),
    ],
)
def test_sizes_beside_the_published(name, numbers, as_published, note):
    size = benchmark_size(canonical(name, lambda: numbers[0]), *numbers)
    assert size.as_published == as_published and note in size.note


def test_training_sizes_are_rounded_in_the_paper():
    assert training_size("real", 3_257_585).as_published and not training_size("real", 2_000_000).as_published
    assert "3.3 M" in training_size("real", 6054).note and training_size("more", 5).published is None


def test_the_averages_are_those_of_the_reports():
    assert {name: sum(map(PUBLISHED_SIZES.get, sets)) for name, sets in AVERAGES.items()} == {
        "nine sets": 14_315,
        "six sets": 7_672,
    }


def test_command_line_json_and_page(tmp_path, capsys):
    root = spoilt(tmp_path / "data")
    main([str(root), "--json", "--html", str(tmp_path / "page.html"), "--workers", "1"])
    content = json.loads(capsys.readouterr().out)
    assert content["sets"]["train/real"]["fingerprint"] == fingerprint(root / "train" / "real")
    assert content["lmdbs"]["test/SVT"]["stored"] == 5 and len(content["pairs"]) == 4 and len(content["tables"]) == 10
    text = (tmp_path / "page.html").read_text()
    assert text.count("<figure>") == 2 * 4 + 2 + 3 and "data:image/jpeg;base64" in text and 'src="http' not in text


def test_names_that_are_not_utf8_are_in_every_output(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("core.data.doctor.run.read_needs", lambda _: [])  # a matter of seconds
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write_lmdb(folder / "test" / "SVT" / os.fsdecode(b"\xe8"), [(png(1), "one"), (b"no image", "two")])
    page = tmp_path / "page.html"
    main([str(folder), "--workers", "1", "--html", str(page)])
    assert "test/SVT" in capsys.readouterr().out and r"caf\udce9" in page.read_text()
    main([str(folder), "--workers", "1", "--json"])
    assert os.fsdecode(b"test/SVT/\xe8") in json.loads(capsys.readouterr().out)["lmdbs"]


@pytest.mark.parametrize(("made", "said"), [((), "no data.mdb below train/"), (None, "does not exist")])
def test_command_line_errors_name_the_fix(made, said, tmp_path, capsys):
    root = tmp_path if made is not None else tmp_path / "nowhere"
    with pytest.raises(SystemExit) as end:
        main([str(root)])
    assert end.value.code == 1 and said in capsys.readouterr().err


def test_the_lmdbs_of_a_set_are_listed_and_copies_among_them_told(tmp_path):
    """The copy has the same samples in another file, so only their content tells."""
    samples = [(png(1), "one"), (png(2), "two")]
    for name, kept in (("a", samples), ("b", [*samples, (png(3), "three")]), (".Trash-1000", samples), ("c/deep", samples)):
        write_lmdb(tmp_path / "test" / "SVT" / name, kept)
    with lmdb.open(str(tmp_path / "test" / "SVT" / "c" / "deep")) as database, database.begin(write=True) as transaction:
        transaction.put(b"label-000000002", b"other")
        transaction.put(b"label-000000002", b"two")
    diagnosis = examine(tmp_path, [], workers=1)
    assert diagnosis.copies == [("test/SVT/c/deep", "test/SVT/a")] and diagnosis.as_dict()["copies"] == [
        list(diagnosis.copies[0])
    ]
    text = as_text(sections_of(diagnosis))
    assert "test/SVT/c/deep holds the same as test/SVT/a: each of its images counts twice" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["a", "2"] in lines and ["b", "3"] in lines and ["c/deep", "2"] in lines


def test_labels_are_checked_by_the_charset_that_is_named(tmp_path, capsys):
    write_lmdb(tmp_path / "data/train/real", [(png(1), "хлеб"), (png(2), "bread"), (png(3), "соль!")])
    for option, kept, scored in ([], 2, 1), (["--charset", "ablations/charsets/cyrillic.txt"], 2, 2):
        main([str(tmp_path / "data"), "--json", "--workers", "1", *option])
        facts = json.loads(capsys.readouterr().out)["lmdbs"]["train/real"]["labels"]
        assert (facts["kept"], facts["scored"]) == (kept, scored)
    assert facts["characters_outside"] == dict.fromkeys("bread", 1) and facts["ledger"][0][2] == "bread"
    write_lmdb(tmp_path / "data/train/real", [(png(1), "!!!"), (png(2), "Bread!"), (png(3), "#")])
    main([str(tmp_path / "data"), "--json", "--workers", "1", "--charset", "ablations/charsets/62.txt"])  # of the published 94
    facts = json.loads(capsys.readouterr().out)["lmdbs"]["train/real"]["labels"]
    assert (facts["kept"], facts["scored"]) == (1, 1) and facts["characters_outside"] == {"!": 4, "#": 1}
    assert [entry[1:] for entry in facts["ledger"]] == [["no supported character", "!!!"], ["no supported character", "#"]]
    with pytest.raises(SystemExit):
        main([str(tmp_path / "data"), "--charset", str(tmp_path / "none.txt")])
    assert "none.txt: no such charset file" in capsys.readouterr().err
