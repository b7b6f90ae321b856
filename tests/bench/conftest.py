"""What the tests of the bench share."""

import json

import pytest
import torch

from core.bench.__main__ import main


@pytest.fixture(autouse=True)
def one_thread():
    """Command lines set the threads of the whole process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def lines(capsys):
    """What a command prints with --json, checked for what every measurement holds."""

    def run(command: str) -> list[dict]:
        main([*command.split(), "--json"])
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for line in found:
            assert line["device"] and line["n"] >= 1
            for values in (line["ours"], line["reference"], line["ratio"]):
                assert 0 < values["low"] <= values["median"] <= values["high"]
        return found

    return run
