"""A day on a rented card: every part is a command that exists, has a limit, and leaves a log and a line of the summary."""

import re
import time

import psutil
import pytest

from core.bench import gpu_day
from core.bench.__main__ import parsed
from core.bench.gpu_day import Part, main, parts


@pytest.mark.parametrize("name", [name for name, part in parts("paper").items() if part.command[:2] == gpu_day.BENCH])
def test_every_part_is_a_command_of_the_bench(name):
    options = parsed(parts("paper")[name].command[2:])
    assert options.json and getattr(options, "scale", "paper") == "paper"


def test_the_parts_fit_nine_minutes():
    assert sum(part.limit for part in parts("paper").values()) <= 9 * 60


def ended(pid: int) -> bool:
    """Whether a process is gone within five seconds, or is left only for its parent to reap."""
    until = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.05)
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_parts_that_fail_hang_or_come_too_late_do_not_stop_the_others(tmp_path, monkeypatch, capsys):
    hanging = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    made = {
        "good": Part("what is 1 + 1?", 60, ("-c", "print(1 + 1)")),
        "bad": Part("what fails?", 60, ("-c", "raise SystemExit(3)")),
        "slow": Part("what hangs?", 2, ("-c", hanging)),
        "last": Part("is the last one asked?", 60, ("-c", "print('yes')")),
    }
    monkeypatch.setattr(gpu_day, "parts", lambda scale: made)
    began = time.monotonic()
    main([str(tmp_path / "day")])
    assert time.monotonic() - began < 50
    child = int((tmp_path / "day" / "slow.log").read_text().splitlines()[1])
    assert ended(child)  # the child of the hanging part, as a bench's loader processes are
    text = (tmp_path / "day" / "summary.md").read_text()
    ends = re.findall(r"^## (\w+): (.*)$", text, re.MULTILINE)
    assert [name for name, _ in ends] == list(made)
    assert re.match(r"exit 0 after \d+ s", ends[0][1]) and re.match(r"exit 3 after", ends[1][1])
    assert ends[2][1] == "cut off after 2 s" and "    yes" in text and "    2" in text
    assert "no GPU" in text.splitlines()[0] or "CUDA" in text.splitlines()[0]
    assert "summary.md" in capsys.readouterr().out


def test_no_time_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_day, "parts", lambda scale: {"late": Part("?", 60, ("-c", "print(1)"))})
    clock = iter([0.0, 56.0, 56.0, 60.0])
    monkeypatch.setattr(gpu_day.time, "monotonic", lambda: next(clock, 60.0))
    main([str(tmp_path), "--minutes", "1"])
    assert f"## late: {gpu_day.NOT_RUN}" in (tmp_path / "summary.md").read_text()


def test_an_unknown_part_and_a_file_in_the_place_of_the_folder(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--parts", "warp"])
    assert "invalid choice: 'warp'" in capsys.readouterr().err
    (tmp_path / "day").write_text("")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "day")])
    assert "is a file; OUT is a folder for logs" in capsys.readouterr().err
