"""core.read: files and folders, in batches; orientations, tall images, the probability of every character."""

import io
import json
import math
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from core.data.doctor.suspicious import doubts
from core.data.images import read_image_file
from core.data.lmdb import WordLmdb
from core.data.loading import Words, in_order
from core.data.transforms import ToTensor
from core.experiment.experiment import load
from core.read.__main__ import main
from core.weights.checkpoint import save_model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of images and other files: three wide images, a tall one, one that is none, hidden ones, a text."""
    folder = tmp_path_factory.mktemp("pictures") / "crops"
    (folder / "below" / ".thumbs").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for name, (width, height) in {"a.png": (60, 20), "b.JPG": (50, 30), "below/c.bmp": (40, 30), "tall.png": (20, 60)}.items():
        Image.fromarray(noise.integers(0, 255, (height, width, 3), np.uint8)).save(folder / name)
    (folder / "broken.png").write_text("no image")
    (folder / "gt.txt").write_text("a.png word\n")
    for hidden in (".d.png", "below/.thumbs/e.png"):
        (folder / hidden).write_bytes((folder / "a.png").read_bytes())
    return folder


@pytest.fixture
def read(model, smoke, tmp_path, capsys):
    """Calls the command; returns its readings by file name, its messages and its exit status."""
    save_model(model, smoke.training, {}, tmp_path / "run")

    def call(*arguments):
        status = 0
        try:
            main([str(tmp_path / "run"), *map(str, arguments), "--json"])
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        readings = [json.loads(line) for line in printed.out.splitlines()]
        return {reading["image"].rpartition("/")[2]: reading for reading in readings}, printed.err, status

    return call


def test_a_folder_is_read_and_what_is_left_out_is_counted(read, pictures):
    readings, messages, status = read(pictures, pictures / "a.png", "gone.png", "--batch", "2")
    assert list(readings) == ["a.png", "b.JPG", "c.bmp", "tall.png"] and status == 1
    note, broken, gone, count = messages.splitlines()
    assert "crops: 2 files left out, hidden or not named as images, first" in note and ".d.png" in note
    assert "broken.png: not an image" in broken and gone == "error: gone.png: no such file"
    assert count == "2 of 7 files could not be read"


def test_a_model_without_permuted_orders_is_read_without_refinement(pictures, world_folder, tmp_path, capsys):
    smoke = load("ablations/table_V/no-psm.gin", "smoke")
    torch.manual_seed(0)
    model = smoke.experiment.model(load_weights=False).eval()
    save_model(model, smoke.training, {}, tmp_path)
    transform = ToTensor(model.towers.image_size, model.normalisation)
    images = torch.stack([transform(read_image_file(pictures / name)) for name in ("a.png", "b.JPG", "below/c.bmp")])
    texts = []
    for arguments, steps in (([], 0), (["--refine-steps", "1"], 1)):
        main([str(tmp_path), *(str(pictures / name) for name in ("a.png", "b.JPG", "below/c.bmp")), "--json", *arguments])
        texts.append([json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()])
        assert texts[-1] == model.tokenizer.decode(model.predict(images, refine_steps=steps).output)[0]
    assert texts[0] != texts[1]
    words = Words([WordLmdb(world_folder / "test" / "regular")], transform)
    batch = next(iter(in_order(words, 8, 0)))
    read = model.tokenizer.decode(model.predict(batch.normalised("cpu"), refine_steps=0).output)[0]
    scan = SimpleNamespace(path=world_folder / "test" / "regular", name="test/regular")
    doubted = {doubt.place.index: doubt.reading for doubt in doubts(tmp_path, [scan], 0)}
    assert doubted == dict(zip(batch.indices, read, strict=True))


def test_paths_come_from_standard_input_too(read, pictures, tmp_path, monkeypatch):
    other = tmp_path / os.fsdecode(b"caf\xe9.png")
    other.write_bytes((pictures / "tall.png").read_bytes())
    named = b"\n".join([os.fsencode(other), b"", os.fsencode(pictures / "below"), b"gone.png\n"])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(named)))
    readings, messages, status = read(pictures / "a.png", "-", pictures / "b.JPG")
    assert list(readings) == ["a.png", other.name, "c.bmp", "b.JPG"] and status == 1
    assert "error: gone.png: no such file" in messages


def test_a_name_that_no_file_can_have_is_counted_and_the_others_are_read(read, pictures):
    picture = pictures / "a.png"
    readings, said, status = read("x" * 5000, picture)
    assert list(readings) == [picture.name] and "File name too long" in said and status == 1


def test_a_folder_without_images_is_named(read, tmp_path):
    (tmp_path / "empty").mkdir()
    readings, messages, status = read(tmp_path / "empty")
    assert not readings and status == 1 and "empty: no image here" in messages


def test_a_batch_changes_no_reading(read, pictures):
    together, _, _ = read(pictures, "--letters")
    alone, _, _ = read(pictures, "--letters", "--batch", "1")
    for name, reading in together.items():
        assert alone[name]["text"] == reading["text"] and alone[name]["turned"] == reading["turned"]
        assert alone[name]["confidence"] == pytest.approx(reading["confidence"], rel=1e-3)


def test_the_probabilities_of_characters_make_the_confidence(read, pictures):
    reading = read(pictures / "a.png", "--letters")[0]["a.png"]
    assert "".join(letter for letter, _ in reading["letters"]) == reading["text"]
    factors = [probability for _, probability in reading["letters"]] + ([] if reading["end"] is None else [reading["end"]])
    assert math.prod(factors) == pytest.approx(reading["confidence"], rel=1e-4)
    assert "letters" not in read(pictures / "a.png")[0]["a.png"]


@pytest.mark.parametrize(("name", "options", "turns"), [
    ("a.png", [], (0,)),
    ("a.png", ["--orientations"], (0, 90, 180, 270)),
    ("tall.png", [], (0, 90, 270)),
    ("tall.png", ["--tall", "keep"], (0,)),
    ("tall.png", ["--tall", "keep", "--orientations"], (0, 90, 180, 270)),
])  # fmt: skip
def test_the_most_confident_orientation_is_kept(read, pictures, tmp_path, name, options, turns):
    confidences = {}
    for turn in turns:
        Image.open(pictures / name).rotate(turn, expand=True).save(tmp_path / "turned.png")
        confidences[turn] = read(tmp_path / "turned.png", "--tall", "keep")[0]["turned.png"]["confidence"]
    reading = read(pictures / name, *options)[0][name]
    assert reading["confidence"] == pytest.approx(max(confidences.values()), rel=1e-3)
    assert confidences[reading["turned"]] == pytest.approx(reading["confidence"], rel=1e-3)


def test_lines_for_people_have_a_head_and_one_line_per_file(read, pictures, tmp_path, capsys):
    odd = tmp_path / os.fsdecode(b"two\nlines\xff.png")
    odd.write_bytes((pictures / "a.png").read_bytes())
    main([str(tmp_path / "run"), str(odd), "--letters"])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split("\t") == ["image", "text", "confidence", "visual", "cross", "turned", "letters"]
    assert line.split("\t")[0].endswith(r"two\nlines\udcff.png")


@pytest.fixture
def reading(read, pictures, tmp_path):
    """The command at work on many files, its first reading printed."""
    files = [str(pictures / "a.png")] * 2000
    command = [sys.executable, "-m", "core.read", str(tmp_path / "run"), *files, "--json", "--batch", "1"]
    interruptible = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}  # also in the background
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **interruptible) as process:
        assert json.loads(process.stdout.readline())["image"].endswith("a.png")  # long before the last file is read
        yield process
        process.kill()


def test_a_closed_pipe_ends_it_without_a_word(reading):
    reading.stdout.close()
    assert reading.wait(60) == 128 + signal.SIGPIPE and reading.stderr.read() == ""


def test_an_interruption_is_one_word(reading):
    reading.send_signal(signal.SIGINT)
    assert reading.wait(60) == 130 and reading.stderr.read() == "interrupted\n"
