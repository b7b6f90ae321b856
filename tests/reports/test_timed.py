"""Times of reading in a table, and the note on what was measured beside them."""

import json

import pytest

from core.errors import ReportError
from reports.build import build
from tests.support.results import write_results

TIMED = {
    **{"device": "x86_64 CPU", "precision": "float32", "batch": 32, "threads": 1, "images": 256, "mean_letters": 4.31},
    **{"other_jobs": 0, "repeats": 3},
}


def timing(results, number: int, cpu_share=None, **known):
    """A row's reading_time.json, as core.bench writes it; without `known` as its earliest version did."""
    cost = {"ms_per_image": 2.5} | ({} if cpu_share is None else {"cpu_share": cpu_share})
    file = results / "runs" / f"micro-{number:08d}" / "seed0" / "reading_time.json"
    file.write_text(json.dumps({**known, "readings": {"0" * 8: {"outputs": {"cross": cost}}}}))


def time_note(results) -> str:
    return next((note for note in build("table_IX", results, results / "tables").notes if note.startswith("Time:")), "")


@pytest.fixture
def timed(tmp_path):
    return write_results(tmp_path, "table_IX", {"cross-ar": [1, 1, 1, 0], "cross-eq8": [1, 1, 0, 0], "visual-ar": [0, 0, 0, 1]})


def test_the_note_on_times_says_what_was_measured_beside_them(timed):
    assert time_note(timed) == ""
    for number, share in enumerate((0.991, 0.93)):
        timing(timed, number, share, **TIMED)
    assert time_note(timed) == (
        "Time: milliseconds per image, median of the repeats (x86_64 CPU, float32, batch 32, CPU threads: 1, 256 test words, "
        "4.3 letters a word; other jobs of the workflow at that time: none; share of the processor that the measuring process "
        "had, per thread: 93 to 99 %). Published: one A100, so compare rows, not columns."
    )
    timing(timed, 1, **TIMED)
    assert "per thread: 99 %, not recorded for cross-eq8)" in time_note(timed)
    timing(timed, 1, 0.5, **{**TIMED, "other_jobs": 2})
    note = time_note(timed)
    assert "(cross-ar: x86_64" in note and ". cross-eq8: x86_64" in note and "at that time: none" in note
    assert "other jobs of the workflow at that time: 2; share of the processor that the measuring process had, per" in note
    timing(timed, 1, 0.5, **{**TIMED, "other_jobs": None})
    assert "at that time: not known" in time_note(timed)


def test_a_timing_of_an_earlier_version_lacks_what_is_said_to_be_not_recorded(timed):
    """Each key alone, then all of them."""
    for key in TIMED:
        timing(timed, 0, 0.5, **{name: value for name, value in TIMED.items() if name != key})
        missing = {"other_jobs": "at that time: not recorded", "repeats": ""}.get(key, f"{key.replace('_', ' ')} not recorded")
        assert missing in time_note(timed) and time_note(timed).count("not recorded") == (key != "repeats")
    timing(timed, 0)
    assert "per thread: not recorded)" in time_note(timed) and time_note(timed).count("not recorded") == 8


@pytest.mark.parametrize("known", [{"mean_letters": "many"}, {"mean_letters": None}, {"mean_letters": []}])
def test_a_damaged_timing_is_named(timed, known):
    timing(timed, 0, 0.5, **{**TIMED, **known})
    with pytest.raises(ReportError, match="reading_time.json cannot be read .*; delete it and run the command again"):
        time_note(timed)
