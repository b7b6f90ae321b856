"""The synthetic word renderer: one word, one family, one random generator -> one grey 32x128 image.

    python -m core.data.words OUT --n 10000 --seed 7

The families mirror the columns of the paper's tables (section IV-A): what makes real benchmarks hard, each alone.
Everything random comes from the generator passed in, so the same seed gives the same pixels in any process; on the
command line image number i depends on (seed, i) and the lists given alone, whatever the number of processes.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageFilter
from rich.progress import track

from core.cli import add_workers
from core.data.lmdb import write_lmdb
from core.data.render.backgrounds import patch, pictures_in
from core.data.render.drawing import numbered
from core.data.render.fonts import FONTS, font_path, fonts_in, load_font, missing_letters
from core.data.render.ink import HEIGHT, WIDTH, bend, draw_mask, occlude, paint, paint_over, project, to_bytes
from core.data.render.lexicon import vocabulary_words
from core.data.render.sheet import contact_sheet, png_bytes
from core.data.render.wordlist import read_words
from core.errors import DataError, user_errors
from core.files import atomic_folder, file_digest, write_json


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


def render(
    word: str, family: Family, rng: np.random.Generator, fonts: Sequence[str] = FONTS, backgrounds: Sequence[str] = ()
) -> Image.Image:
    """One grey image of `word`, HEIGHT x WIDTH.

    Args:
        word: printable, not empty.
        rng: the only source of randomness.
        fonts: names as `load_font` takes them; one is drawn.
        backgrounds: picture files, a patch of one lies behind the word; none: plain grey levels.
    """
    mask = draw_mask(word, load_font(fonts[rng.integers(len(fonts))]))
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
    ink = np.asarray(mask, dtype=np.float32) / 255
    if backgrounds:
        pixels = paint_over(ink, patch(backgrounds[rng.integers(len(backgrounds))], rng), rng)
    else:
        pixels = paint(ink, rng)
    if family.occlusion:
        occlude(pixels, family.occlusion, family.opacity, rng)
    if family.blur:
        radius = family.blur * rng.uniform(0.4, 1)
        blurred = Image.fromarray(to_bytes(pixels)).filter(ImageFilter.GaussianBlur(radius))
        pixels = np.asarray(blurred, dtype=np.float32)
    pixels = pixels + rng.normal(0, family.noise * rng.uniform(0.3, 1), pixels.shape)
    return Image.fromarray(to_bytes(pixels))


class Drawn(NamedTuple):
    image: Image.Image
    word: str
    family: str


@dataclass(frozen=True)
class Recipe:
    """What a set of rendered words is made from; image number i follows from it and i alone.

    Args:
        seed: not negative.
        families: keys of FAMILIES; one is drawn for each image.
        words: a word listed twice is drawn twice as often.
        fonts, backgrounds: as `render` takes them.
    """

    seed: int
    families: tuple[str, ...]
    words: tuple[str, ...]
    fonts: tuple[str, ...] = FONTS
    backgrounds: tuple[str, ...] = ()

    def __post_init__(self):
        if self.seed < 0:
            raise DataError(f"seed {self.seed}: take 0 or more")
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or not self.families:
            raise DataError(f"families {', '.join(unknown) or 'none'}: expected some of {', '.join(FAMILIES)}")

    def draw(self, index: int) -> Drawn:
        rng = np.random.default_rng([self.seed, index])
        family = self.families[rng.integers(len(self.families))]
        word = self.words[rng.integers(len(self.words))]
        return Drawn(render(word, FAMILIES[family], rng, self.fonts, self.backgrounds), word, family)

    def encoded(self, index: int) -> tuple[bytes, str]:
        """Image number `index` as PNG bytes, and its label."""
        drawn = self.draw(index)
        return png_bytes(drawn.image), drawn.word

    def summary(self) -> dict:
        """What a file beside the images says about them."""
        pictures = [file_digest(Path(name)) for name in self.backgrounds]
        return {
            "seed": self.seed,
            "families": list(self.families),
            "words": counted(self.words),
            "fonts": [f"{font_path(name).name} {file_digest(font_path(name))}" for name in self.fonts],
            "backgrounds": counted(pictures),
            "versions": {"numpy": np.__version__, "pillow": PIL.__version__},
        }


def counted(lines: Sequence[str]) -> dict[str, int | str]:
    """How many, and 16 hex digits that change with any of them or their order."""
    return {"count": len(lines), "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]}


def write_words(recipe: Recipe, out: Path, count: int, workers: int) -> None:
    """Write images 0, ..., count - 1 as an LMDB with words.json beside it; `out` appears when all of it is there.

    Raises:
        DataError: `count` or `workers` is not positive, or `out` holds something already.
    """
    for name, value in (("n", count), ("workers", workers)):
        if value < 1:
            raise DataError(f"{name} {value}: take 1 or more")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not an empty folder: delete it, or name another")
    with atomic_folder(out) as folder:
        write_lmdb(folder, track(numbered(recipe.encoded, count, workers), out.name, total=count))
        write_json(folder / "words.json", {"n": count, **recipe.summary()})


def usable_fonts(words: Sequence[str], folder: Path | None) -> tuple[str, ...]:
    """The fonts of a folder, or of matplotlib those that can draw every word (the others are named on stderr).

    Raises:
        DataError: a font of the folder lacks a letter, or there is no font.
    """
    names = fonts_in(folder) if folder else FONTS
    lacking = {name: missing for name in names if (missing := missing_letters(name, "".join(words)))}
    for name, missing in lacking.items():
        first = next(word for word in words if missing[0] in word)
        said = f"{font_path(name)} cannot draw {' '.join(missing[:20])} (as in {first!r})"
        if folder:
            raise DataError(f"{said}: take the font out of the folder, or the words out of the list")
        print(f"left out: {said}", file=sys.stderr)
    return tuple(name for name in names if name not in lacking)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.data.words",
        description="Render words as an LMDB: the same seed, lists and versions give the same bytes on any machine.",
        epilog="example: python -m core.data.words data/train/rendered --n 10000 --seed 7 --families regular,rotated",
    )
    parser.add_argument("out", type=Path, help="folder to write; must not hold anything yet")
    parser.add_argument("--n", type=int, required=True, help="how many images; the first ones do not depend on it")
    parser.add_argument("--seed", type=int, required=True, help="0 or more; image i follows from (seed, i)")
    parser.add_argument("--families", default=",".join(FAMILIES), help="some of %(default)s (default: all), equally often")
    parser.add_argument(
        "--fonts", type=Path, help="folder of .ttf, .otf, .ttc files (default: eight that come with matplotlib)"
    )
    parser.add_argument("--lexicon", type=Path, help="text file, one word a line (default: the words of CLIP's vocabulary)")
    parser.add_argument("--backgrounds", type=Path, help="folder of pictures to write on (default: plain grey levels)")
    add_workers(parser)
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet of the set's first images to this PNG")
    arguments = parser.parse_args()
    with user_errors():
        words = read_words(arguments.lexicon) if arguments.lexicon else vocabulary_words()
        families = tuple(name.strip() for name in arguments.families.split(",") if name.strip())
        backgrounds = pictures_in(arguments.backgrounds) if arguments.backgrounds else ()
        recipe = Recipe(arguments.seed, families, words, usable_fonts(words, arguments.fonts), backgrounds)
        write_words(recipe, arguments.out, arguments.n, arguments.workers)
        if arguments.sheet:
            contact_sheet(map(recipe.draw, range(min(arguments.n, 200))), families, arguments.sheet)
        print(f"{arguments.n} words in {arguments.out}")


if __name__ == "__main__":
    main()
