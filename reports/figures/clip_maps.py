"""Figures 1 and 2: what CLIP looks at, drawn from the maps that core.figures.zero_shot and core.figures.attention save."""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from core.figures.maps import Maps, load_maps
from reports.figures import style

LEFT, MARGIN, GAP, NEAR, LINE = 0.22, 0.06, 0.14, 0.04, 0.115  # inches; LINE is a bar or a line of small text
SHOWN = 3  # candidates with a bar
COLUMNS = 4  # of Figure 2
TALLEST = 0.55  # inches of an image in Figure 2
ELLIPSIS = "…"
COLOURS = "viridis"  # told apart with every kind of colour vision, and in grey
OPACITY = 0.6  # of a heatmap over its image


def draw(options: argparse.Namespace) -> Figure:
    return FIGURES[options.figure](load_maps(options.source, options.figure))


@matplotlib.rc_context(style.RC)
def figure_1(maps: Maps) -> Figure:
    """The picture alone, then one block of rows per word: image, Grad-CAM, and the likeliest candidates' probabilities."""
    cases = maps.about["cases"]
    words = list(dict.fromkeys(case["word"] for case in cases if case["word"]))
    variants = list(dict.fromkeys(case["variant"] for case in cases if case["word"]))
    lines = style.wrapped(caption_1(maps.about), style.PAGE - 4 * MARGIN, style.TINY)
    width = (style.PAGE - LEFT - MARGIN - (len(variants) - 1) * GAP) / len(variants)
    cell, title = cell_height(maps.images[0], width), 0.17
    figure = style.canvas(style.PAGE, style.note_height(lines) + (1 + len(words)) * (cell + GAP) + 2 * title)
    first = figure.get_size_inches()[1] - title
    tops = {None: first} | {word: first - title - (i + 1) * (cell + GAP) for i, word in enumerate(words)}
    for number, case in enumerate(cases):
        left = LEFT + (variants.index(case["variant"]) if case["word"] else 0) * (width + GAP)
        draw_case(figure, maps, number, left, tops[case["word"]], width)
    for column, text in enumerate(variants):
        write(figure, LEFT + column * (width + GAP), tops[words[0]] + NEAR, text)
    write(figure, LEFT, first + NEAR, "no sticker")
    for word in words:
        write(figure, LEFT - NEAR, tops[word] - cell / 2, f"sticker “{word}”", rotation=90, ha="right", va="center")
    key(figure, LEFT + width + GAP, first - cell / 2)
    style.note(figure, lines, MARGIN)
    return figure


def stacked(image: np.ndarray) -> bool:
    """Whether a heatmap stands below its image, as beside wide ones there is no room."""
    return image.shape[1] >= 1.5 * image.shape[0]


def picture_size(image: np.ndarray, width: float) -> tuple[float, float]:
    """Width and height in inches of an image whose heatmap shares a column with it."""
    across = width if stacked(image) else (width - NEAR) / 2
    return across, across * image.shape[0] / image.shape[1]


def cell_height(image: np.ndarray, width: float) -> float:
    """Inches that image, heatmap and bars take."""
    down = picture_size(image, width)[1]
    return (2 * down + NEAR if stacked(image) else down) + NEAR + SHOWN * LINE


def draw_case(figure: Figure, maps: Maps, number: int, left: float, top: float, width: float) -> None:
    """Image, heatmap and bars of one case, below `top`."""
    image, word = maps.images[number], maps.about["cases"][number]["word"]
    across, down = picture_size(image, width)
    show(figure, image, left, top - down, across, down)
    place = (left, top - 2 * down - NEAR) if stacked(image) else (left + across + NEAR, top - down)
    show(figure, overlay(image, maps.maps[number]), *place, across, down)
    bottom = top - cell_height(image, width)
    draw_bars(figure, maps.about["candidates"], maps.more["probabilities"][number], word, left, bottom, width)


