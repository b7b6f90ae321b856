"""Exported graphs: they read as the model does, in both formats, whatever the batch; and what cannot be exported is named."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from core.data.transforms import normalise
from core.errors import UserError
from core.experiment.experiment import load
from core.export import run
from core.export.__main__ import main
from core.export.check import GraphComparison, compare
from core.export.reader import ExportedReader
from core.model.tokenizer import Tokenizer
from core.model.towers import ClipTower
from core.weights.checkpoint import load_model, save_model
from tests.support.golden import random_checkpoint

MISSING = "the optional extra [export] is not installed: make test-all does it"
OUTPUTS = 4  # of the toy: a graph has as many steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Released checkpoints that write three letters at most, their decoders of one layer and of two; and three images."""
    folder = tmp_path_factory.mktemp("export")
    for name, depth in {"toy.ckpt": 1, "deep.ckpt": 2}.items():
        checkpoint = random_checkpoint(0, depth, 0.5)
        for queries in ("visual_decoder.pos_queries", "cross_decoder.pos_queries"):
            checkpoint["state_dict"][queries] = checkpoint["state_dict"][queries][:, :OUTPUTS].clone()
        torch.save(checkpoint, folder / name)
    (folder / "images").mkdir()
    noise = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(noise.integers(0, 255, (20, 50 + number, 3), np.uint8)).save(folder / "images" / f"{number}.png")
    return folder


def call(capsys, *arguments):
    status = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize("kind", ["pt2", pytest.param("onnx", marks=pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in run.EXTRA), reason=MISSING))])  # fmt: skip
def test_both_branches_read_as_the_model(folder, tmp_path, capsys, kind):
    """On rendered words; then on images alone and together, through the reader that is documented."""
    out = tmp_path / "out"
    status, printed, errors = call(capsys, folder / "toy.ckpt", out, "--format", kind)
    assert status == 0, errors
    model_line, graphs_line, compared, equal, _ = printed.splitlines()[1:]
    assert model_line.startswith("model") and graphs_line.startswith(kind) and "32 images" in compared
    assert "(visual)" in compared and "(cross)" in compared and equal == "all strings are equal"
    assert {path.name for path in out.iterdir()} >= {f"visual.{kind}", f"cross.{kind}", "reader.json"}
    assert not [path for path in out.iterdir() if str(folder).encode() in path.read_bytes()]
    reader, model = ExportedReader(out), load_model(folder / "toy.ckpt")
    images = [Image.open(path) for path in sorted((folder / "images").iterdir())]
    pixels = torch.stack([reader.transform(image) for image in images])
    words = model.tokenizer.decode(model.predict(pixels).output)[0]
    assert [word for word, _ in reader.read(images)] == words and len(set(words)) > 1
    assert [reader.read([image])[0][0] for image in images] == words


def test_the_visual_branch_alone_in_one_pass(folder, tmp_path, capsys):
    arguments = ["--format", "pt2", "--branches", "visual", "--decode", "cloze", "--refine-steps", "2"]
    checked = ["--check", *[folder / "images"] * 12, folder / "images" / "0.png"]  # more than are read at once
    status, printed, errors = call(capsys, folder / "deep.ckpt", tmp_path / "out", *arguments, *checked)
    assert status == 0 and "37 images" in printed and "(cross)" not in printed, errors
    about = json.loads((tmp_path / "out" / "reader.json").read_text())
    assert about["graphs"] == ["visual.pt2"] and about["decode"] == "cloze" and "captions" not in about
    model = load_model(folder / "deep.ckpt")
    needed = [name for name in model.state_dict() if "towers.clip.visual" in name or "visual_decoder" in name]
    everything = sum(tensor.nbytes for tensor in model.state_dict().values())
    kept = sum(model.state_dict()[name].nbytes for name in needed)
    assert kept < (tmp_path / "out" / "visual.pt2").stat().st_size < kept + (everything - kept) / 10


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("table_VIII/lst-r4", " with adapter LadderSideTuning"),
        ("table_VIII/dora", " with adapter Lora"),
        ("table_VII/imagenet-1k", "tower ablations/micro/clip.json"),
        ("table_V/no-psm", "tower ablations/micro/clip.json"),
    ],
)
def test_adapters_and_other_towers(row, named, tmp_path, capsys, folder):
    smoke = load(f"ablations/{row}.gin", "smoke", ["clip4str.CLIP4STR.max_letters = 4"])
    torch.manual_seed(0)
    save_model(smoke.experiment.model(load_weights=True), smoke.training, {}, tmp_path / "run")
    arguments = ["--format", "pt2", "--decode", "cloze", "--check", folder / "images"]
    status, printed, errors = call(capsys, tmp_path / "run", tmp_path / "out", *arguments)
    assert status == 0 and "all strings are equal" in printed, errors
    assert run.culprit(load_model(tmp_path / "run")).endswith(named)
    about = json.loads((tmp_path / "out" / "reader.json").read_text())
    assert about["refine_steps"] == (0 if row == "table_V/no-psm" else 1)  # contexts of the refinement were never trained


