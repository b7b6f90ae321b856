"""`core.bench data` and `core.bench index`: what they print, and that both sides of a ratio do the same work."""

import json

import pytest
import torch

from core.bench.__main__ import main
from core.bench.data import SIZES, rendered_words
from core.bench.index import index_cost, plain_scan, write_labels
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.render.sheet import png_bytes


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(command: str) -> None:
    main(command.split())


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("workers", (0, 1))
def test_data_says_how_it_was_measured(tmp_path, capsys, workers):
    words = rendered_words(tmp_path / "words", 24)
    assert [words[0].image(i + 1).size for i in range(20)] == list(SIZES)
    run(f"data --data {tmp_path} --images 10 --batch 4 --repeats 2 --size 32 64 --workers {workers} --threads 1 --json")
    augmented, plain = lines(capsys)
    assert (augmented["what"], plain["what"]) == ("data", "data_plain")
    for found in (augmented, plain):
        assert (found["batch"], found["image_size"], found["threads"], found["workers"]) == (4, [32, 64], 1, workers)
        assert (found["images"], found["repeats"], found["source"]) == (10, 2, str(tmp_path))
        assert 0 < found["ratio_low"] <= found["ratio"] <= found["ratio_high"]
        assert min(found[f"{name}images_per_s"] for name in ("", "reference_", "normalised_", "clock_")) > 0


def test_data_renders_words_where_none_are_given(capsys):
    run("data --images 4 --repeats 1 --size 16 32")
    out = capsys.readouterr().out
    assert "16 x 32" in out and "augmented" in out and "4 images of rendered words" in " ".join(out.split())


def test_index_says_how_long_it_took(capsys):
    run("index --labels 12000 --repeats 1 --json")
    (found,) = lines(capsys)
    assert (found["what"], found["labels"]) == ("index", 12_000)
    assert found["ratio"] == pytest.approx(found["first_s"] / found["scan_s"])
    assert min(found[name] for name in ("first_s", "second_s", "scan_s", "get_s")) > 0
    run("index --labels 300 --repeats 1")
    assert "300 labels" in capsys.readouterr().out


def test_the_plain_scan_finds_what_the_index_holds(tmp_path):
    write_labels(tmp_path / "set", 12_000)
    words = WordLmdb(tmp_path / "set")
    assert words.samples == plain_scan(tmp_path / "set", 12_000) and 0 < len(words) < 12_000
    assert words.ledger.as_dict().keys() == {"empty label", "longer than 25 characters"}
    assert index_cost(200, 1).labels == 200


@pytest.mark.parametrize("arguments", ("data --images 0", "data --size 0 8", "index --labels 0", "data --data nowhere"))
def test_what_cannot_be_measured_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        run(arguments)
    assert "error" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("data --help")
    assert "released loader" in capsys.readouterr().out


def test_damaged_images_are_passed_over(tmp_path, capsys):
    words = rendered_words(tmp_path / "words", 3)[0]
    samples = [(png_bytes(words.image(i)), "good") for i in (1, 2, 3)]
    write_lmdb(tmp_path / "some", [(b"junk", "x"), *samples, (b"", "y")])
    run(f"data --data {tmp_path / 'some'} --images 9 --repeats 1 --size 8 16 --json")
    assert [found["images"] for found in lines(capsys)] == [3, 3]
    write_lmdb(tmp_path / "none", [(b"junk", "x")] * 3)
    with pytest.raises(SystemExit):
        run(f"data --data {tmp_path / 'none'} --images 2 --repeats 1")
    assert f"{tmp_path / 'none'}: none of 3 images can be decoded" in capsys.readouterr().err
