"""Peer readers: the way of their readings through our data, label rules and scoring."""

import hashlib
import io
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.charset import read_charset
from core.data.environments import close_all
from core.data.labels import PUBLISHED_RULES
from core.data.lmdb import WordLmdb, write_lmdb
from core.errors import DataError, PeerUnavailable
from core.files import ROOT
from core.peers import rapidocr
from core.peers import run as peers
from core.peers.__main__ import main
from core.peers.reader import Identity, Reader, Reading, as_entry, require

MISSING = "the optional extra [peers] is not installed: make test-all does it"
READS = {1: "w1", 2: "W-2", 3: "wrong", 4: "Café", 5: ""}  # by the red value of the image


def picture(red: int) -> bytes:
    """An image of one colour, which says which it is: red, green and blue differ."""
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), (red, 100, 200)).save(stream, "PNG")
    return stream.getvalue()


def made_up(seen: list, version: str = "1", stop_at: int | None = None) -> Reader:
    """A reader that knows READS and notes the images it is shown."""

    def read(image: np.ndarray) -> Reading:
        assert image.shape == (10, 20, 3) and image.dtype == np.uint8 and tuple(image[0, 0, 1:]) == (100, 200)
        red = int(image[0, 0, 0])
        if red == stop_at:
            raise KeyboardInterrupt
        seen.append(red)
        return Reading(READS[red], red / 10)

    return Reader(Identity("made-up", {"made-up": version}, "none", "0" * 64, "cpu"), 1, read)


@pytest.fixture
def data(tmp_path):
    """Two benchmarks: five words, a refused label and a broken image; then two words."""
    labels = ["w1", "w2", "w3", "Café", "w5"]
    samples = [(picture(red), label) for red, label in enumerate(labels, 1)] + [(picture(1), ""), (picture(1)[:45], "w7")]
    write_lmdb(tmp_path / "data/test/A", samples)
    write_lmdb(tmp_path / "data/test/B", samples[:2])
    return tmp_path / "data"


def test_readings_pass_label_rules_and_scoring(data, tmp_path):
    metrics = peers.read_benchmarks(made_up([]), data, tmp_path / "out")
    first, second = metrics["benchmarks"]["A"], metrics["benchmarks"]["B"]
    assert (first["n"], first["correct"], first["accuracy"]) == (5, 2, 40.0)  # "Café" is labelled cafe and scored as caf
    assert first["one_minus_ned"] == pytest.approx((1 + 1 + 1 / 5 + 3 / 4 + 0) / 5)  # w3/wrong share a w
    assert (first["read_as_labels_are"]["correct"], first["read_as_labels_are"]["accuracy"]) == (3, 60.0)
    assert (second["n"], second["correct"]) == (2, 2) and second["left_out"] == {}
    assert first["stored"] == 7
    assert {reason: entry["count"] for reason, entry in first["left_out"].items()} == {
        "empty label": 1,
        "image cannot be decoded": 1,
    }
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == metrics
    rows = pd.read_parquet(tmp_path / "out/predictions.parquet")
    assert list(rows.columns) == ["benchmark", "lmdb", "index", "label", "length", "reading", "confidence"]
    assert list(rows.benchmark) == ["A"] * 5 + ["B"] * 2 and list(rows["index"]) == [1, 2, 3, 4, 5, 1, 2]
    assert list(rows.label[:5]) == ["w1", "w2", "w3", "Cafe", "w5"] and list(rows.length[:5]) == [2, 2, 2, 4, 2]
    assert list(rows.reading[:5]) == list(READS.values()) and list(rows.confidence[:2]) == [0.1, 0.2]


@pytest.mark.parametrize(
    ("reading", "rule"), [("CAFÉ au lait", "CAFEaulait"), ("ＤＥFY", "DEFY"), ("国", ""), ("x" * 40, "x" * 40)]
)
def test_readings_as_labels_are(reading, rule):
    assert peers.as_labels_are(reading, PUBLISHED_RULES) == rule