@pytest.mark.parametrize("wrong", ["logits", "strings", "nan"])
def test_graphs_that_read_otherwise_are_not_kept(folder, tmp_path, capsys, monkeypatch, wrong):
    class Other:
        """Reads as the model, with an error."""

        def __init__(self, _):
            self.model = load_model(folder / "toy.ckpt")

        def logits(self, pixels):
            found = self.model.predict(normalise(pixels, "half"))
            logits = [torch.stack(pair, 1) for pair in ((found.visual_ar, found.visual), (found.cross_ar, found.cross))]
            if wrong == "strings":
                logits[1] = logits[1].flip(-1)
            else:
                logits[0][0, -1, 0, 0] += float("nan") if wrong == "nan" else 3e-4
            return logits

    monkeypatch.setattr(run, "write_graphs", lambda *_: None)
    monkeypatch.setattr(run, "ExportedReader", Other)
    arguments = ["--format", "pt2", "--check", folder / "images"]
    status, printed, errors = call(capsys, folder / "toy.ckpt", tmp_path / "out", *arguments)
    assert status == 1 and not (tmp_path / "out").exists() and errors.count("\n") == 1
    assert "3 images; largest difference of logits" in printed and "all strings are equal" not in printed
    assert ("logits differ by" if wrong == "logits" else "strings differ, first: ") in errors and "toy.ckpt" in errors


@pytest.mark.parametrize(("margin", "tied", "holds"), [(1e-6, 1, True), (0.1, 0, False)])
def test_an_image_that_rounding_decides_is_counted_and_says_nothing(margin, tied, holds):
    """Two images of one letter: the graphs read another letter where the model finds both as likely."""
    tokenizer = Tokenizer("ab")
    clear = torch.tensor([[[[0.0, 9.0, 1.0], [9.0, 1.0, 0.0]]] * 2])  # 1 S N C: a, then [E]
    close = clear.clone()
    close[:, :, 0] = torch.tensor([0.0, 5.0, 5.0 - margin])
    ours = torch.cat([clear, close])
    theirs = ours.clone()
    theirs[1, :, 0] = torch.tensor([0.0, 5.0, 6.0])
    found = SimpleNamespace(visual_ar=ours[:, 0], visual=ours[:, 1], cross_ar=None, cross=None)
    one = SimpleNamespace(visual_ar=ours[:1, 0], visual=ours[:1, 1], cross_ar=None, cross=None)
    model = SimpleNamespace(
        normalisation="half", tokenizer=tokenizer, predict=lambda pixels, *_: found if len(pixels) == 2 else one
    )
    reader = SimpleNamespace(logits=lambda pixels: [theirs[: len(pixels)]])
    images = [(name, torch.zeros(3, 4, 8, dtype=torch.uint8)) for name in ("clear", "close")]
    agreement = compare(model, reader, images, "ar", 1)
    assert (agreement.images, agreement.tied, agreement.holds) == (2, tied, holds)
    assert holds or agreement.different == [("close", "a", "b")] * 2


def test_images_that_all_are_ties_are_the_reason(tmp_path):
    options = SimpleNamespace(out=tmp_path / "out", model="toy.ckpt", format="pt2")
    tied = GraphComparison(images=2, tied=2, alone=[(1.0, 1.0)], together=[(1.0, 1.0)])
    with pytest.raises(UserError, match="all 2 images are left out as ties, .*; name other images with --check$"):
        run.report(tied, [1, 1], options)


def test_a_tower_whose_steps_depend_on_the_image_is_named(folder, tmp_path, capsys, monkeypatch):
    def encode_image(self, images):
        return whole(self, images if float(images.mean()) > 0 else images.flip(-1))

    whole = ClipTower.encode_image
    monkeypatch.setattr(ClipTower, "encode_image", encode_image)
    status, _, errors = call(capsys, folder / "toy.ckpt", tmp_path / "out", "--format", "pt2", "--branches", "visual")
    assert status == 1 and errors.count("\n") == 1 and not (tmp_path / "out").exists()
    assert "toy.ckpt: tower CLIP cannot be exported as visual.pt2 (" in errors and "same steps for every image" in errors


def test_mistakes_are_one_line(folder, model, smoke, tmp_path, capsys, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    assert "exists and is not an empty folder" in call(capsys, folder / "toy.ckpt", tmp_path / "full", "--format", "pt2")[2]
    (tmp_path / "broken.png").write_text("no image")
    monkeypatch.setattr(run, "write_graphs", lambda *_: None)
    monkeypatch.setattr(run, "ExportedReader", lambda _: None)
    arguments = [folder / "toy.ckpt", tmp_path / "out", "--format", "pt2", "--check", tmp_path / "broken.png"]
    assert "broken.png: not an image" in call(capsys, *arguments)[2] and not (tmp_path / "out").exists()
    alone = load("ablations/table_V/base.gin", "smoke")
    save_model(alone.experiment.model(load_weights=False), alone.training, {}, tmp_path / "run")
    arguments = [tmp_path / "run", tmp_path / "out", "--format", "pt2", "--branches", "both"]
    assert "has the visual branch alone" in call(capsys, *arguments)[2]
    monkeypatch.setattr(run, "EXTRA", ("onnx_that_nobody_has",))
    status, _, errors = call(capsys, folder / "toy.ckpt", tmp_path / "out")
    assert status == 1 and "needs onnx_that_nobody_has: pip install 'clip4str-ablations[export]'" in errors
