"""Files that are written whole or not at all, also by several processes at once."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.files import append_json, atomic_file, atomic_folder, is_alive, machine, write_json

WRITER = """
import sys, time
from pathlib import Path
from core.files import atomic_file
path, letter = Path(sys.argv[1]), sys.argv[2]
with atomic_file(path) as partial:
    with partial.open("w") as file:
        file.write(letter * 1000)
        file.flush()
        print("writing", flush=True)
        sys.stdin.readline()
        file.write(letter * 1000)
"""


@pytest.fixture
def writer(tmp_path):
    """Starts a process that is in the middle of writing tmp_path/file until its standard input has a line."""
    started = []

    def start(letter):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "file"), letter]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def partials(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith("partial")]


def test_of_two_processes_that_write_one_file_neither_fails_and_the_last_decides(writer, tmp_path):
    first, second = writer("a"), writer("b")
    assert len(partials(tmp_path)) == 2 and not (tmp_path / "file").exists()
    for process, letter in ((second, "b"), (first, "a")):
        _, errors = process.communicate("\n")
        assert process.returncode == 0, errors
        assert (tmp_path / "file").read_text() == letter * 2000
    assert not partials(tmp_path)


def test_what_a_killed_writer_left_goes_with_the_next_and_a_living_one_keeps_its_own(writer, tmp_path):
    killed, living = writer("a"), writer("b")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (tmp_path / "file.partial").write_text("the name of earlier versions")
    others = ["file.txt.partial", "file.0badcafe-1-00000000.partial", "file.sub.partial"]  # other files, another machine
    for name in others:
        (tmp_path / name).touch()
    write_json(tmp_path / "file", {"whole": True})
    assert json.loads((tmp_path / "file").read_text()) == {"whole": True}
    (mine,) = set(partials(tmp_path)) - set(others)
    assert f"-{living.pid}-" in mine
    assert living.communicate("\n")[1] == "" and sorted(partials(tmp_path)) == sorted(others)


def test_one_process_may_write_a_file_twice_at_once(tmp_path):
    with atomic_file(tmp_path / "file") as outer:
        outer.write_text("outer")
        with atomic_file(tmp_path / "file") as inner:
            inner.write_text("inner")
        assert (tmp_path / "file").read_text() == "inner"
    assert (tmp_path / "file").read_text() == "outer" and not partials(tmp_path)


def test_of_two_that_write_one_folder_neither_empties_the_others(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed = [tmp_path / "folder.partial", tmp_path / f"folder.{machine()}-{ended.pid}-00000000.partial"]
    for folder in killed:
        folder.mkdir()
    with atomic_folder(tmp_path / "folder") as first:
        (first / "file").write_text("first")
        with atomic_folder(tmp_path / "folder") as second:
            (second / "file").write_text("second")
        assert (tmp_path / "folder" / "file").read_text() == "second"
    assert (tmp_path / "folder" / "file").read_text() == "first" and [*tmp_path.iterdir()] == [tmp_path / "folder"]
    with pytest.raises(KeyError), atomic_folder(tmp_path / "folder") as partial:
        raise KeyError
    assert not partial.exists() and (tmp_path / "folder" / "file").read_text() == "first"


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyError), atomic_file(tmp_path / "file") as partial:
        partial.write_text("new")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "old"


def test_a_folder_may_be_the_one_that_is_worked_in(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    with atomic_folder(Path()) as folder:
        (folder / "file").write_text("new")
    assert (tmp_path / "out" / "file").read_text() == "new" and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_who_is_alive():
    assert is_alive(os.getpid()) and is_alive(1)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_alive(ended.pid)


def test_numbers_that_are_not_finite_become_null(tmp_path):
    write_json(tmp_path / "file.json", {"low": math.nan, "of": [math.inf, (1.5, -math.inf)], "n": 0, "text": "NaN", "on": True})
    found = json.loads((tmp_path / "file.json").read_text(), parse_constant=pytest.fail)
    assert found == {"low": None, "of": [None, [1.5, None]], "n": 0, "text": "NaN", "on": True}


def test_names_that_are_not_utf8_are_written_and_read_back(tmp_path):
    content = {"path": os.fsdecode(b"caf\xe9"), "label": "Café Привет"}
    write_json(tmp_path / "whole.json", content)
    append_json(tmp_path / "lines.jsonl", content)
    for path in sorted(tmp_path.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert json.loads(text) == content and "Café Привет" in text
