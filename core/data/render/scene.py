"""What surrounds a word in a photograph: colour, texture, outlines, shadows, compression. Nothing here is photographed.

Everything random comes from the generator passed in.
"""

import io

import numpy as np
from PIL import Image, ImageFilter

from core.data.render.family import Family
from core.data.render.ink import to_bytes

SCENES = 2  # the version of what no gin file says here: raise it with every change after which some image differs
LUMINANCE = np.array([0.299, 0.587, 0.114])
OCTAVES = ((2, 6), (4, 16), (12, 48))  # rows and columns of the fields that a texture is made of, coarse ones first
PATTERNS = 0.15  # share of backgrounds with stripes, planks or bricks
PLATES = 0.12  # share of words on a plate of their own: the background beyond it has another colour


def paint_scene(ink: np.ndarray, family: Family, rng: np.random.Generator) -> np.ndarray:
    """Give ink and background a colour each, and put texture, an outline and a shadow over them: rows x columns x 3.

    Args:
        ink: share of ink in each pixel, rows x columns.
    """
    height, width = ink.shape
    level, behind = levels(family.contrast, rng)
    background = coloured(behind, family.colour, rng) + textured((height, width), family.texture, rng)[..., None]
    if rng.random() < PLATES:
        beyond = coloured(rng.uniform(0, 255), family.colour, rng) + textured((height, width), family.texture, rng)[..., None]
        inside = plate((height, width), rng)
        background = np.where(inside[..., None], background, beyond)
    letters = coloured(level, family.colour, rng) + 0.5 * textured((height, width), family.texture, rng)[..., None]
    if rng.random() < family.outline:
        around, shade = outlined(ink, rng), coloured(rng.uniform(0, 255), family.colour, rng)
        background = background + around[..., None] * (shade - background)
    pixels = background + ink[..., None] * (letters - background)
    slope = slow_slope((height, width), family.gradient, rng)
    return np.clip(pixels + slope[..., None], 0, 255) * shadow((height, width), family.shade, rng)[..., None]


def levels(contrast: float, rng: np.random.Generator) -> tuple[float, float]:
    """Grey levels of ink and background, at least `contrast` apart."""
    ink = rng.uniform(0, 255)
    sides = [(low, high) for low, high in ((0, ink - contrast), (ink + contrast, 255)) if low <= high]
    return ink, rng.uniform(*sides[rng.integers(len(sides))])


def coloured(level: float, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A random colour of that grey level, as far from grey as `strength` (0 to 1) lets it be: 3."""
    direction = rng.normal(size=3)
    direction -= direction @ LUMINANCE  # LUMINANCE sums to 1: no change of the grey level is left
    room = np.where(direction > 0, 255 - level, level) / np.maximum(np.abs(direction), 1e-6)
    return level + direction * (room.min() * strength * rng.uniform())


def textured(size: tuple[int, int], strength: float, rng: np.random.Generator) -> np.ndarray:
    """A field of grey levels around 0: smooth patches of several sizes, sometimes with a pattern; rows x columns."""
    height, width = size
    field = np.zeros(size, dtype=np.float32)
    for rows, columns in OCTAVES:
        coarse = Image.fromarray(rng.normal(0, rng.uniform(), (rows, columns)).astype(np.float32))
        field += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    if rng.random() < PATTERNS:
        field += pattern(size, rng)
    return field * (strength * rng.uniform() / max(float(field.std()), 1e-3))


def pattern(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Stripes across or down, or bricks: rows x columns, joints below 0."""
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])[None]
    course, brick = int(rng.integers(4, 16)), int(rng.integers(6, 40))
    across = ((rows + rng.integers(course)) % course == 0).astype(np.float32)
    shift = (rows // course % 2) * (brick // 2)
    down = ((columns + shift) % brick == 0).astype(np.float32)
    kind = rng.integers(3)
    return -2 * np.broadcast_to((across, down, np.maximum(across, down))[kind], size)


def plate(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """True inside a slightly turned rectangle that leaves up to a seventh of the image at each edge: rows x columns."""
    height, width = size
    left, right, top, bottom = rng.uniform(0, 0.15, 4)
    tilt = rng.uniform(-0.06, 0.06)
    x, y = np.arange(width)[None] / width, np.arange(height)[:, None] / height
    return (x > left + tilt * y) & (x < 1 - right + tilt * y) & (y > top + tilt * x) & (y < 1 - bottom + tilt * x)


def outlined(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where an outline of the ink lies, or the shadow that it casts: rows x columns, 0 to 1."""
    mask = Image.fromarray(to_bytes(255 * ink))
    if rng.random() < 0.5:
        grown = mask.filter(ImageFilter.MaxFilter(3))
        return np.asarray(grown, dtype=np.float32) / 255
    down, right = int(rng.integers(1, 3)), int(rng.integers(-2, 3))
    return np.roll(ink, (down, right), (0, 1)).astype(np.float32)


def slow_slope(size: tuple[int, int], gradient: float, rng: np.random.Generator) -> np.ndarray:
    """Grey levels that change by up to `gradient` from the middle to the edges, across and down: rows x columns."""
    across = rng.uniform(-gradient, gradient) * np.linspace(-1, 1, size[1])
    return across + rng.uniform(-gradient, gradient) * np.linspace(-1, 1, size[0])[:, None]


def shadow(size: tuple[int, int], depth: float, rng: np.random.Generator) -> np.ndarray:
    """Share of the light that is left: less on one side of a soft line through the image; rows x columns."""
    angle, place, softness = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6), rng.uniform(0.02, 0.4)
    x, y = np.linspace(-1, 1, size[1])[None], np.linspace(-1, 1, size[0])[:, None]
    side = np.clip((np.cos(angle) * x + np.sin(angle) * y - place) / softness, -1, 1)
    return 1 - depth * rng.uniform() * (side + 1) / 2


def compressed(image: Image.Image, loss: float, rng: np.random.Generator) -> Image.Image:
    """The image after JPEG of a quality that is up to `loss` points below 100."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=round(100 - rng.uniform(0, loss)))
    return Image.open(stream).convert(image.mode)
