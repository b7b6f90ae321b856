"""Figures of a table: what is drawn equals the table's numbers, nothing overlaps, files repeat to the byte."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

from core.errors import ReportError
from core.experiment.sweep import read_sweeps, swept_numbers
from reports.build import build
from reports.figures import style
from reports.figures.forest import THICK, THIN, forest, p_text
from reports.figures.knobs import knobs
from reports.figures.parameters import log_places, parameters, points_of
from reports.figures.placing import crossing, gaps, hits, shared
from reports.layout import read_layout
from tests.support.results import PROTOCOL, write_results, write_run
from tests.support.tables import TOO_LARGE, make_table


def with_rows(**values: dict) -> object:
    """The table of tests/support/tables.py with some entries of its rows replaced: column=dict of row and value."""
    table = make_table()
    rows = table.rows.copy()
    for column, entries in values.items():
        for row, value in entries.items():
            rows.loc[row, column] = value
    return dataclasses.replace(table, rows=rows)


def marks(axes, markers: str) -> list[tuple[float, float]]:
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() in list(markers)]


def texts(axes) -> dict[str, object]:
    return {text.get_text(): text for text in axes.texts}


def test_forest_draws_the_differences_of_the_table():
    table = make_table()
    (axes,) = forest(table).axes
    rows = table.rows[table.rows.p.notna()]
    assert [x for x, _ in marks(axes, "o")] == list(rows.difference)
    assert marks(axes, "s")[0][0] == 0  # the baseline
    spans = [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == THIN]
    assert spans == list(zip(rows.diff_low, rows.diff_high, strict=True))
    images = [np.ptp(line.get_xdata()) for line in axes.lines if line.get_linewidth() == THICK]
    assert images == pytest.approx(0.6 * (rows.diff_high - rows.diff_low))
    zones = [(patch.get_x(), patch.get_width()) for patch in axes.patches if isinstance(patch, Rectangle)]
    assert zones == [(-1.6, 3.2)] * 3
    shown = texts(axes)
    assert {"+1.0", "−15.9", "+1.3", "0.76", "< 0.001", "0.042", "baseline"} <= shown.keys()
    orange = [line.get_color() for line in axes.lines if line.get_marker() == "o"]
    assert orange == [style.BLUE, style.VERMILLION, style.VERMILLION]  # p 0.76, 4.8e-80, 0.042


def test_forest_keeps_the_order_of_the_table_and_its_limits_hold_all():
    table = make_table()
    (axes,) = forest(table).axes
    tops = [texts(axes)[row].get_position()[1] for row in table.rows.index]
    assert tops == sorted(tops) and axes.get_ylim()[0] > axes.get_ylim()[1]
    low, high = axes.get_xlim()
    assert low < -17.8 and high > 2.7


def test_a_row_without_numbers_stands_in_the_forest_with_its_reason():
    (axes,) = forest(make_table()).axes
    shown = texts(axes)
    assert shown[TOO_LARGE].get_color() == shown["huge"].get_color() == style.GREY
    assert shown[TOO_LARGE].get_position()[1] == shown["huge"].get_position()[1]
    assert shown["visual"].get_color() == style.INK
    long = with_rows(reason={"huge": "it " * 60})
    (axes,) = forest(long).axes
    assert max(text.count("\n") for text in texts(axes)) >= 1


def test_a_spread_over_seeds_is_drawn_when_there_is_one():
    (axes,) = forest(with_rows(seed_sd={"visual": 0.5})).axes
    assert (0.5, 1.5) in [tuple(line.get_xdata()) for line in axes.lines]


def note_of(figure) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def test_the_note_of_a_forest_is_true_of_one_seed_and_of_several(tmp_path):
    """Of one: hollow, of two models alone. Of several: means, training noise from the seeds, and the grey spread."""
    scores = {"image0-text6": [1, 1, 1, 0] * 5, "image6-text6": [1, 1, 0, 0] * 5}
    for seeds in ("0", "0 1 2"):
        results = write_results(tmp_path / str(len(seeds)), "table_VI", scores, seeds=seeds)
        for seed in map(int, seeds.split()[1:]):
            write_run(results, "micro-00000000", [1, 1, 1, 1] * 5, seed)
            write_run(results, "micro-00000001", [1, seed - 1, 0, 0] * 5, seed)
        table = build("table_VI", results, results / "tables")
        (axes,) = (figure := forest(table)).axes
        note, row = note_of(figure), table.rows.loc["image6-text6"]
        several = seeds != "0"
        grey = (row.difference - row.seed_sd, row.difference + row.seed_sd)
        assert (grey in [tuple(line.get_xdata()) for line in axes.lines]) == several
        assert ("Dots: the mean over 3 trainings of each row." in note) == several == ("Grey, below" in note)
        assert ("Dots: one training of each row." in note) != several != ("Hollow: images alone" in note)
        assert ("thin: with training noise" in note) == several
        assert "Lines: 95 % intervals on 20 images." in note


def test_an_interval_over_images_alone_is_hollow_and_never_orange():
    nothing = dict.fromkeys(make_table().rows.index, np.nan)
    table = with_rows(p=nothing, p_holm=nothing)
    (axes,) = (figure := forest(table)).axes
    rows = table.rows[table.rows.image_se.notna()]
    assert [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == THICK] == list(
        zip(rows.diff_low, rows.diff_high, strict=True)
    )
    middles = [line for line in axes.lines if line.get_marker() == "o"]
    assert {(line.get_color(), line.get_markerfacecolor()) for line in middles} == {(style.BLUE, "white")}
    assert any("of these two models" in " ".join(text.get_text().split()) for text in figure.texts)


def test_a_forest_needs_a_baseline_and_a_difference():
    table = make_table()
    with pytest.raises(ReportError, match="no 'baseline'"):
        forest(dataclasses.replace(table, layout=dataclasses.replace(table.layout, baseline=None)))
    with pytest.raises(ReportError, match="no row has a difference to cross"):
        forest(dataclasses.replace(table, rows=table.rows.assign(difference=np.nan)))


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.0123, "0.012"), (0.5, "0.50"), (1.0, "1.00"), (np.nan, "")])
def test_p_values_are_never_printed_as_zero(p, text):
    assert p_text(pd.Series({"p_holm": p})) == text


def test_parameters_draw_the_means_of_the_table_and_hollow_published_ones():
    table = make_table()
    above, below = parameters(table).axes
    rows = table.rows[table.rows["mean"].notna()]
    drawn = sorted(marks(above, "osD"))
    assert drawn == sorted(zip(rows.params.astype(float), rows["mean"], strict=True))
    published = table.rows.mean_published.dropna()
    assert sorted(y for _, y in marks(below, "osD")) == sorted(published)
    faces = [{line.get_markerfacecolor() for line in axes.lines if line.get_marker() in list("osD")} for axes in (above, below)]
    assert faces == [{style.VERMILLION, style.BLUE, style.GREEN}, {"white"}]
    assert "huge" in texts(below) and "huge" not in texts(above)
    assert [y for _, y in marks(above, "D")] == list(rows["mean"][rows.ours])
    assert marks(above, "s") == [(1_111_000, rows["mean"]["cross"])]


def test_the_interval_of_a_mean_by_hand():
    """Sides 3 and 4 of two columns: the mean's is sqrt(9 + 16) / 2."""
    table = make_table()
    cells = table.cells.assign(low=table.cells.value - table.cells.column.map({"IC15": 3, "HOST": 4}))
    points = points_of(dataclasses.replace(table, cells=cells), None)
    assert points.value["cross"] - points.low["cross"] == pytest.approx(2.5)
    assert np.isnan(points.low["huge"])
    one = points_of(table, "HOST")
    cell = table.cell("visual", "HOST")
    assert tuple(one.loc["visual", ["value", "low", "high", "published"]]) == pytest.approx(
        (cell.value, cell.low, cell.high, 76.3)
    )


