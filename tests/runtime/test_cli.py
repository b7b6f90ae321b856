"""Commands: help at once, and what becomes of errors."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from core import cli
from core.errors import UserError, user_errors
from core.files import ROOT
from core.train.orders import Orders
from core.train.step import step_seed

HEAVY = ("torch", "pandas", "pyarrow", "scipy", "matplotlib", "transformers", "open_clip", "timm")
SOURCES = [path for package in ("core", "ablations", "reports") for path in sorted((ROOT / package).rglob("*.py"))]
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in SOURCES
    if 'if __name__ == "__main__":' in path.read_text()
]
PROGRAM = f"""
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""


def run(command: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, command, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_waits_for_no_heavy_package(command):
    done = run(command, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: python -m {command}"), done.stderr
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("core.train", ["row.gin", "--data", "d", "--out", "o", "--scale", "huge"], "--scale: invalid choice: 'huge'"),
        ("core.train", ["row.gin", "--data", "d", "--out", "o", "--seed", "-1"], "from 0 to 4294967295, got '-1'"),
        ("core.bench", ["read", "--batch", "0"], "--batch: expected a whole number of at least 1, got '0'"),
        ("core.bench", ["read", "--model", "run"], "--model also needs --data and --out"),
        ("core.data.doctor", ["data", "--confident", "2"], "--confident: expected a number from 0 to 1, got '2'"),
        ("ablations.plan", ["--price", "inf"], "--price: expected a positive number, got 'inf'"),
        ("reports.figures", ["qualitative", "table_VI", "--images", "x"], "of at least 1, got 'x'"),
    ],
)
def test_wrong_arguments_wait_for_no_heavy_package(command, arguments, message):
    done = run(command, *arguments)
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.splitlines()[-1].strip() == ""


def test_a_users_mistake_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop, user_errors():
        raise UserError("row.gin:\n  no such file; name another")
    assert stop.value.code == 1 and capsys.readouterr().err == "error: row.gin: no such file; name another\n"


def test_a_missing_file_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop, user_errors():
        (tmp_path / "gone").read_text()
    assert stop.value.code == 1 and capsys.readouterr().err.count("\n") == 1


def test_an_interruption_has_its_own_status(capsys):
    with pytest.raises(SystemExit) as stop, user_errors():
        raise KeyboardInterrupt
    assert stop.value.code == 130 and capsys.readouterr().err == "interrupted\n"


def test_errors_of_numpy_keep_their_traceback():
    with pytest.raises(ValueError, match="could not be broadcast"), user_errors():
        np.zeros(2) + np.zeros(3)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("raise UserError('letters: too few')", "error: letters: too few\n"),
        ("import numpy; numpy.zeros(2) + numpy.zeros(3)", "Traceback (most recent call last):"),
    ],
)
def test_a_command_shows_mistakes_in_a_line_and_bugs_with_their_traceback(body, shown, tmp_path):
    program = f"""
from core.errors import UserError
from core.figures import masks
def fail(letters, seed):
    {body}
masks.masks = fail
masks.main(["--out", "masks.json"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and done.stderr.startswith(shown)


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5"])
def test_counts_are_whole_numbers_from_the_least(text):
    with pytest.raises(cli.argparse.ArgumentTypeError, match=f"of at least 1, got '{text}'"):
        cli.at_least(1)(text)
    assert cli.at_least(1)("1") == 1


@pytest.mark.parametrize("text", ["-1", "4294967296", "x", "1.5", ""])
def test_seeds_are_those_that_every_generator_takes(text):
    with pytest.raises(cli.argparse.ArgumentTypeError, match=f"from 0 to 4294967295, got '{text}'"):
        cli.at_least(0, cli.LAST_SEED)(text)
    largest = cli.LAST_SEED
    torch.Generator().manual_seed(step_seed(largest, 10**6, 1000))
    assert len(Orders(largest, 1, 1, 2, True).of([0], 5)) == 2
