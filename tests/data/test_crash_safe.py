"""Processes that die: what killed them is named, the other work is done; and an LMDB whose damage kills its reader."""

import faulthandler
import os
import re
import signal

import pytest

from core.data.doctor.diagnosis import examine
from core.data.doctor.report import as_text, sections_of
from core.data.lmdb import write_lmdb
from core.data.prepare import prepare
from core.data.render.drawing import numbered
from core.errors import DataError
from core.runtime.crash_safe import WorkerCrash, crash_safe_map
from tests.support.formats import picture


def square(number: int) -> int:
    if number in (3, 9):
        faulthandler.disable()  # the end of this process is the test, and no traceback of it is wanted
        os.kill(os.getpid(), signal.SIGBUS)
    if number == 11:
        os._exit(5)
    return number * number


@pytest.mark.parametrize("workers", (1, 3))
def test_jobs_that_kill_are_told_from_the_others(workers):
    answers = list(crash_safe_map(square, range(14), workers))
    assert answers == [
        {3: WorkerCrash("SIGBUS"), 9: WorkerCrash("SIGBUS"), 11: WorkerCrash("exit status 5")}.get(number, number * number)
        for number in range(14)
    ]


def test_errors_are_raised_here():
    with pytest.raises(ValueError, match="invalid literal"):
        list(crash_safe_map(int, ["1", "x", "2"], 2))


def test_a_death_says_what_to_do():
    assert str(WorkerCrash("SIGBUS")) == "ended the process (SIGBUS): the file is damaged inside; copy or build it again"
    assert "lack of memory; try fewer --workers" in str(WorkerCrash("SIGKILL"))


@pytest.mark.parametrize("workers", (1, 2, 3))
def test_images_come_in_order_from_any_number_of_processes(workers):
    assert list(numbered(str, 200, workers)) == list(map(str, range(200)))


def test_a_drawing_process_that_dies_ends_the_work_with_a_word():
    with pytest.raises(OSError, match="a process that draws images died .*fewer --workers"):
        list(numbered(square, 200, 2))


def kills(folder):
    """An LMDB whose second image claims to be almost as long as the file, so that reading it runs past the end."""
    write_lmdb(folder, [(picture(i), f"w{i}") for i in range(3)])
    content = bytearray((folder / "data.mdb").read_bytes())
    for found in re.finditer(b"image-000000002", content):  # in the page of now and in earlier ones
        content[found.start() - 8 : found.start() - 4] = (len(content) - 1).to_bytes(4, "little")  # its node's size
    (folder / "data.mdb").write_bytes(content)


def test_a_database_that_kills_its_reader_is_a_finding_and_the_rest_is_looked_at(tmp_path):
    kills(tmp_path / "train" / "real")
    write_lmdb(tmp_path / "test" / "SVT", [(picture(7), "fine")])
    text = as_text(sections_of(examine(tmp_path, [], workers=2)))
    file = tmp_path / "train" / "real" / "data.mdb"
    assert f"train/real: cannot be read: {file}: reading keys 1 to 3 ended the process (SIGBUS)" in text
    assert "test/SVT    1" in text


@pytest.mark.parametrize("workers", (1, 2))
def test_a_database_that_kills_its_reader_is_named_by_prepare(tmp_path, workers):
    kills(tmp_path / "src")
    with pytest.raises(DataError, match=r"src/data.mdb: loading words 1 to 3 ended the process \(SIGBUS\)"):
        prepare([tmp_path / "src"], tmp_path / "out", workers=workers)
    assert not (tmp_path / "out").exists()
