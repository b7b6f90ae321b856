"""Readings of single images, one block per benchmark, errors marked (the paper's Fig. 6)."""

import argparse
import zlib
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from core.errors import ReportError, UnreadableImage
from core.run_files import PREDICTIONS
from reports.collect.flips import Images, stored_images
from reports.collect.predictions import IMAGE, read_benchmarks, read_images, read_predictions
from reports.collect.runs import evaluation_folder, protocol_of, read_runs
from reports.figures import style
from reports.figures.lettering import Lettering, lettering
from reports.figures.marking import MISSING, RIGHT, UNSCORED, WRONG, Mark, marked
from reports.layout import read_layout

NAMES, MARGIN, GAP = 1.08, 0.06, 0.08  # inches: left column, edge, between images
PICTURE, LINE, BETWEEN = 0.36, 0.125, 0.08  # inches: height of an image, of a line of text, between blocks
COLOURS = {RIGHT: style.INK, WRONG: style.RED, MISSING: style.RED, UNSCORED: style.GREY}


def readings_of(results: Path, line: pd.Series) -> pd.DataFrame:
    """A row's readings of its first seed: IMAGE, label, reading, correct, confidence (of the final output).

    Args:
        line: a line of `read_runs`.
    """
    if line.reason:
        raise ReportError(f"row {line.row} has no readings: {line.reason}")
    first = line.seeds.split()[0]
    scored = read_predictions(results, line)
    scored = scored[scored.seed == int(first)]
    path = evaluation_folder(results, line, first) / PREDICTIONS
    return scored.merge(read_images(path, ["confidence"]), on=IMAGE)


