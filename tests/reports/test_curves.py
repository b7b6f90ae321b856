"""Learning curves: what is read and drawn is what the runs logged."""

import json

import pandas as pd
import pytest

from core.errors import ReportError
from reports.figures import style
from reports.figures.curves import curves, read_curves, smoothed, table_curves, window_of
from tests.reports.test_figures import overlaps_note


def write_log(folder, steps: int = 100, scale: float = 1.0, cross: bool = True):
    """A line every ten steps, and a validation after half and all of them."""
    folder.mkdir(parents=True)
    lines = []
    for step in range(10, steps + 1, 10):
        loss = scale * step
        entry = {"step": step, "of": steps, "loss": 3 * loss, "loss_visual": loss, "loss_cross": 2 * loss if cross else None}
        lines.append(entry | {"lr": 0.1, "grad_norm": 1.0, "images_per_s": 50.0, "seconds": 2.0, "undecodable": 0})
        if step in (steps // 2, steps):
            lines.append({"step": step, "val_n": 300, "val_visual": step / 2} | ({"val_cross": step / 4} if cross else {}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def results(tmp_path):
    """Two rows of one run, a run of two seeds with a visual branch only, a row without a run."""
    write_log(tmp_path / "runs" / "a" / "seed0")
    for seed in (0, 1):
        write_log(tmp_path / "runs" / "b" / f"seed{seed}", steps=60, scale=seed + 1, cross=False)
    return tmp_path


@pytest.fixture
def runs():
    frame = pd.DataFrame({"row": ["cross", "visual", "eq8", "base", "huge"], "run": ["a", "a", "a", "b", ""]})
    return frame.assign(output=["cross", "visual_ar", "cross_ar", "visual", "cross"], seeds=["0", "0", "0", "0 1", "0"])


def test_a_log_becomes_one_line_a_step(results):
    frame = read_curves(results / "runs" / "a" / "seed0")
    assert list(frame.index) == list(range(10, 101, 10))
    assert list(frame.loss_cross) == list(range(20, 201, 20))
    assert frame.val_cross.dropna().to_dict() == {50: 12.5, 100: 25.0} and frame.val_n[50] == 300
    assert frame.loss[50] == 150 and frame.seconds.sum() == 20


def test_a_visual_model_has_no_cross_loss(results):
    assert read_curves(results / "runs" / "b" / "seed1").loss_cross.isna().all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no line holds a 'loss'"), ('{"step": 1, "loss": 2}\n{"st', "line 2: expected"), ('{"loss": 2}', "line 1: expected")],
)
def test_a_broken_log_is_named(tmp_path, text, message):
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(ReportError, match=f"metrics.jsonl.*{message}"):
        read_curves(tmp_path)
    with pytest.raises(ReportError, match="metrics.jsonl is missing"):
        read_curves(tmp_path / "elsewhere")


def test_smoothing_by_hand():
    assert list(smoothed(pd.Series([3.0, 5.0, 10.0, 0.0]), 3)) == [3, 4, 6, 5]
    assert window_of(pd.DataFrame({"loss": [1.0] * 60 + [float("nan")] * 5})) == 3
    assert window_of(pd.DataFrame({"loss": [1.0]})) == 1


def test_rows_that_share_a_run_share_a_curve(results, runs):
    found, without = table_curves(runs, results)
    assert [(curve.label, curve.branch, list(curve.seeds)) for curve in found] == [
        ("cross, visual, eq8", "cross", ["0"]),
        ("base", "visual", ["0", "1"]),
    ]
    assert without == ["huge"]


def test_curves_draw_the_scored_branch_of_every_seed(results, runs):
    above, below = curves(*table_curves(runs, results)).axes
    assert [list(line.get_ydata()) for line in below.lines] == [[12.5, 25.0], [15.0, 30.0], [15.0, 30.0]]
    assert list(above.lines[0].get_ydata()) == list(range(20, 201, 20))  # a window of one value
    assert [max(line.get_ydata()) for line in above.lines] == [200, 60, 120]
    widths, colours = ([getattr(line, f"get_{what}")() for line in above.lines] for what in ("linewidth", "color"))
    assert widths[1] == widths[2] < widths[0] and colours[1] == colours[2] != colours[0]
    assert below.get_xlim()[1] >= 100 and below.get_ylim()[1] >= 30 and above.get_ylim()[1] >= 200


def test_the_figure_says_how_it_was_smoothed_and_what_is_missing(results, runs):
    figure = curves(*table_curves(runs, results))
    said = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
    assert "running mean over the last 10 steps (5 % of a run)" in said and "on 300 images" in said
    assert "Without a training run: huge." in said and "Thin lines: seeds." in said
    assert not overlaps_note(figure)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["cross, visual, eq8", "base"]


def test_no_two_of_many_runs_look_alike(results, runs):
    many = [table_curves(runs, results)[0][0]] * (2 * len(style.CYCLE))
    lines = curves(many, []).legends[0].legend_handles
    looks = [(line.get_color(), str(line.get_linestyle()), line._unscaled_dash_pattern) for line in lines]
    assert len(set(map(str, looks))) == len(many)


def test_nothing_to_draw_is_an_error(tmp_path, runs):
    with pytest.raises(ReportError, match="no run of cross, visual, eq8, base, huge"):
        curves(*table_curves(runs, tmp_path))
