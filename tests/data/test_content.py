"""Data is known by all of its bytes, and a large file is read for that once."""

import hashlib
import os

import pytest

from core.data import content
from core.data.lmdb import write_lmdb
from core.data.sets import fingerprint
from core.files import file_digest


def test_labels_corrected_at_their_length_make_other_data(tmp_path):
    """Built anew, such an LMDB has the same size and the same first and last megabyte."""
    image, words = bytes(4096), [f"word{number:04d}" for number in range(3000)]
    before, after = tmp_path / "before", tmp_path / "after"
    write_lmdb(before, [(image, word) for word in words])
    write_lmdb(after, [(image, word[::-1] if number == 1500 else word) for number, word in enumerate(words)])
    assert (before / "data.mdb").stat().st_size == (after / "data.mdb").stat().st_size
    assert file_digest(before / "data.mdb") == file_digest(after / "data.mdb")
    assert fingerprint(before) != fingerprint(after)


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Counts how often a file is read for its digest, which is remembered in a folder of its own."""
    reads, read = [], content.read_digest
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "REMEMBERED", 1000)
    monkeypatch.setattr(content, "read_digest", lambda file, size: reads.append(file) or read(file, size))
    return reads


def test_a_large_file_is_read_once_until_it_changes(tmp_path, counted):
    file, moved = tmp_path / "data.mdb", tmp_path / "moved.mdb"
    file.write_bytes(bytes(5000))
    first = content.content_digest(file)
    assert first == content.content_digest(file) == hashlib.sha256(bytes(5000)).hexdigest()[:16] and len(counted) == 1
    (note,) = content.cache_folder().iterdir()
    for damaged in ("", "{", "[1]", "{}"):
        note.write_text(damaged)
        assert content.content_digest(file) == first
    assert len(counted) == 5
    times = file.stat()
    file.write_bytes(bytes(2500) + b"x" + bytes(2499))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as rsync leaves it
    assert content.content_digest(file) != first and len(counted) == 6
    file.rename(moved)
    assert content.content_digest(moved) != first and len(counted) == 7


def test_a_file_that_cannot_be_remembered_is_read_every_time(tmp_path, counted):
    (tmp_path / "cache").write_text("a file where the folder would be")
    (tmp_path / "data.mdb").write_bytes(bytes(5000))
    assert content.content_digest(tmp_path / "data.mdb") == content.content_digest(tmp_path / "data.mdb") and len(counted) == 2


def test_a_name_that_is_no_text_and_a_machine_without_a_home_folder_do_no_harm(tmp_path, counted, monkeypatch):
    file = tmp_path / os.fsdecode(b"caf\xe9") / "data.mdb"
    file.parent.mkdir()
    file.write_bytes(bytes(5000))
    assert content.content_digest(file) == content.content_digest(file) and len(counted) == 1

    def homeless() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(content, "cache_folder", homeless)
    assert content.content_digest(file) == hashlib.sha256(bytes(5000)).hexdigest()[:16] and len(counted) == 2
