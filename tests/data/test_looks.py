"""What word images look like, measured of images that are made to look so."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageFilter

from core.data import looks
from core.data.lmdb import write_lmdb
from core.data.render.sheet import png_bytes

LETTERS = np.indices((16, 96))[1] // 4 % 2 == 0  # upright strokes, 4 pixels wide and apart


def picture(top=8, left=16, ink=200.0, ground=80.0, noise=0.0):
    """Strokes of half the height and three quarters of the width of SIZE, the rest of it free."""
    pixels = np.full((32, 128), ground)
    pixels[top : top + 16, left : left + 96][LETTERS] = ink
    pixels += np.random.default_rng(0).normal(0, noise, pixels.shape)
    return Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8)).convert("RGB")


def test_measures_say_what_was_drawn():
    look = looks.look_at(picture(), "word")
    found = {name: measure(look) for name, measure in looks.MEASURES.items()}
    assert found["contrast (levels)"] == pytest.approx(120) and found["share of ink"] == pytest.approx(0.1875)
    assert (found["width / height"], found["width / height per letter"]) == (4, 1)
    assert found["free above"] == found["free below"] == 0.25
    assert found["free left"] == pytest.approx(0.125, abs=0.01) and found["free right"] == pytest.approx(0.16, abs=0.01)
    assert found["mean level"] == pytest.approx(80 + 0.1875 * 120)
    moved = looks.look_at(picture(top=2, left=30), "word")
    assert moved.room(0, 0) == 2 / 32 and moved.room(0, -1) == 14 / 32 and moved.room(1, 0) == pytest.approx(30 / 128, abs=0.01)


def test_ink_is_what_the_border_is_not():
    for ink, ground in ((200.0, 80.0), (80.0, 200.0)):
        look = looks.look_at(picture(ink=ink, ground=ground), "word")
        assert look.ink[8:24, 16:112][LETTERS].all() and not look.ink[:8].any()


def test_noise_and_blur_are_told_from_each_other():
    flat = looks.look_at(picture(ink=80.0, noise=9.0), "word")
    plain = looks.look_at(picture(), "word")
    assert plain.noise == 0 and flat.noise == pytest.approx(9, rel=0.05)
    soft = looks.look_at(picture().filter(ImageFilter.GaussianBlur(2)), "word")
    assert soft.sharpness < plain.sharpness / 4


def test_an_image_of_one_level_has_no_contrast_and_no_room():
    look = looks.look_at(Image.new("RGB", (10, 5), (90, 90, 90)), "")
    assert look.contrast == look.noise == look.room(0, 0) == look.room(1, -1) == 0


def test_the_command_shows_folders_side_by_side(tmp_path, monkeypatch, capsys):
    write_lmdb(tmp_path / "one", [(png_bytes(picture()), "word")] * 3)
    write_lmdb(tmp_path / "two" / "inner", [(png_bytes(picture(ink=120.0)), "word"), (b"no image", "word")])
    monkeypatch.setattr(sys, "argv", ["looks", str(tmp_path / "one"), str(tmp_path / "two")])
    looks.main()
    shown = capsys.readouterr().out
    assert "one (3 images)" in shown and "two (1 images, 1 not decoded)" in shown
    assert "| contrast (levels)" in shown and "120 / 120 / 120" in shown and "40 / 40 / 40" in shown


def test_folders_of_one_name_have_columns_of_their_own(tmp_path, monkeypatch, capsys):
    for place, ink in (("a", 200.0), ("b", 120.0)):
        write_lmdb(tmp_path / place / "real", [(png_bytes(picture(ink=ink)), "word")])
    monkeypatch.setattr(sys, "argv", ["looks", *(str(tmp_path / place / "real") for place in "ab")])
    looks.main()
    shown = capsys.readouterr().out
    assert all(f"{tmp_path / place / 'real'} (1 images)" in shown for place in "ab")
    assert "120 / 120 / 120" in shown and "40 / 40 / 40" in shown


def test_a_folder_without_images_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["looks", str(tmp_path)])
    with pytest.raises(SystemExit):
        looks.main()
    assert f"{tmp_path}: no data.mdb at or below this folder" in capsys.readouterr().err
