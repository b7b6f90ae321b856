"""Damaged files, hostile places and several processes: the reader goes on, or names the file and what to do."""

import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.charset import CHARSET_36
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.loading import InOrder, Words, collate, open_lmdbs
from core.data.sets import find_lmdbs, fingerprint
from core.data.transforms import ToTensor
from core.errors import DataError, UnreadableImage

NOBODY = 65534
COUNT = 120


def png(level: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((20, 40), level, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write(folder: Path, count: int = COUNT) -> Path:
    write_lmdb(folder, [(png(i), f"w{i}") for i in range(count)])
    return folder


def damaged(tmp_path: Path, change) -> Path:
    """A set whose data.mdb went through `change`, under a name that was never open."""
    content = (write(tmp_path / "whole") / "data.mdb").read_bytes()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "data.mdb").write_bytes(change(content))
    return tmp_path / "damaged"


@pytest.mark.parametrize("share", (0.0, 0.001, 0.05, 0.25, 0.5, 0.75, 0.99))
def test_a_file_cut_off_is_refused_by_name(tmp_path, share):
    folder = damaged(tmp_path, lambda content: content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"damaged/data.mdb (is cut off: .* bytes of|cannot be opened)"):
        WordLmdb(folder)


def test_a_file_of_other_bytes_is_refused_by_name(tmp_path):
    folder = damaged(tmp_path, lambda content: np.random.default_rng(0).bytes(len(content)))
    with pytest.raises(DataError, match="damaged/data.mdb cannot be opened"):
        WordLmdb(folder)


def test_every_zeroed_page_is_noticed(tmp_path):
    whole = (write(tmp_path / "whole") / "data.mdb").read_bytes()
    for page in range(2, len(whole) // 4096):
        folder = tmp_path / f"page {page}"
        folder.mkdir()
        (folder / "data.mdb").write_bytes(whole[: 4096 * page] + bytes(4096) + whole[4096 * (page + 1) :])
        try:
            words = WordLmdb(folder)
            levels = [words.image(sample.index).getpixel((0, 0))[0] for sample in words.samples]
        except (DataError, UnreadableImage) as error:
            assert "key" in str(error) and (isinstance(error, UnreadableImage) or str(folder) in str(error))
        else:  # a page that holds no sample, such as an earlier state of the database
            assert levels == list(range(COUNT)) and not words.ledger.counts


def read_all(folder: Path) -> int:
    words = WordLmdb(folder)
    return sum(words.image(sample.index).getpixel((0, 0))[0] for _ in range(5) for sample in words.samples)


SUM = """
import sys
from pathlib import Path
from core.data.lmdb import WordLmdb
words = WordLmdb(Path(sys.argv[1]))
print(sum(words.image(sample.index).getpixel((0, 0))[0] for _ in range(5) for sample in words.samples))
"""


def test_processes_read_one_lmdb_at_once(tmp_path):
    folder = write(tmp_path / "set")
    expected = 5 * sum(range(COUNT))
    assert read_all(folder) == expected  # open here as well
    others = [subprocess.Popen([sys.executable, "-c", SUM, str(folder)], stdout=subprocess.PIPE) for _ in range(2)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(read_all, [folder] * 4, chunksize=1) == [expected] * 4
    assert [int(other.communicate()[0]) for other in others] == [expected] * 2
    assert read_all(folder) == expected


def test_a_worker_names_the_file_that_was_cut_after_it_was_opened(tmp_path):
    words = Words(open_lmdbs(write(tmp_path / "set"), CHARSET_36, 25), ToTensor((8, 16), "clip"))
    with (tmp_path / "set" / "data.mdb").open("r+b") as file:
        file.truncate(8192)
    loader = torch.utils.data.DataLoader(
        words, batch_sampler=InOrder(COUNT, 8), num_workers=1, collate_fn=collate, multiprocessing_context="fork"
    )
    with pytest.raises(DataError, match="set/data.mdb is cut off"):
        list(loader)


READ = """
import os, sys
from pathlib import Path
from core.data.images import known_formats
from core.data.lmdb import WordLmdb, write_lmdb
known_formats()
if os.geteuid() == 0:
    os.setuid(int(sys.argv[2]))
words = WordLmdb(Path(sys.argv[1]) / "set")
print(len(words), words.image(3).size)
try:
    write_lmdb(Path(sys.argv[1]) / "more", [(b"", "x")])
except OSError as error:
    print(error)
"""


def test_a_read_only_folder_is_read_and_refuses_to_be_written():
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name) / "set", 5)
        for path, mode in ((folder / "data.mdb", 0o444), (folder, 0o555), (Path(name), 0o555)):
            path.chmod(mode)
        command = [sys.executable, "-c", READ, name, str(NOBODY)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        Path(name).chmod(0o755)
        folder.chmod(0o755)
    assert done.stdout.startswith("5 (40, 20)\n") and f"{name}/more" in done.stdout and "ermission denied" in done.stdout


@pytest.mark.parametrize("name", ("with spaces and ümläuts", "日本 語", "emoji 😀", os.fsdecode(b"caf\xe9"), "new\nline"))
def test_folders_of_any_name_are_read(tmp_path, name):
    write(tmp_path / name / "set", 3)
    (folder,) = find_lmdbs(tmp_path)
    assert WordLmdb(folder).image(2).size == (40, 20)
    before = fingerprint(tmp_path)
    write(tmp_path / name / "set", 4)
    assert fingerprint(tmp_path) != before
    assert len(WordLmdb(folder)) == 4


def test_a_link_to_a_folder_above_counts_no_sample_twice(tmp_path):
    write(tmp_path / "train" / "real", 3)
    (tmp_path / "train" / "again").symlink_to(tmp_path / "train")
    (tmp_path / "train" / "real" / "here").symlink_to(".")
    assert find_lmdbs(tmp_path) == [tmp_path / "train" / "real"]


LIST = """
import os, sys
from pathlib import Path
from core.data.sets import find_lmdbs
if os.geteuid() == 0:
    os.setuid(int(sys.argv[2]))
find_lmdbs(Path(sys.argv[1]))
"""


def test_a_folder_that_cannot_be_listed_is_not_left_out_silently():
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "open", 2)
        closed = write(Path(name) / "closed" / "set", 2).parent
        Path(name).chmod(0o755)
        closed.chmod(0)
        done = subprocess.run([sys.executable, "-c", LIST, name, str(NOBODY)], capture_output=True, text=True)
        closed.chmod(0o755)
    assert f"DataError: {closed} cannot be listed (Permission denied)" in done.stderr