def draw_bars(
    figure: Figure,
    candidates: list[str],
    probabilities: np.ndarray,
    word: str | None,
    left: float,
    bottom: float,
    width: float,
) -> None:
    """The likeliest candidates and the sticker's word, which is marked by its colour and an arrow."""
    axes = style.axes_at(figure, left, bottom, width, SHOWN * LINE)
    axes.set(xlim=(0, width), ylim=(SHOWN - 0.5, -0.5))  # inches, bars
    axes.axis("off")
    names = max(style.text_width(f"▸ {name}", style.TINY) for name in candidates) + NEAR
    whole = width - names - style.text_width("> 99 %", style.TINY) - NEAR
    for row, number in enumerate(shown(candidates, probabilities, word)):
        of_sticker = candidates[number] == word
        name = f"▸ {candidates[number]}" if of_sticker else candidates[number]
        axes.text(names - NEAR, row, name, ha="right", va="center_baseline", size=style.TINY, parse_math=False)
        axes.barh(row, whole, left=names, height=0.62, color=style.PALE)
        colour = style.VERMILLION if of_sticker else style.BLUE
        axes.barh(row, whole * probabilities[number], left=names, height=0.62, color=colour)
        axes.text(width, row, percent(probabilities[number]), ha="right", va="center_baseline", size=style.TINY)


def shown(candidates: list[str], probabilities: np.ndarray, word: str | None) -> list[int]:
    """Positions of the likeliest candidates; the last of them gives way to the sticker's word where it is none of them."""
    ranked = np.argsort(-probabilities, kind="stable")[:SHOWN].tolist()
    if word and candidates.index(word) not in ranked:
        ranked[-1] = candidates.index(word)
    return ranked


def percent(share: float) -> str:
    """A probability in whole per cents; what is near 0 or 1 is not printed as if it were."""
    return "< 1 %" if share < 0.005 else "> 99 %" if share >= 0.995 else f"{100 * share:.0f} %"


def key(figure: Figure, left: float, middle: float) -> None:
    """The legend of Figure 1: the heatmaps' colour scale and the two kinds of bars."""
    colour_bar(figure, left, middle + 0.12, 1.5)
    kinds = [(style.VERMILLION, "▸ the word on the sticker"), (style.BLUE, "another candidate")]
    for row, (colour, text) in enumerate(kinds):
        bottom = middle - 0.18 - 1.3 * row * LINE
        axes = style.axes_at(figure, left, bottom, 0.2, 0.62 * LINE)
        axes.set_facecolor(colour)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        write(figure, left + 0.26, bottom, text, size=style.TINY)


def caption_1(about: dict) -> str:
    """The caption of Figure 1: what it shows, and how it was made."""
    picture = f"A drawn {about['picture_of']}" if about["picture_of"] else "A picture"
    prompts = " and ".join(f"“{caption}”" for caption in about["captions"][about["candidates"][0]])
    return (
        f"{picture} without and with a word stuck on it, classified zero-shot among {len(about['candidates'])} words by "
        f"{tower_text(about)}; captions are of the kind {prompts}. {about['stickers_read']} of {about['stickers']} stickers "
        f"are read. Heatmaps: {about['method']} to the caption of the likeliest candidate, each scaled to its largest value. "
        f"Bars: the {SHOWN} likeliest candidates, or two and the sticker's word. Seed {about['seed']}."
        + (
            ""
            if about["scale"] == "paper"
            else " The micro towers learned images of words alone: what they call the bare picture means nothing."
        )
    )


def tower_text(about: dict) -> str:
    """The tower and the scale of the study, as captions name them."""
    tower = about["tower"]
    weights = f"weights {Path(tower['weights']).name}" if tower["weights"] else "random weights"
    (height, width), (rows, columns) = tower["image_size"], tower["grid"]
    return (
        f"{Path(tower['arch']).stem} ({weights}; {height} x {width} pixels in {rows} x {columns} patches; "
        f"{about['scale']} scale)"
    )


