"""Pictures with a class: a symbol over a texture, and a word across it that says nothing about the class.

They stand for ImageNet at micro scale (section V-C): to name the symbol a tower has to look past the text. Symbols come
from a font that matplotlib ships; the words are drawn as the micro world draws them.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from core.data.micro import World
from core.data.render.fonts import load_font
from core.data.render.ink import to_bytes
from core.errors import UserError

FONT = "DejaVuSans.ttf"
FONT_SIZE = 30  # pixels per em, before a symbol is scaled
LEAST = 10  # pixels a symbol measures each way, at the font's size
ROW_BLOCKS = (0x26, 0x27, 0x1F0, 0x1F6, 0x2B, 0x1D3, 0x23, 0x25, 0x21, 0x22, 0x2A)  # of 256 code points, pictures first
CONTRAST = 70  # grey levels between a symbol and what is below it


@lru_cache(maxsize=1)
def all_symbols() -> list[str]:
    """Every symbol of the font that looks like no other at the size drawn, pictures before arrows and operators."""
    font, shapes, symbols = load_font(FONT, FONT_SIZE), set(), []
    absent = bytes(font.getmask("\U0010fffe"))  # what the font draws for a code point it has no glyph for
    for block in ROW_BLOCKS:
        for code in range(block << 8, (block + 1) << 8):
            mask = font.getmask(chr(code))
            shape = (mask.size, bytes(mask))
            is_symbol = unicodedata.category(chr(code)) in ("So", "Sm") and shape[1] != absent
            if is_symbol and min(mask.size) >= LEAST and shape not in shapes:
                shapes.add(shape)
                symbols.append(chr(code))
    return symbols


@dataclass(frozen=True)
class Pictures:
    """Pictures of `classes` symbols.

    Args:
        world: draws the words across the pictures, with words that it does not keep for testing.
        classes: number of symbols, spread over all that the font has.

    Raises:
        UserError: the font has fewer symbols.
    """

    world: World
    classes: int
    seed: int

    def __post_init__(self):
        if not 2 <= self.classes <= len(all_symbols()):
            raise UserError(f"Pictures.classes = {self.classes}: the font has {len(all_symbols())} symbols, the least is 2")

    def symbols(self) -> list[str]:
        """The symbol of each class."""
        known = all_symbols()
        return [known[i * len(known) // self.classes] for i in range(self.classes)]

    def draw(self, index: int, words: list[str]) -> tuple[Image.Image, int]:
        """Picture number `index`, grey, and its class: the same in any process."""
        rng = np.random.default_rng([self.seed, index])
        word_image, _ = self.world.draw("pretrain", None, index, words)
        label = int(rng.integers(self.classes))
        pixels = np.asarray(word_image, dtype=np.float32) + texture(word_image.size, rng)
        stamp(pixels, self.symbols()[label], rng)
        return Image.fromarray(to_bytes(pixels)), label


def texture(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A smooth random field of grey levels, height x width, of a size (width, height)."""
    coarse = rng.normal(0, rng.uniform(0, 25), (4, 16)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def stamp(pixels: np.ndarray, symbol: str, rng: np.random.Generator) -> None:
    """Paint a symbol somewhere, in place: turned, scaled, in a grey level that stands out from what it covers."""
    font, (height, width) = load_font(FONT, FONT_SIZE), pixels.shape
    left, top, right, bottom = font.getbbox(symbol)
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), symbol, font=font, fill=255)
    mask = mask.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR, expand=True)
    scale = rng.uniform(0.7, 1.0) * height / mask.height
    size = (min(width, max(4, round(mask.width * scale))), max(4, round(mask.height * scale)))
    lay(pixels, mask.resize(size, Image.Resampling.BILINEAR), rng)


def lay(pixels: np.ndarray, mask: Image.Image, rng: np.random.Generator) -> None:
    """Paint ink somewhere on grey levels, in place, at a level that stands out from what it covers."""
    (height, width), ink = pixels.shape, np.asarray(mask, dtype=np.float32) / 255
    x, y = rng.integers(0, width - mask.width + 1), rng.integers(0, height - mask.height + 1)
    covered = pixels[y : y + mask.height, x : x + mask.width]
    below = float(covered.mean())
    levels = [level for level in rng.uniform(0, 255, 8) if abs(level - below) >= CONTRAST]
    level = levels[0] if levels else 255.0 * (below < 128)
    covered *= 1 - ink
    covered += ink * level