def test_parameters_of_a_column_that_is_no_accuracy_are_refused():
    for column in ("Time (ms)", "Uber"):
        with pytest.raises(ReportError, match="there are IC15, HOST, SVT"):
            parameters(make_table(), column)


def test_a_table_without_any_number_is_refused():
    table = make_table()
    with pytest.raises(ReportError, match="no row has a measured or published mean"):
        parameters(dataclasses.replace(table, rows=table.rows.assign(mean=np.nan, mean_published=np.nan)))


def test_no_parameters_stand_left_of_a_log_axis_at_zero():
    places, ticks, names, limits = log_places(np.array([0.0, 1e5, 1e6]))
    assert list(places[1:]) == [1e5, 1e6] and limits[0] < places[0] < 1e5
    assert names == ["0", "100 K", "200 K", "500 K", "1 M"] and ticks[0] == places[0]
    assert log_places(np.array([2e5, 3e5]))[2] == ["200 K"]
    assert log_places(np.zeros(2))[2] == ["0"]
    above = parameters(with_rows(params={"visual": 0})).axes[0]
    assert "0" in [tick.get_text() for tick in above.get_xticklabels()]


def crowded() -> object:
    """Ten rows as near to one another as those of Table VI."""
    table = make_table()
    names = [f"image{number}-text{number}" for number in range(10)]
    params = np.array([1287, 1175, 1063, 952, 830, 830, 865, 667, 469, 233]) * 1e3
    mean = [37.7, 38.3, 37.1, 37.5, 38.2, 38.3, 35.2, 20.3, 15.2, 13.2]
    rows = pd.DataFrame({"params": params, "params_paper": params, "mean": mean, "mean_published": mean}, index=names)
    cells = [
        {"row": row, "column": column, "value": 1.0, "low": 0.0, "high": 2.0} for row in names for column in table.averaged
    ]
    return dataclasses.replace(table, rows=rows.assign(ours=False), cells=pd.DataFrame(cells))


