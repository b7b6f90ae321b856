"""Readings of single images: the alignment by hand, the choice by its rule, the drawing, and the command line."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from PIL import Image
from rapidfuzz.distance import Levenshtein

from core.charset import CHARSET_36, CHARSET_94
from core.data.lmdb import write_lmdb
from core.errors import ReportError, UnreadableImage
from reports.collect.runs import read_runs
from reports.figures import style
from reports.figures.__main__ import main
from reports.figures.lettering import lettering
from reports.figures.marking import marked
from reports.figures.qualitative import chosen, qualitative, readings_of
from reports.layout import read_layout
from tests.support.results import BENCHMARKS, write_results, write_run

SIGNS = {"right": ".", "wrong": "x", "missing": "_", "unscored": "-"}


@pytest.mark.parametrize(
    ("label", "reading", "charset", "text", "signs"),
    [
        ("house", "house", CHARSET_36, "house", "....."),
        ("house", "mouse", CHARSET_36, "mouse", "x...."),
        ("house", "huse", CHARSET_36, "h_use", "._..."),
        ("house", "houses", CHARSET_36, "houses", ".....x"),
        ("house", "hou", CHARSET_36, "hou__", "...__"),
        ("house", "", CHARSET_36, "_____", "_____"),
        ("house", "HOUSE", CHARSET_36, "HOUSE", "....."),
        ("house", "HOUSE", CHARSET_94, "HOUSE", "xxxxx"),
        ("dont", "don't", CHARSET_36, "don't", "...-."),
        ("don't", "dont", CHARSET_94, "don_t", "..._."),
        ("don't", "d!n", CHARSET_36, "d!_n_", ".-_._"),
    ],
)
def test_errors_are_marked_as_scored(label, reading, charset, text, signs):
    marks = marked(label, reading, charset)
    assert "".join(mark.character for mark in marks) == text
    assert "".join(SIGNS[mark.kind] for mark in marks) == signs


def test_as_many_marks_are_wrong_as_the_edit_distance():
    """Of random readings: wrong and missing characters are the edits, right ones the rest of the reading."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        label, reading = ("".join(rng.choice(list("abc"), rng.integers(1, 8))) for _ in range(2))
        kinds = [mark.kind for mark in marked(label, reading, CHARSET_36)]
        assert len(kinds) - kinds.count("right") == Levenshtein.distance(label, reading)
        assert len(kinds) - kinds.count("missing") == len(reading)


def readings(name: str = "regular", right: int = 20, wrong: int = 20) -> pd.DataFrame:
    count = right + wrong
    frame = pd.DataFrame({"benchmark": name, "lmdb": ".", "index": range(1, count + 1), "label": "word"})
    frame["correct"] = [True] * right + [False] * wrong
    frame["reading"] = np.where(frame.correct, "word", "wort")
    return frame.assign(confidence=np.random.default_rng(count).random(count))


def test_half_of_the_chosen_are_wrong_and_both_halves_are_spread():
    lines = readings(right=40, wrong=40)
    shown = chosen(lines, 8, seed=0)
    assert list(shown.correct) == [True] * 4 + [False] * 4
    for correct, half in shown.groupby("correct"):
        ranked = lines[lines.correct == correct].sort_values("confidence", ascending=False)["index"].tolist()
        quarters = [ranked.index(index) // 10 for index in half["index"]]
        assert quarters == [0, 1, 2, 3]


@pytest.mark.parametrize(("right", "wrong", "expected"), [(20, 1, (5, 1)), (0, 20, (0, 6)), (2, 2, (2, 2)), (20, 20, (3, 3))])
def test_the_other_half_fills_up(right, wrong, expected):
    shown = chosen(readings(right=right, wrong=wrong), 6, seed=0)
    assert (shown.correct.sum(), (~shown.correct).sum()) == expected and shown["index"].is_unique


def test_a_choice_depends_on_its_seed_and_its_benchmark_alone():
    one, other = readings("regular"), readings("rotated")
    both = chosen(pd.concat([other, one]), 6, seed=0)
    assert both[both.benchmark == "regular"].reset_index(drop=True).equals(chosen(one, 6, seed=0))
    assert not chosen(one, 6, seed=1).equals(chosen(one, 6, seed=0))


def gradient(benchmark: str, lmdb: str, index: int) -> Image.Image:
    return Image.fromarray(np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (32, 1))).convert("RGB")


def test_readings_are_written_with_their_errors_in_red():
    figure = qualitative(readings(), gradient, CHARSET_36, each=4)
    red = [text.get_text() for text in figure.texts if text.get_color() == style.RED]
    assert red == ["t", "t"]
    assert [text.get_text() for text in figure.texts].count("word") == 4  # two right readings and the labels of two wrong
    assert "20 of 40 right" in [text.get_text() for text in figure.texts]
    assert len(figure.axes) == 4 and all(axes.images for axes in figure.axes)
    assert "seed 0" in figure.texts[-1].get_text()


def test_long_readings_stay_in_their_cell():
    lines = readings(right=0, wrong=6).assign(label="w" * 25, reading="v" * 25)
    figure = qualitative(lines, gradient, CHARSET_36)
    (size,) = {text.get_size() for text in figure.texts if text.get_text() == "v" * 25}
    assert 25 * 0.602 * size / 72 <= style.PAGE / 6 and size > 4


