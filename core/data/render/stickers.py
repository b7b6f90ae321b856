"""A word on a sticker, stuck on a picture: clean, noisy, turned, or partly covered (Fig. 1)."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from core.data.render.fonts import load_font
from core.data.render.ink import draw_mask, to_bytes
from core.errors import UserError

VARIANTS = ("clean", "noise", "rotation", "occlusion")
WORD_FONT, SYMBOL_FONT = "DejaVuSans-Bold.ttf", "DejaVuSans.ttf"
PAPER, INK, BAR = 240, 20, 128  # grey levels of a sticker, its word and what covers it
TEXTURE = (128, 32)  # width and height that a texture is made in, before it is stretched over the picture
JITTER = 0.1  # of the height: how far a symbol lies from the middle of its square


@dataclass(frozen=True)
class Sticker:
    """How stickers look.

    Args:
        width, height: shares of the picture's.
        margin: around the word, share of the sticker's height.
        stretched: the word fills the sticker, as the micro world's words fill their images; False keeps its letters'
            shape.
        noise: standard deviation, grey levels.
        rotation: degrees, either way.
        occlusion: share of the sticker's width that a bar covers.
    """

    width: float
    height: float
    margin: float
    stretched: bool
    noise: float
    rotation: float
    occlusion: float

    def __post_init__(self):
        for name in ("width", "height", "occlusion"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"Sticker.{name} = {getattr(self, name)}: a share lies in (0, 1]")
        if not 0 <= self.margin < 0.5:
            raise UserError(
                f"Sticker.margin = {self.margin}: expected a number in [0, 0.5), as 0.5 leaves no room for the word"
            )

    def put(self, picture: Image.Image, word: str, variant: str, rng: np.random.Generator) -> Image.Image:
        """The RGB picture with a word on it; variants drawn with equal generators differ in nothing but the variant."""
        width, height = round(self.width * picture.width), round(self.height * picture.height)
        centre = [rng.uniform(side / 2, whole - side / 2) for side, whole in ((width, picture.width), (height, picture.height))]
        board = self.board(word, width, height)
        if variant == "noise":
            board += rng.normal(0, self.noise, board.shape)
        elif variant == "occlusion":
            bar = max(1, round(self.occlusion * width))
            left = rng.integers(0, width - bar + 1)
            board[:, left : left + bar] = BAR
        sticker, shape = Image.fromarray(to_bytes(board)), Image.new("L", (width, height), 255)
        if variant == "rotation":
            angle = self.rotation * rng.choice((-1, 1))
            sticker, shape = (each.rotate(angle, Image.Resampling.BICUBIC, expand=True) for each in (sticker, shape))
        corner = (round(centre[0] - sticker.width / 2), round(centre[1] - sticker.height / 2))
        covered = picture.copy()
        covered.paste(sticker.convert("RGB"), corner, shape)
        return covered

    def board(self, word: str, width: int, height: int) -> np.ndarray:
        """The clean sticker in grey levels: height x width."""
        mask = draw_mask(word, load_font(WORD_FONT, height))
        edge = round(self.margin * height)
        room = np.array([max(1, width - 2 * edge), max(1, height - 2 * edge)])
        size = room if self.stretched else np.maximum(1, (min(room / mask.size) * np.array(mask.size)).astype(int))
        ink = Image.new("L", (width, height))
        corner = ((width - int(size[0])) // 2, (height - int(size[1])) // 2)
        ink.paste(mask.resize(tuple(map(int, size)), Image.Resampling.BICUBIC), corner)
        share = np.asarray(ink, dtype=np.float32) / 255
        return PAPER * (1 - share) + INK * share


def draw_picture(symbol: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A symbol over a smooth texture, once per square of the picture, in RGB.

    Args:
        size: height and width in pixels.
    """
    height, width = size
    level = rng.uniform(90, 160)
    field = Image.fromarray(level + texture(TEXTURE, rng)).resize((width, height), Image.Resampling.BICUBIC)
    picture = Image.fromarray(to_bytes(np.asarray(field)))
    font = load_font(SYMBOL_FONT, round(0.9 * height))
    count = max(1, round(width / height))
    for number in range(count):
        x, y = (number + 0.5) * width / count, height / 2
        shift = rng.uniform(-JITTER, JITTER, 2) * height
        ink = level + rng.choice((-1, 1)) * rng.uniform(60, 90)
        ImageDraw.Draw(picture).text((x + shift[0], y + shift[1]), symbol, fill=round(ink), font=font, anchor="mm")
    return picture.convert("RGB")


def texture(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A smooth random field of grey levels, height x width, of a size (width, height)."""
    coarse = rng.normal(0, rng.uniform(0, 25), (4, 16)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def fit_picture(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of a picture, as large as its shape allows, in a size (height, width)."""
    height, width = size
    scale = max(height / picture.height, width / picture.width)
    box_width, box_height = width / scale, height / scale
    left, top = (picture.width - box_width) / 2, (picture.height - box_height) / 2
    box = (left, top, left + box_width, top + box_height)
    return picture.resize((width, height), Image.Resampling.BICUBIC, box=box)
