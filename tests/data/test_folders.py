"""Linked folders are walked, and no link is followed round in a circle."""

import pytest

from core.data.benchmarks import benchmarks_of
from core.data.convert.source import ImageFinder
from core.data.folders import folders_below, lmdbs_below
from core.data.render.fonts import font_path, fonts_in
from core.errors import DataError
from tests.support.formats import put


def test_links_are_followed_and_circles_are_not(tmp_path):
    put(tmp_path / "elsewhere" / "set" / "data.mdb", "x")
    put(tmp_path / "data" / "own" / "data.mdb", "x")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "up").symlink_to("..")
    (tmp_path / "data" / "own" / "here").symlink_to(".")
    (tmp_path / "elsewhere" / "set" / "back").symlink_to(tmp_path / "data")  # a circle through two folders
    data = tmp_path / "data"
    assert lmdbs_below(data) == [data / "linked" / "set", data / "own"]
    assert [folder for folder, _ in folders_below(data)] == [data, data / "linked", data / "linked" / "set", data / "own"]
    assert lmdbs_below(tmp_path / "nowhere") == lmdbs_below(data / "own" / "data.mdb") == []


def test_a_set_on_a_disk_that_is_not_mounted_is_named(tmp_path):
    """It would be left out without a word, and the training would be another one."""
    put(tmp_path / "train" / "own" / "data.mdb", "x")
    (tmp_path / "train" / "IC15").symlink_to(tmp_path / "unmounted" / "IC15")
    with pytest.raises(DataError, match="train/IC15 is a link that leads nowhere: mount the disk"):
        lmdbs_below(tmp_path / "train")
    assert [folder for folder, _ in folders_below(tmp_path / "train")] == [tmp_path / "train", tmp_path / "train" / "own"]


def test_linked_benchmarks_fonts_and_images_are_found(tmp_path):
    put(tmp_path / "elsewhere" / "IC15" / "data.mdb", "x")
    put(tmp_path / "data" / "test" / "notes.txt", "x")
    put(tmp_path / "data" / "test" / "IC15_2077" / "readme", "x")
    (tmp_path / "data" / "test" / "IC15_2077" / "deep").symlink_to(tmp_path / "elsewhere" / "IC15")
    (tmp_path / "data" / "test" / "IC15").symlink_to(tmp_path / "elsewhere" / "IC15")
    assert list(benchmarks_of(tmp_path / "data")) == ["IC15", "IC15_2077"]
    put(tmp_path / "pictures" / "b" / "two.png", "x")
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "mine").symlink_to(font_path("DejaVuSans.ttf").parent)
    assert any(name.endswith("fonts/mine/DejaVuSans.ttf") for name in fonts_in(tmp_path / "fonts"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "pictures")
    assert ImageFinder(tmp_path / "images").find("two") == tmp_path / "images" / "linked" / "b" / "two.png"


@pytest.mark.parametrize("walk", [benchmarks_of, lambda root: lmdbs_below(root / "test" / "IIIT5k")])
def test_a_link_to_itself_is_named(tmp_path, walk):
    put(tmp_path / "test" / "SVT" / "data.mdb", "x")
    (tmp_path / "test" / "IIIT5k").symlink_to("IIIT5k")
    with pytest.raises(DataError, match="test/IIIT5k is a link that leads to itself: remove it"):
        walk(tmp_path)