def test_labels_cover_neither_each_other_nor_a_mark_and_stay_inside():
    figure = parameters(crowded())
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        boxes = np.array([text.get_window_extent(renderer).extents for text in axes.texts])
        assert len(boxes) == 10
        assert np.triu(shared(boxes, boxes), 1).sum() == 0
        centres = axes.transData.transform(marks(axes, "o"))
        assert not (gaps(boxes, np.concatenate([centres, centres], axis=1)) == 0).any()
        frame = axes.get_window_extent(renderer)
        assert (boxes[:, :2] >= frame.min - 1).all() and (boxes[:, 2:] <= frame.max + 1).all()


def overlaps_note(figure) -> bool:
    """Whether the note at the foot of a figure covers a part of its axes, ticks and labels included."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    note = figure.texts[-1].get_window_extent(renderer)
    return any(axes.get_tightbbox(renderer).overlaps(note) for axes in figure.axes)


@pytest.mark.parametrize("draw", [forest, parameters])
def test_the_note_covers_nothing(draw):
    assert not overlaps_note(draw(make_table()))


def test_lines_and_boxes_by_hand():
    boxes = np.array([[0, 0, 2, 2], [5, 5, 6, 6]], float)
    lines = np.array([[[-1, 1], [3, 1]], [[3, 0], [3, 9]], [[0, 3], [9, 3]], [[np.nan] * 2] * 2], float)
    assert hits(lines, boxes).tolist() == [[True, False], [False, False], [False, False], [False, False]]
    assert np.argwhere(np.triu(crossing(lines))).tolist() == [[1, 2]]
    assert shared(boxes, np.array([[1, 1, 9, 9]])).ravel().tolist() == [1, 1]
    assert gaps(boxes, boxes)[0].tolist() == pytest.approx([0, np.hypot(3, 3)])


@pytest.mark.parametrize("draw", [forest, parameters])
def test_a_figure_is_written_twice_the_same_to_the_byte(draw, tmp_path):
    files = [style.save(draw(make_table()), tmp_path / name / "figure") for name in ("first", "second")]
    assert [path.name for path in files[0]] == ["figure.svg", "figure.png"]
    for first, second in zip(*files, strict=True):
        assert first.read_bytes() == second.read_bytes()
    svg, png = (path.read_bytes() for path in files[0])
    assert b"<dc:date>" not in svg and svg.startswith(b"<?xml") and png.startswith(b"\x89PNG")
    assert len(list((tmp_path / "first").iterdir())) == 2


def test_lines_are_wrapped_to_their_width():
    text = "words of a reason that $goes on$ for a while " * 3
    lines = style.wrapped(text, 1.5)
    assert " ".join(lines).split() == text.split() and len(lines) > 3
    assert all(style.text_width(line) <= 1.5 for line in lines)
    assert style.wrapped("", 1.0) == []


def swept(tmp_path, sweep) -> object:
    """The table by hand, two of whose rows are of a sweep over DROPOUT; the baseline's training has 0.1."""
    layout = dataclasses.replace(make_table().layout, sweeps=read_sweeps(tmp_path / "table.yaml", sweep))
    table = dataclasses.replace(make_table(), layout=layout, results=tmp_path)
    names = {"visual": "dropout0", "frozen <half>": "dropout0.3", "my_idea 50%": "dropout0.3-decode-cloze"}
    rows = table.rows.rename(names)
    for number, (row, value) in enumerate(
        {"cross": 0.1, "dropout0": 0.0, "dropout0.3": 0.3, "dropout0.3-decode-cloze": 0.3}.items()
    ):
        rows.loc[row, "run"] = f"micro-{number}"
        (tmp_path / "runs" / f"micro-{number}").mkdir(parents=True)
        (tmp_path / "runs" / f"micro-{number}" / "train.gin").write_text(f"DROPOUT = {value}\nPERMUTATIONS = 6\n")
    return dataclasses.replace(table, rows=rows, cells=table.cells.replace({"row": names}))


