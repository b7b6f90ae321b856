"""How cost grows: every factor has its points, the line through them, and a figure."""

import json

import pytest
import torch

from core.bench import __main__ as bench
from core.bench import scaling
from core.bench.timing import Seconds
from reports.figures.__main__ import main as draw


def test_the_line_is_the_least_squares_one():
    fixed, each, r2 = scaling.line([1, 2, 3], [3.0, 5.0, 7.0])
    assert (fixed, each, r2) == pytest.approx((1, 2, 1))
    fixed, each, r2 = scaling.line([0, 1, 2], [0.0, 3.0, 0.0])
    assert (fixed, each, r2) == pytest.approx((1, 0, 0), abs=1e-12)


def test_every_factor_is_measured_and_drawn(tmp_path, monkeypatch, capsys):
    """Every task runs once and the clock is made up: seconds are the value itself."""

    def take_turns(tasks, repeats, device, title):
        for ready in tasks.values():
            ready(0)()
        return {x: [Seconds(2 * x + 1, 0)] * repeats for x in tasks}

    monkeypatch.setattr(scaling, "take_turns", take_turns)
    threads, out = torch.get_num_threads(), tmp_path / "scaling.json"
    try:
        bench.main(["scaling", "--scale", "smoke", "--repeats", "1", "--threads", "1", "--out", str(out)])
    finally:
        torch.set_num_threads(threads)
    found = json.loads(out.read_text())
    factors = {growth["factor"]: growth for growth in found["growths"]}
    assert list(factors["orders K"]["x"]) == [2, 4, 6, 12, 24] and factors["orders K"]["what"] == "train"
    assert factors["patches"]["x"] == [factors["patches"]["x"][0] * n for n in (1, 2, 3, 4)]
    assert all((growth["fixed"], growth["each"]) == pytest.approx((1, 2)) for growth in found["growths"])
    assert len(factors) == 8 and "smoke" in capsys.readouterr().out
    draw(["scaling", str(out), str(tmp_path / "drawn")])
    assert (tmp_path / "drawn.svg").stat().st_size > 10_000 and (tmp_path / "drawn.png").is_file()


def test_a_file_of_something_else_is_refused(tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text('{"rows": []}')
    with pytest.raises(SystemExit):
        draw(["scaling", str(path), str(tmp_path / "drawn")])
    assert "other.json: key 'growths' is missing; write it with" in capsys.readouterr().err