def chosen(readings: pd.DataFrame, each: int, seed: int) -> pd.DataFrame:
    """Some images of every benchmark: half read right and half wrong, each half spread over the confidence.

    Where one half is too small the other fills up. A half is cut by confidence into as many equal parts as it gives images;
    of each part one is drawn. What is drawn of one benchmark does not depend on the others.
    """
    parts = []
    for benchmark, lines in readings.groupby("benchmark", sort=False):
        rng = np.random.default_rng([seed, zlib.crc32(benchmark.encode())])
        lines = lines.sort_values(["confidence", "lmdb", "index"], ascending=[False, True, True])
        right, wrong = lines[lines.correct], lines[~lines.correct]
        of_right = min(len(right), max(each - each // 2, each - len(wrong)))
        of_wrong = min(len(wrong), each - of_right)
        parts += [spread(right, of_right, rng), spread(wrong, of_wrong, rng)]
    return pd.concat(parts, ignore_index=True)


def spread(lines: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """One line of each of `count` equal parts."""
    edges = np.linspace(0, len(lines), count + 1).astype(int)
    return lines.iloc[[int(rng.integers(low, high)) for low, high in zip(edges, edges[1:], strict=False)]]


def draw(options: argparse.Namespace) -> Figure:
    """Readings of one row, the baseline where none is named."""
    runs, row = read_runs(options.tables, options.table), options.row or read_layout(options.table).baseline
    if row not in runs.index:
        raise ReportError(f"{options.table} has no row {row!r}; --row takes one of {', '.join(runs.index)}")
    line = runs.loc[row]
    charset = protocol_of(line)["scoring_charset"]
    images = stored_images(options.data or Path(line.data_root), read_benchmarks(options.results, line))
    return qualitative(readings_of(options.results, line), images, charset, options.images, options.seed)


@matplotlib.rc_context(style.RC)
def qualitative(readings: pd.DataFrame, images: Images, charset: str, each: int = 6, seed: int = 0) -> Figure:
    """Images of every benchmark with their readings: what is wrong in red, what is missing as _, the label where it differs.

    Args:
        readings: IMAGE, label, reading, correct, confidence.
        images: an image by IMAGE (see `reports.collect.flips.stored_images`).
        charset: characters that are scored.
        each: images per benchmark.
    """
    if readings.empty:
        raise ReportError("there are no readings to show; evaluate the row first")
    shown = chosen(readings, each, seed)
    blocks = [(name, lines.reset_index(drop=True)) for name, lines in shown.groupby("benchmark", sort=False)]
    letters = lettering([*shown.label, *shown.reading])
    text = " ".join(filter(None, [explanation(charset, each, seed), letters.note()]))
    rule = style.wrapped(text, style.PAGE - 2 * MARGIN, style.TINY)
    foot, block = style.note_height(rule), PICTURE + 2 * LINE + BETWEEN
    figure = style.canvas(style.PAGE, foot + len(blocks) * block + BETWEEN)
    wide = (style.PAGE - NAMES - MARGIN - (each - 1) * GAP) / each
    counts = readings.groupby("benchmark").correct.agg(["sum", "size"])
    for number, (name, lines) in enumerate(blocks):
        bottom = foot + (len(blocks) - number - 1) * block + BETWEEN / 2
        write_name(figure, name, counts.loc[name], bottom + 2 * LINE + PICTURE / 2)
        for place, line in lines.iterrows():
            left = NAMES + place * (wide + GAP)
            draw_image(figure, images, line, (left, bottom + 2 * LINE, wide, PICTURE))
            marks = marked(line.label, line.reading, charset)
            write_marks(figure, marks, letters, left + wide / 2, bottom + 1.4 * LINE, wide)
            if not line.correct:
                plain = [Mark(character, UNSCORED) for character in line.label]
                write_marks(figure, plain, letters, left + wide / 2, bottom + 0.5 * LINE, wide)
    style.note(figure, rule, MARGIN)
    return figure


def write_name(figure: Figure, name: str, counts: pd.Series, middle: float) -> None:
    """A benchmark and how many of its images are read right: the images beside it are not a fair sample of them."""
    width, height = figure.get_size_inches()
    lines = style.wrapped(name.replace("_", " "), NAMES - 2 * MARGIN)
    place = MARGIN / width, (middle + 0.02) / height
    figure.text(*place, "\n".join(lines), va="bottom", weight="bold")
    text = f"{counts['sum']:,} of {counts['size']:,} right"
    figure.text(place[0], (middle - 0.02) / height, text, va="top", size=style.TINY, color=style.GREY)


def draw_image(figure: Figure, images: Images, line: pd.Series, box: tuple[float, float, float, float]) -> None:
    """An image in its own shape inside a box of inches, or an empty box that says why there is none."""
    axes = style.axes_at(figure, *box)
    axes.set_axis_off()
    try:
        picture = images(line.benchmark, line["lmdb"], int(line["index"]))
    except UnreadableImage as error:
        text = "\n".join(style.wrapped(str(error), box[2], style.TINY)[:3])
        axes.text(0.5, 0.5, text, ha="center", va="center", size=style.TINY, color=style.GREY, style="italic")
        return
    axes.imshow(np.asarray(picture), interpolation="bilinear", aspect="equal")
    axes.set_anchor("S")


def write_marks(figure: Figure, marks: list[Mark], letters: Lettering, middle: float, bottom: float, wide: float) -> None:
    """Characters around the middle of a cell, of equal width where the font has them, smaller where they would not fit."""
    width, height = figure.get_size_inches()
    advances = {mark.character: letters.advance(mark.character) for mark in marks}
    total = sum(advances[mark.character] for mark in marks)
    size = min(style.SMALL, 72 * wide / (total or 1))
    left = middle - total * size / 72 / 2
    for kind, run in groupby(marks, key=lambda mark: mark.kind):
        text = "".join(mark.character for mark in run)
        bold = "bold" if kind in (WRONG, MISSING) else "normal"
        place = left / width, bottom / height
        figure.text(*place, text, family=letters.families, size=size, color=COLOURS[kind], weight=bold, va="center_baseline")
        left += sum(advances[character] for character in text) * size / 72


def explanation(charset: str, each: int, seed: int) -> str:
    """The rule by which images were chosen, and what the marks mean."""
    case = "upper and lower case apart" if charset.lower() != charset else "case folded"
    return (
        f"{each} images per benchmark: half of them read right, half wrong where there are enough, each half spread "
        f"evenly over the model's confidence, most confident first; drawn with seed {seed}. Red: wrong; _: missing; grey: not "
        f"scored ({len(charset)} characters, {case}). Below a wrong reading: the label."
    )
