"""The word renderer: one word, one family, one page, one random generator -> one grey image.

Everything random comes from the generator passed in, so the same seed gives the same pixels in any process.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from core.charset import DIGITS, LOWER
from core.data.render.backgrounds import patch
from core.data.render.family import Family
from core.data.render.fonts import load_font
from core.data.render.ink import arch, bend, cover, draw_mask, occlude, paint, paint_over, project, shrink, to_bytes, turn
from core.data.render.page import Page
from core.data.render.scene import compressed, paint_scene

# The version of what no gin file says: the order of the steps and of their random draws, the formulas and filters behind
# the values, CLIP's words taken for the lexicon, wrong labels. Raise it with every change (also of Pillow or numpy) after
# which some image or label differs; test_words.py pins images and fails then. It stands in for a digest of the source,
# which would render and train everything anew after each renamed variable.
RENDERER = 1
STRETCH = (0.6, 1.1)  # of words that keep their own shape (Page.widths): they are seen from the side, or set in narrow fonts

BEHIND, BETWEEN = "!?.,:", "-'&./"  # punctuation that the fonts of every world have, after a word and inside it


def written(word: str, family: Family, rng: np.random.Generator, *, lowered: bool = True) -> str:
    """A word of the list as the family writes it, at most one character longer; draws nothing where nothing can change.

    Args:
        lowered: letters behind a capital first letter become small ones; or else they stay as they are.
    """
    if family.numbers and rng.random() < family.numbers:
        return str(rng.integers(10, 10 ** rng.integers(2, 7)))
    if family.upper or family.capitalised:
        case = rng.random()
        if case < family.upper:
            word = word.upper()
        elif case < family.upper + family.capitalised:
            word = word.capitalize() if lowered else word[:1].upper() + word[1:]
    if family.signs and rng.random() < family.signs:
        place = int(rng.integers(1, len(word) + 1))
        signs = BEHIND if place == len(word) else BETWEEN
        word = word[:place] + signs[rng.integers(len(signs))] + word[place:]
    return word


def added(family: Family) -> str:
    """Characters that `written` may put in place of those of a lower-case word, or beside them."""
    letters = LOWER.upper() if family.upper or family.capitalised else ""
    return letters + DIGITS * (family.numbers > 0) + (BEHIND + BETWEEN) * (family.signs > 0)


def render(word: str, family: Family, page: Page, rng: np.random.Generator, backgrounds: Sequence[str] = ()) -> Image.Image:
    """One image of `word`, page.height x page.width (or one of page.widths): grey, or RGB where the family is scenic and there
    are no backgrounds.

    Args:
        word: printable, not empty.
        rng: the only source of randomness; every step draws from it, so that another order of steps gives other images.
        backgrounds: picture files, a patch of one lies behind the word; none: plain grey levels.

    Raises:
        DataError: a font or a background cannot be read, or the font draws nothing for the word.
    """
    ink = np.asarray(shaped(word, family, page, rng), dtype=np.float32) / 255
    if backgrounds:
        behind = patch(backgrounds[rng.integers(len(backgrounds))], replace(page, width=ink.shape[1]), rng)
        pixels = paint_over(ink, behind, family.contrast, rng)
    elif family.scenic:
        pixels = paint_scene(ink, family, rng)
    else:
        pixels = paint(ink, family.contrast, family.gradient, rng)
    return photographed(pixels, family, rng)


def shaped(word: str, family: Family, page: Page, rng: np.random.Generator) -> Image.Image:
    """The word's ink as a mask of the page's size: bent, turned, in perspective, and with the resolution it has left."""
    font = load_font(page.fonts[rng.integers(len(page.fonts))], page.font_size)
    mask = bend(draw_mask(word, font), rng.uniform(-1, 1) * family.curvature)
    if family.arc:
        mask = arch(mask, rng.choice((-1, 1)) * rng.uniform(family.least_arc, 1) * family.arc)
    if family.rotation:
        mask = turn(mask, rng.choice((-1, 1)) * rng.uniform(family.least_rotation, 1) * family.rotation)
    if page.widths:
        page = replace(page, width=own_width(mask, page, rng))
    mask = project(mask, page, family.perspective, rng)
    if family.downscale > 1:
        least = family.least_downscale * family.downscale + (1 - family.least_downscale)
        mask = shrink(mask, rng.uniform(least, family.downscale))
    return mask


def own_width(mask: Image.Image, page: Page, rng: np.random.Generator) -> int:
    """Pixels across an image in which the word keeps the shape of its ink, stretched by STRETCH; within page.widths."""
    rows, columns = ((1 - 2 * page.margin - most) for most in page.slack)  # what the word has of both sides, on average
    width = page.height * rows * mask.width / mask.height * rng.uniform(*STRETCH) / columns
    return int(np.clip(round(width), *page.widths))


def photographed(pixels: np.ndarray, family: Family, rng: np.random.Generator) -> Image.Image:
    """Pixels as the family's camera sees them: hidden in part, blurred, noisy.

    Args:
        pixels: rows x columns, or rows x columns x 3 colours; changed in place.
    """
    if family.occlusion:
        occlude(pixels, family.occlusion * rng.uniform(family.least_occlusion, 1), family.opacity, rng)
    if family.patches:
        cover(pixels, round(family.patches * rng.uniform(family.least_patches, 1)), rng)
    if family.blur:
        radius = family.blur * rng.uniform(family.least_blur, 1)
        blurred = Image.fromarray(to_bytes(pixels)).filter(ImageFilter.GaussianBlur(radius))
        pixels = np.asarray(blurred, dtype=np.float32)
    pixels = pixels + rng.normal(0, family.noise * rng.uniform(family.least_noise, 1), pixels.shape)
    image = Image.fromarray(to_bytes(pixels))
    return compressed(image, family.compression, rng) if family.compression else image