def test_another_script_is_read_scored_and_kept_by_its_charset(data, tmp_path):
    out, seen, script = tmp_path / "out", [], read_charset(ROOT / "ablations/charsets/cyrillic.txt")
    write_lmdb(data / "test/B", [(picture(1), "хлеб"), (picture(2), "w2")])
    published = peers.read_benchmarks(made_up(seen), data, out)["benchmarks"]["B"]
    assert published["n"] == 1 and list(published["left_out"]) == ["no supported character"]
    seen.clear()
    reader = replace(made_up(seen), read=lambda image: seen.append(image) or Reading("хлеб", 1.0))
    ours = peers.read_benchmarks(reader, data, out, scored=script)
    assert len(seen) == 6 and ours["scoring_charset"] == script
    assert (ours["benchmarks"]["B"]["n"], ours["benchmarks"]["B"]["correct"]) == (2, 1)
    for charset in ("", script):  # both are kept side by side
        peers.read_benchmarks(reader, data, out, **({"scored": charset} if charset else {}))
    assert len(seen) == 6


def test_an_interrupted_run_goes_on(data, tmp_path):
    out, seen = tmp_path / "out", []
    write_lmdb(data / "test/C", [(picture(5), "w5"), (picture(3), "w3")])
    with pytest.raises(KeyboardInterrupt):
        peers.read_benchmarks(made_up(seen, stop_at=3), data, out)  # in A
    assert not list((out / "state").glob("*")) and not (out / "metrics.json").exists()
    close_all()
    (data / "test/A").rename(data / "test/Z")  # B and half of C come first now
    with pytest.raises(KeyboardInterrupt):
        peers.read_benchmarks(made_up(seen, stop_at=3), data, out)
    assert [pd.read_parquet(path).benchmark[0] for path in out.glob("state/*/predictions.parquet")] == ["B"] and not (
        out / "metrics.json"
    ).exists()
    seen.clear()
    resumed = peers.read_benchmarks(made_up(seen), data, out)
    assert seen == [5, 3, 1, 2, 3, 4, 5]
    whole = peers.read_benchmarks(made_up([]), data, tmp_path / "whole")
    pd.testing.assert_frame_equal(*(pd.read_parquet(path / "predictions.parquet") for path in (out, tmp_path / "whole")))
    for name, entry in whole["benchmarks"].items():
        assert {**entry, "model_seconds_per_image": 0, "seconds_per_image": 0} == {
            **resumed["benchmarks"][name],
            "model_seconds_per_image": 0,
            "seconds_per_image": 0,
        }


def test_readings_are_kept_only_for_the_same_reader_and_data(data, tmp_path):
    seen = []
    peers.read_benchmarks(made_up(seen), data, tmp_path / "out")
    seen.clear()
    peers.read_benchmarks(made_up(seen), data, tmp_path / "out")
    assert seen == []
    close_all()  # the database below is another one under the same path
    write_lmdb(data / "test/B", [(picture(3), "w3"), (picture(3), "w3")])
    peers.read_benchmarks(made_up(seen), data, tmp_path / "out")
    assert seen == [3, 3]
    peers.read_benchmarks(made_up(seen, version="2"), data, tmp_path / "out")
    assert len(seen) == 2 + 7


def test_test_sets_that_share_a_benchmark_share_its_readings(data, tmp_path):
    seen = []
    peers.read_benchmarks(made_up(seen), data, tmp_path / "first", tmp_path / "state")
    seen.clear()
    (data / "test/B").rename(data / "test/C")
    write_lmdb(data / "test/D", [(picture(2), "w2")])
    metrics = peers.read_benchmarks(made_up(seen), data, tmp_path / "second", tmp_path / "state")
    assert seen == [2] and list(metrics["benchmarks"]) == ["A", "C", "D"]
    assert set(pd.read_parquet(tmp_path / "second" / "predictions.parquet").benchmark) == {"A", "C", "D"}


