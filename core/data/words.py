"""The synthetic word renderer: one word, one family, one random generator -> one grey 32x128 image.

The families mirror the columns of the paper's tables (section IV-A): what makes real benchmarks hard, each alone.
Everything random comes from the generator passed in, so the same seed gives the same pixels in any process.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageFont

HEIGHT, WIDTH = 32, 128
FONT_SIZE = 30
FONTS = (  # shipped with matplotlib; letters of every one are told apart at 16 pixels height
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "STIXGeneralBol.ttf",
    "cmss10.ttf",
)


@dataclass(frozen=True)
class Family:
    """What happens to a word of this family; 0 switches an effect off, strengths are drawn up to the value given."""

    like: str  # the paper's benchmark this family stands for
    perspective: float = 0.06  # corner shift, fraction of the image side
    curvature: float = 0.05  # sagitta of the baseline, fraction of the height
    rotation: float = 0.0  # degrees, at least half of it, either way
    blur: float = 0.4  # Gaussian radius, pixels
    noise: float = 6.0  # standard deviation, grey levels
    occlusion: float = 0.0  # share of the word's width that is painted over
    opacity: float = 1.0  # of the occluding bar
    downscale: float = 1.0  # linear factor lost by low resolution

    def bent(self, distortion: float) -> "Family":
        """The same family with its geometry (perspective, curvature, rotation) times `distortion`."""
        return replace(
            self,
            perspective=distortion * self.perspective,
            curvature=distortion * self.curvature,
            rotation=distortion * self.rotation,
        )


FAMILIES = {
    "regular": Family(like="IIIT5k"),
    "incidental": Family(like="IC15_2077", perspective=0.14, curvature=0.08, blur=1.9, noise=16.0),
    "weakly_occluded": Family(like="WOST", occlusion=0.14, opacity=0.8),
    "heavily_occluded": Family(like="HOST", occlusion=0.24, opacity=1.0),
    "low_resolution": Family(like="COCO", downscale=3.2, noise=10.0),
    "rotated": Family(like="Uber", rotation=14.0, perspective=0.10, curvature=0.12),
}


@lru_cache(maxsize=64)
def load_font(name: str) -> ImageFont.FreeTypeFont:
    """A font of matplotlib's, by file name."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def render(word: str, family: Family, rng: np.random.Generator) -> Image.Image:
    """One grey image of `word`, HEIGHT x WIDTH.

    Args:
        word: printable ASCII, not empty.
        rng: the only source of randomness.
    """
    mask = draw_mask(word, load_font(FONTS[rng.integers(len(FONTS))]))
    mask = bend(mask, rng.uniform(-1, 1) * family.curvature)
    if family.rotation:
        angle = rng.choice((-1, 1)) * rng.uniform(0.5, 1) * family.rotation
        mask = mask.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        mask = mask.crop(mask.getbbox())
    mask = project(mask, family.perspective, rng)
    if family.downscale > 1:
        factor = rng.uniform(0.6 * family.downscale + 0.4, family.downscale)
        small = mask.resize((round(WIDTH / factor), round(HEIGHT / factor)), Image.Resampling.BOX)
        mask = small.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    pixels = paint(np.asarray(mask, dtype=np.float32) / 255, rng)
    if family.occlusion:
        occlude(pixels, family, rng)
    if family.blur:
        radius = family.blur * rng.uniform(0.4, 1)
        blurred = Image.fromarray(to_bytes(pixels)).filter(ImageFilter.GaussianBlur(radius))
        pixels = np.asarray(blurred, dtype=np.float32)
    pixels = pixels + rng.normal(0, family.noise * rng.uniform(0.3, 1), pixels.shape)
    return Image.fromarray(to_bytes(pixels))


def draw_mask(word: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The word's ink, cropped to its line height (so that 'no' and 'ply' keep their place) and to its width."""
    left, top, right, bottom = font.getbbox(word)
    ascent, descent = font.getmetrics()
    height = max(ascent + descent, bottom) - min(0, top)
    mask = Image.new("L", (max(1, right - left), height))
    ink = Image.Image()._new(font.getmask(word, mode="L"))
    mask.paste(ink, (0, top - min(0, top)))
    rows = np.flatnonzero(np.asarray(mask).max(axis=1))
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


def project(mask: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Stretch the ink over the whole image, its corners moved inwards at random (a homography)."""
    margin = rng.uniform(0.02, 0.02 + strength, size=(4, 2))
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + inward * margin
    target = corners * (WIDTH, HEIGHT)
    source = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (mask.width, mask.height)
    coefficients = homography(target, source)
    return mask.transform((WIDTH, HEIGHT), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)


def homography(source: np.ndarray, target: np.ndarray) -> list[float]:
    """The eight coefficients Pillow wants, of the projective map that takes four `source` points to `target`."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values)).tolist()


def paint(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give ink and background a grey level each, at least 90 apart, and the background a slow gradient."""
    ink = rng.uniform(0, 255)
    background = rng.choice([level for level in (ink - 90, ink + 90) if 0 <= level <= 255])
    background = rng.uniform(min(background, 255 * (background > ink)), max(background, 255 * (background > ink)))
    slope = rng.uniform(-20, 20) * np.linspace(-1, 1, WIDTH) + rng.uniform(-20, 20) * np.linspace(-1, 1, HEIGHT)[:, None]
    return mask * ink + (1 - mask) * np.clip(background + slope, 0, 255)


def occlude(pixels: np.ndarray, family: Family, rng: np.random.Generator) -> None:
    """Paint a bar over part of the word, in place, as the WOST and HOST sets do (one grey level, full height)."""
    width = max(2, round(family.occlusion * rng.uniform(0.7, 1) * WIDTH))
    left = rng.integers(0, WIDTH - width + 1)
    level = rng.uniform(0, 255)
    pixels[:, left : left + width] *= 1 - family.opacity
    pixels[:, left : left + width] += family.opacity * level


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Grey levels as 8-bit, rounded, clipped."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
