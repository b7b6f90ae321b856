"""Images and heatmaps as parts of a figure, placed in inches."""

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from reports.figures import style

COLOURS = "viridis"  # told apart with every kind of colour vision, and in grey
OPACITY = 0.6  # of a heatmap over its image


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
    figure.text(
        left / width,
        bottom / height,
        text,
        size=size,
        color=colour,
        ha=ha,
        va=va,
        rotation=rotation,
        parse_math=False,
    )


def colour_bar(figure: Figure, left: float, bottom: float, width: float) -> None:
    """The scale that all heatmaps of a figure share."""
    axes = style.axes_at(figure, left, bottom, width, 0.07)
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), cax=axes, orientation="horizontal")
    bar.set_ticks([0, 1], labels=["0", "largest of the map"])
    for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
        label.set_horizontalalignment(side)
    bar.outline.set_linewidth(0.4)
    axes.tick_params(length=0, pad=1.5)