def test_a_benchmark_that_cannot_be_opened_is_left_out(data, tmp_path, capsys):
    with lmdb.open(str(data / "test/B")) as database, database.begin(write=True) as transaction:
        transaction.delete(b"num-samples")
    metrics = peers.read_benchmarks(made_up([]), data, tmp_path / "out")
    assert "num-samples" in metrics["benchmarks"]["B"]["error"] and "B: left out" in capsys.readouterr().out
    assert metrics["benchmarks"]["A"]["n"] == 5


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/metrics.json").write_text("{}")
    with pytest.raises(DataError, match="no benchmark here"):
        peers.read_benchmarks(made_up([]), tmp_path, tmp_path / "out")
    assert (tmp_path / "out/metrics.json").exists()  # a mistyped folder costs no results
    write_lmdb(tmp_path / "test/A", [(picture(1), "")])
    with pytest.raises(DataError, match="no benchmark could be read"):
        peers.read_benchmarks(made_up([]), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out/metrics.json").exists()


def test_a_missing_package_names_the_extra(data, tmp_path, monkeypatch, capsys):
    require("json", ["json"])
    with pytest.raises(PeerUnavailable, match="nobody needs no_such_package,"):
        require("nobody", ["json", "no_such_package"])
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(SystemExit) as stopped:
        main(["rapidocr", "--data", str(data), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 1 and not (tmp_path / "out").exists()
    assert "pip install 'clip4str-ablations[peers]'" in capsys.readouterr().err


@pytest.fixture
def package():
    pytest.importorskip("onnxruntime", reason=MISSING)
    return pytest.importorskip("rapidocr", reason=MISSING)


def test_other_weights_are_refused(package, monkeypatch):
    monkeypatch.setattr(rapidocr, "MODEL", "other.onnx")
    with pytest.raises(PeerUnavailable, match="other.onnx is missing"):
        rapidocr.open_reader(1)


def test_rapidocr_gets_the_colours_and_weights_it_expects(package, realdata):
    """Its own loader, given images instead of arrays, and its own choice of weights read the same."""
    settings = {f"Global.{name}": False for name in ("use_det", "use_cls", "use_preprocess_img")}
    settings |= {"EngineConfig.onnxruntime.intra_op_num_threads": 1, "Global.log_level": "error"}
    engine, reader = package.RapidOCR(params=settings), rapidocr.open_reader(1)
    words = WordLmdb(realdata / "test/SVT")
    for sample in words.samples[:5]:
        image = words.image(sample.index)
        theirs, ours = engine(image), reader.read(np.asarray(image))
        assert ours == (theirs.txts[0], theirs.scores[0])
        assert reader.read(np.asarray(image)[:, :, ::-1]) != ours


def test_rapidocr_reads_street_view(package, realdata, tmp_path, monkeypatch):
    """60 images; measured once over all 647 of SVT: 92.3 % (597), and 96.4 % of IIIT5K."""
    words = WordLmdb(realdata / "test/SVT")
    samples = []
    for sample in words.samples[::10][:60]:
        stream = io.BytesIO()
        words.image(sample.index).save(stream, "PNG")
        samples.append((stream.getvalue(), sample.label))
    write_lmdb(tmp_path / "test/SVT", samples)

    def no_network(*_):
        raise AssertionError("a reader reached for the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    main(["rapidocr", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--threads", "1"])
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["benchmarks"]["SVT"]["n"] == 60 and metrics["benchmarks"]["SVT"]["accuracy"] > 75
    reader = metrics["reader"]
    model = Path(package.__file__).parent / "models" / reader["model"]
    assert hashlib.sha256(model.read_bytes()).hexdigest() == reader["model_sha256"]
    assert reader["version"] == reader["packages"]["rapidocr"] and reader["name"] == "rapidocr"


def test_an_identity_without_its_own_package_has_no_version():
    assert as_entry(Identity("x", {"y": "1"}, "m", "0", "cpu"))["version"] is None
