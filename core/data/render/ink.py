"""The steps of the word renderer: ink as a mask, bent and projected, painted in grey levels, hidden by a bar.

Everything random comes from the generator passed in.
"""

import numpy as np
from PIL import Image, ImageFont

from core.data.render.page import Page
from core.errors import DataError

SPREAD = 25.0  # standard deviation a background photograph keeps at most, grey levels


def draw_mask(word: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The word's ink, cropped to its line height (so that 'no' and 'ply' keep their place) and to its width.

    Raises:
        DataError: the font draws nothing for it.
    """
    left, top, right, bottom = font.getbbox(word)
    ascent, descent = font.getmetrics()
    height = max(ascent + descent, bottom) - min(0, top)
    mask = Image.new("L", (max(1, right - left), height))
    ink = Image.Image()._new(font.getmask(word, mode="L"))
    mask.paste(ink, (0, top - min(0, top)))
    rows = np.flatnonzero(np.asarray(mask).max(axis=1))
    if not rows.size:
        raise DataError(f"font {font.path} draws nothing for {word!r}: take the font or the word out")
    return mask.crop((0, min(rows[0], round(0.2 * height)), mask.width, max(rows[-1] + 1, round(0.8 * height))))


def bend(mask: Image.Image, sagitta: float) -> Image.Image:
    """Shift each column along a parabola: `sagitta` is the shift at the middle, as a fraction of the height."""
    pixels = np.asarray(mask)
    height, width = pixels.shape
    across = np.linspace(-1, 1, width)
    shift = np.rint(sagitta * height * (1 - across**2)).astype(int)
    shift -= shift.min()
    bent = np.zeros((height + shift.max(), width), dtype=np.uint8)
    rows = np.arange(height)[:, None] + shift[None]
    bent[rows, np.arange(width)[None]] = pixels
    return Image.fromarray(bent)


def arch(mask: Image.Image, angle: float) -> Image.Image:
    """Lay the ink along a circle so that its middle line spans `angle` degrees: an arch, or a bowl where it is negative.

    Each pixel of the result looks up where it comes from: its angle says which column, its radius which row.
    """
    from scipy import ndimage  # a third of a second, which commands that draw no arch need not wait

    pixels = np.asarray(mask if angle > 0 else mask.transpose(Image.Transpose.ROTATE_180), dtype=np.float32)
    height, width = pixels.shape
    half = np.radians(abs(angle)) / 2
    radius = max(width / (2 * half), height)  # a short word spans less, or its letters would meet at the centre
    half = width / (2 * radius)
    inner, outer = radius - height / 2, radius + height / 2
    side = int(np.ceil(outer * np.sin(half)))
    x, y = np.arange(-side, side + 1)[None], np.arange(outer, inner * np.cos(half) - 1, -1)[:, None]
    rows, columns = outer - np.hypot(x, y), width / 2 + radius * np.arctan2(x, y)
    laid = ndimage.map_coordinates(pixels, [rows, columns], order=1)
    laid = Image.fromarray(to_bytes(laid if angle > 0 else laid[::-1, ::-1]))
    return laid.crop(laid.getbbox())


def turn(mask: Image.Image, angle: float) -> Image.Image:
    """Rotate by degrees, cropped to the ink."""
    mask = mask.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    return mask.crop(mask.getbbox())


def project(mask: Image.Image, page: Page, strength: float, rng: np.random.Generator) -> Image.Image:
    """Stretch the ink over the page less its slack, its corners moved inwards from the margin at random (a homography)."""
    width, height = page.width * page.oversampling, page.height * page.oversampling
    margin = rng.uniform(page.margin, page.margin + strength, size=(4, 2))
    if any(page.slack):
        (top, bottom), (left, right) = (rng.uniform(0, most, 2) for most in page.slack)
        margin += [[left, top], [right, top], [right, bottom], [left, bottom]]
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + inward * margin
    target = corners * (width, height)
    source = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (mask.width, mask.height)
    coefficients = homography(target, source)
    laid = mask.transform((width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    return laid if page.oversampling == 1 else laid.resize((page.width, page.height), Image.Resampling.BOX)


def homography(source: np.ndarray, target: np.ndarray) -> list[float]:
    """The eight coefficients Pillow wants, of the projective map that takes four `source` points to `target`."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values)).tolist()


def shrink(mask: Image.Image, factor: float) -> Image.Image:
    """Lose resolution: smaller by a linear factor, and back."""
    small = mask.resize((round(mask.width / factor), round(mask.height / factor)), Image.Resampling.BOX)
    return small.resize(mask.size, Image.Resampling.BILINEAR)


def paint(mask: np.ndarray, contrast: float, gradient: float, rng: np.random.Generator) -> np.ndarray:
    """Give ink and background a grey level each, at least `contrast` apart, and the background a slow gradient.

    Args:
        mask: share of ink in each pixel, rows x columns.
        gradient: up to so many grey levels from middle to edge, across and down each.
    """
    height, width = mask.shape
    ink = rng.uniform(0, 255)
    background = rng.choice([level for level in (ink - contrast, ink + contrast) if 0 <= level <= 255])
    background = rng.uniform(min(background, 255 * (background > ink)), max(background, 255 * (background > ink)))
    across = rng.uniform(-gradient, gradient) * np.linspace(-1, 1, width)
    down = rng.uniform(-gradient, gradient) * np.linspace(-1, 1, height)[:, None]
    slope = across + down
    return mask * ink + (1 - mask) * np.clip(background + slope, 0, 255)


def paint_over(mask: np.ndarray, patch: np.ndarray, contrast: float, rng: np.random.Generator) -> np.ndarray:
    """Write on a photograph's patch, calmed to SPREAD, in a grey level at least `contrast` from its mean."""
    mean, spread = float(patch.mean()), float(patch.std())
    calm = mean + (patch - mean) * min(1.0, SPREAD / max(spread, 1.0))
    sides = [(low, high) for low, high in ((0, mean - contrast), (mean + contrast, 255)) if low <= high]
    ink = rng.uniform(*sides[rng.integers(len(sides))])
    return mask * ink + (1 - mask) * calm


def occlude(pixels: np.ndarray, share: float, opacity: float, rng: np.random.Generator) -> None:
    """Paint a bar over part of the word, in place, as the WOST and HOST sets do (one grey level, full height).

    Args:
        pixels: rows x columns, or rows x columns x 3 colours.
        share: share of the image's width that the bar covers.
    """
    width = max(2, round(share * pixels.shape[1]))
    left = rng.integers(0, pixels.shape[1] - width + 1)
    level = rng.uniform(0, 255)
    pixels[:, left : left + width] *= 1 - opacity
    pixels[:, left : left + width] += opacity * level


def cover(pixels: np.ndarray, count: int, rng: np.random.Generator) -> None:
    """Lay opaque patches over an image, in place, each of a grey level of its own, as leaves, wires and rails do."""
    height, width = pixels.shape[:2]
    for _ in range(count):
        high = max(2, round(height * rng.uniform(1 / 6, 1 / 3)))
        wide = max(2, round(width * rng.uniform(1 / 20, 1 / 10)))
        top, left = rng.integers(0, height - high + 1), rng.integers(0, width - wide + 1)
        pixels[top : top + high, left : left + wide] = rng.uniform(0, 255)


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Grey levels as 8-bit, rounded, clipped."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