@pytest.fixture
def square_font(tmp_path, monkeypatch):
    """A font with one character, a Chinese one, that lies where fonts are installed."""
    builder, pen = FontBuilder(1000), TTGlyphPen(None)
    builder.setupGlyphOrder([".notdef", "street"])
    builder.setupCharacterMap({ord("街"): "street"})
    for place in ((0, 0), (0, 900), (900, 900), (900, 0)):
        (pen.lineTo if pen.points else pen.moveTo)(place)
    pen.closePath()
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "street": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "street": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Street Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "street.ttf")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    monkeypatch.setattr("reports.figures.lettering.findSystemFonts", lambda: [str(tmp_path / "street.ttf")])


def test_a_character_that_the_font_lacks_is_drawn_with_an_installed_one(square_font, tmp_path):
    lines = readings(right=0, wrong=2).assign(label="街a", reading="街b")
    figure = qualitative(lines, gradient, "街ab", each=2)
    assert "Boxes" not in figure.texts[-1].get_text()
    wide, narrow = (next(text for text in figure.texts if text.get_text() == part) for part in ("街", "b"))
    assert wide.get_fontfamily() == ["DejaVu Sans Mono", "Street Test"]
    width = figure.get_size_inches()[0] * 72 / wide.get_size()
    assert (narrow.get_position()[0] - wide.get_position()[0]) * width == pytest.approx(1.0, abs=0.02)
    style.save(figure, tmp_path / "figure")


def test_characters_that_no_font_has_are_named_below_the_figure(monkeypatch):
    monkeypatch.setattr("reports.figures.lettering.findSystemFonts", list)
    lines = readings(right=0, wrong=2).assign(reading="a\U0010abcdb")
    figure = qualitative(lines, gradient, CHARSET_36, each=2)
    assert "no installed font has U+10ABCD; install one" in " ".join(figure.texts[-1].get_text().split())
    assert lettering(["word", "wort"]) == (("DejaVu Sans Mono",), "")


def test_an_image_that_cannot_be_shown_says_why():
    def lost(benchmark: str, lmdb: str, index: int) -> Image.Image:
        raise UnreadableImage("no such key")

    figure = qualitative(readings(), lost, CHARSET_36, each=2)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["no such key"] * 2
    with pytest.raises(ReportError, match="no readings to show"):
        qualitative(readings(right=0, wrong=0), gradient, CHARSET_36)


@pytest.fixture
def results(tmp_path):
    """Every row of Table VI with predictions, and the images they are of."""
    scores = {row: [1, 0, 0, 0] for row in read_layout("table_VI").order}
    write_results(tmp_path, "table_VI", scores | {"image0-text6": [1, 1, 0, 0]})
    held = io.BytesIO()
    gradient("", ".", 0).save(held, "PNG")
    for name in BENCHMARKS:
        write_lmdb(tmp_path / "data" / "test" / name, [(held.getvalue(), f"w{i}") for i in range(4)])
    return tmp_path


def test_readings_of_a_row_carry_their_confidence(results):
    runs = read_runs(results / "tables", "table_VI")
    found = readings_of(results, runs.loc["image0-text0"])
    assert len(found) == 8 and set(found.confidence) == {0.5} and found.correct.sum() == 2
    with pytest.raises(ReportError, match="row image0-text0 has no readings: too large"):
        readings_of(results, runs.loc["image0-text0"].replace("", "too large"))
    (path,) = results.glob("runs/micro-00000000/seed0/evaluations/*/predictions.parquet")
    pd.read_parquet(path).drop(columns="confidence").to_parquet(path)
    with pytest.raises(ReportError, match="predictions.parquet cannot be read .*confidence.*; delete it and run the command"):
        readings_of(results, runs.iloc[0])


def test_readings_and_confidence_are_of_the_first_seed_that_is_named(tmp_path):
    rows = read_layout("table_VI").order
    write_results(tmp_path, "table_VI", dict.fromkeys(rows, [1, 1, 1, 1]), seeds="0 1")
    for number in range(len(rows)):
        write_run(tmp_path, f"micro-{number:08d}", [0, 0, 0, 0], seed=1)
    run = read_runs(tmp_path / "tables", "table_VI").iloc[0]
    assert readings_of(tmp_path, run).correct.all() and run.seeds == "0 1"
    assert not readings_of(tmp_path, run.replace("0 1", "1 0")).correct.any()


@pytest.mark.parametrize("figure", ["forest", "parameters", "qualitative"])
def test_the_command_line_writes_both_files(figure, results, capsys):
    main([figure, "table_VI", "--results", str(results)])
    assert {path.suffix for path in (results / "figures").glob(f"{figure}_table_VI.*")} == {".svg", ".png"}
    assert "written to" in capsys.readouterr().out


def test_the_command_line_names_what_is_wrong(results, capsys):
    for arguments, message in (
        (["qualitative", "table_VI", "--row", "image9"], "no row 'image9'; --row takes one of image0-text0"),
        (["curves", "table_VI"], "no run of image0-text0"),
        (["forest", "table_VII"], "table_VII.runs.csv is missing"),
    ):
        with pytest.raises(SystemExit, match="1"):
            main([*arguments, "--results", str(results)])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["qualitative", "table_VI", "--images", "0"])


def test_figures_are_drawn_without_torch():
    modules = ", ".join(f"reports.figures.{name}" for name in ("forest", "parameters", "curves", "qualitative", "clip_maps"))
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