@matplotlib.rc_context(style.RC)
def figure_2(maps: Maps) -> Figure:
    """Word images of every benchmark, each with its attention map below."""
    lines = style.wrapped(caption_2(maps.about), style.PAGE - 4 * MARGIN, style.TINY)
    width = (style.PAGE - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    sizes = [fitted(image, width) for image in maps.images]
    rows = [range(start, min(start + COLUMNS, len(sizes))) for start in range(0, len(sizes), COLUMNS)]
    title, scale = 2 * LINE + NEAR, 0.3
    heights = [title + NEAR + 2 * max(sizes[number][1] for number in row) + GAP for row in rows]
    figure = style.canvas(style.PAGE, style.note_height(lines) + scale + sum(heights))
    top = figure.get_size_inches()[1]
    for row, tall in zip(rows, heights, strict=True):
        for column, number in enumerate(row):
            case, (across, down) = maps.about["cases"][number], sizes[number]
            left, upper = MARGIN + column * (width + GAP), top - title
            write(figure, left, upper + LINE + NEAR, cut(case["benchmark"], width), size=style.TINY, colour=style.GREY)
            write(figure, left, upper + NEAR, cut(case["label"], width))
            show(figure, maps.images[number], left, upper - down, across, down)
            show(figure, overlay(maps.images[number], maps.maps[number]), left, upper - 2 * down - NEAR, across, down)
        top -= tall
    colour_bar(figure, MARGIN, top - 0.07, 1.5)
    style.note(figure, lines, MARGIN)
    return figure


def fitted(image: np.ndarray, width: float) -> tuple[float, float]:
    """Width and height in inches of a word image, its shape kept, at most `width` and TALLEST."""
    height, wide = image.shape[:2]
    inch = min(width / wide, TALLEST / height)
    return wide * inch, height * inch


def cut(text: str, width: float) -> str:
    """A text that is at most `width` inches long, its end replaced where it is longer."""
    while style.text_width(text) > width:
        text = text.removesuffix(ELLIPSIS)[:-1] + ELLIPSIS
    return text


def caption_2(about: dict) -> str:
    """The caption of Figure 2: what it shows, and how it was made."""
    names = {case["benchmark"] for case in about["cases"]}
    return (
        f"{len(about['cases'])} images of {len(names)} benchmark{'s' * (len(names) > 1)}, chosen at random (seed "
        f"{about['seed']}), their labels, and below each what the image tower {tower_text(about)} attends to: "
        f"{about['method']}. Each map is scaled to its largest value."
    )


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heatmap over the grey version of its image: H W 3, uint8; the map's largest value has the last colour.

    Args:
        image: H W 3, uint8.
        heat: rows columns, not negative.
    """
    height, width = image.shape[:2]
    scaled = (heat / heat.max() if heat.max() > 0 else heat).astype(np.float32)
    smooth = np.asarray(Image.fromarray(scaled).resize((width, height), Image.Resampling.BILINEAR))
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float32)[..., None].repeat(3, 2)
    colours = 255 * matplotlib.colormaps[COLOURS](smooth)[..., :3]
    return np.rint((1 - OPACITY) * grey + OPACITY * colours).astype(np.uint8)


def show(figure: Figure, image: np.ndarray, left: float, bottom: float, width: float, height: float) -> None:
    """An image in a thin frame, filling a box given in inches."""
    axes = style.axes_at(figure, left, bottom, width, height)
    axes.imshow(image, aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)


def write(
    figure: Figure,
    left: float,
    bottom: float,
    text: str,
    *,
    size: float = style.SMALL,
    colour: str = style.INK,
    ha: str = "left",
    va: str = "baseline",
    rotation: float = 0,
) -> None:
    """Text at a place in inches, its characters taken as they are."""
    width, height = figure.get_size_inches()
    place, look = (left / width, bottom / height), {"size": size, "color": colour, "ha": ha, "va": va, "rotation": rotation}
    figure.text(*place, text, **look, parse_math=False)


def colour_bar(figure: Figure, left: float, bottom: float, width: float) -> None:
    """The scale that all heatmaps of a figure share."""
    axes = style.axes_at(figure, left, bottom, width, 0.07)
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), cax=axes, orientation="horizontal")
    bar.set_ticks([0, 1], labels=["0", "largest of the map"])
    for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
        label.set_horizontalalignment(side)
    bar.outline.set_linewidth(0.4)
    axes.tick_params(length=0, pad=1.5)


FIGURES = {"figure_1": figure_1, "figure_2": figure_2}