def test_knobs_draw_the_means_over_the_numbers_of_a_sweep(tmp_path):
    table = swept(tmp_path, [{"DROPOUT": [0.0, 0.3]}, {"DROPOUT": [0.3], "DECODE": ["cloze"]}, {"PERMUTATIONS": [2]}])
    (axes,) = knobs(table).axes  # PERMUTATIONS has one number: no panel of it
    assert axes.get_xlabel() == "DROPOUT" and axes.get_xscale() == "linear"
    plain, cloze = axes.containers
    means = table.rows["mean"]
    assert plain.get_label() == "nothing else changed" and cloze.get_label() == "DECODE = 'cloze'"
    assert plain.lines[0].get_xydata().tolist() == [[0, means["dropout0"]], [0.1, means["cross"]], [0.3, means["dropout0.3"]]]
    assert cloze.lines[0].get_xydata().tolist() == [[0.3, means["dropout0.3-decode-cloze"]]]
    assert axes.lines[0].get_ydata()[0] == means["cross"] and not overlaps_note(knobs(table))


def test_multiples_of_the_baselines_number_stand_where_they_are(tmp_path):
    table = swept(tmp_path, {"DROPOUT": {"times": [0.5, 3]}})
    names = {"dropout0": "dropout-x0.5", "dropout0.3": "dropout-x3"}
    table = dataclasses.replace(table, rows=table.rows.rename(names), cells=table.cells.replace({"row": names}))
    assert knobs(table).axes[0].containers[0].lines[0].get_xdata().tolist() == [0.0, 0.1, 0.3]


def test_a_knob_of_decoding_is_read_from_the_protocol_since_such_rows_share_a_run(tmp_path):
    table = swept(tmp_path, {"REFINE_STEPS": [0, 3]})
    first, second = (one.row for one in swept_numbers(table.layout.sweeps))
    names = {"dropout0": first, "dropout0.3": second}
    table = dataclasses.replace(table, rows=table.rows.rename(names), cells=table.cells.replace({"row": names}))
    steps = {"cross": 1, first: 0, second: 3}
    runs = pd.DataFrame({"protocol": {row: json.dumps({**PROTOCOL, "refine_steps": count}) for row, count in steps.items()}})
    table = dataclasses.replace(table, runs=runs)
    assert knobs(table).axes[0].containers[0].lines[0].get_xdata().tolist() == [0.0, 1.0, 3.0]


def test_knobs_need_two_numbers_and_a_row_that_has_run(tmp_path, monkeypatch):
    layout = {"title": "T", "about": "A", "baseline": "b", "columns": [{"name": "Avg.", "average": "nine sets"}]}
    content = {**layout, "figures": ["knobs"], "sweep": {"DROPOUT": [0.0], "DECODE": ["ar", "cloze"]}}
    assert swept_numbers(read_sweeps(tmp_path / "table.yaml", content["sweep"])) == []
    table = swept(tmp_path, {"DROPOUT": [0.7, 0.9]})
    table = dataclasses.replace(table, rows=table.rows.assign(mean=np.nan))
    with pytest.raises(ReportError, match="no row of a sweep over numbers has a mean"):
        knobs(table)
    monkeypatch.setattr("reports.layout.ABLATIONS", tmp_path / "ablations")
    (tmp_path / "ablations" / "mine").mkdir(parents=True)
    (tmp_path / "ablations" / "mine" / "table.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ReportError, match="figures names 'knobs', but no sweep gives a knob two numbers"):
        read_layout("mine")
