"""Rendered words as an LMDB: the micro world's renderer as a tool of its own.

    python -m core.data.words OUT --n 10000 --seed 7

The families and the page are those of a world's gin file; the families mirror the columns of the paper's tables
(section IV-A): what makes real benchmarks hard, each alone. Image number i depends on that file, (seed, i) and the lists
given alone, whatever the number of processes.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image
from rich.progress import track

from core import config
from core.cli import add_workers, at_least
from core.data.benchmarks import MICRO_WORLD
from core.data.lmdb import write_lmdb
from core.data.micro import World
from core.data.render.backgrounds import pictures_in
from core.data.render.drawing import numbered
from core.data.render.family import Family
from core.data.render.fonts import font_digest, font_path, fonts_in, missing_letters
from core.data.render.lexicon import read_word_list, vocabulary_words
from core.data.render.page import Page
from core.data.render.scene import SCENES
from core.data.render.sheet import contact_sheet, png_bytes
from core.data.render.word import RENDERER, added, render, written
from core.errors import DataError, user_errors
from core.files import atomic_folder, file_digest, lines_digest, refuse_existing, write_json


class Drawn(NamedTuple):
    image: Image.Image
    word: str
    family: str


@dataclass(frozen=True)
class WordSet:
    """Everything that determines a set of rendered words; image number i depends only on it and i.

    Args:
        seed: not negative.
        families: one is drawn for each image.
        words: a word listed twice is drawn twice as often; how it is written is the family's affair.
        page, backgrounds: as `render` takes them.

    Raises:
        DataError: the seed is negative.
    """

    seed: int
    families: tuple[Family, ...]
    words: tuple[str, ...]
    page: Page
    backgrounds: tuple[str, ...] = ()

    def __post_init__(self):
        if self.seed < 0:
            raise DataError(f"seed {self.seed}: take 0 or more")

    def draw(self, index: int) -> Drawn:
        rng = np.random.default_rng([self.seed, index])
        family = self.families[rng.integers(len(self.families))]
        word = written(self.words[rng.integers(len(self.words))], family, rng)
        return Drawn(render(word, family, self.page, rng, self.backgrounds), word, family.name)

    def encoded(self, index: int) -> tuple[bytes, str]:
        """Image number `index` as PNG bytes, and its label."""
        drawn = self.draw(index)
        return png_bytes(drawn.image), drawn.word

    def summary(self) -> dict:
        """The content of words.json, which describes the images."""
        pictures = [file_digest(Path(name)) for name in self.backgrounds]
        return {
            "seed": self.seed,
            "families": [asdict(family) for family in self.families],
            "words": counted(self.words),
            "page": asdict(self.page) | {"fonts": [f"{font_path(name).name} {font_digest(name)}" for name in self.page.fonts]},
            "backgrounds": counted(pictures),
            "versions": {"renderer": RENDERER, "scenes": SCENES, "numpy": np.__version__, "pillow": PIL.__version__},
        }


def counted(lines: Sequence[str]) -> dict[str, int | str]:
    """The number of items, and 16 hex digits that change with any item or their order."""
    return {"count": len(lines), "digest": lines_digest(lines)}


def write_words(recipe: WordSet, out: Path, count: int, workers: int) -> None:
    """Write images 0, ..., count - 1 as an LMDB with words.json beside it; `out` appears when all of it is there.

    Raises:
        DataError: `count` or `workers` is not positive, or `out` holds something already.
    """
    for name, value in (("n", count), ("workers", workers)):
        if value < 1:
            raise DataError(f"{name} {value}: take 1 or more")
    refuse_existing(out)
    with atomic_folder(out) as folder:
        write_lmdb(folder, track(numbered(recipe.encoded, count, workers), out.name, total=count))
        write_json(folder / "words.json", {"n": count, **recipe.summary()})


def chosen(names: Sequence[str], world: World) -> tuple[Family, ...]:
    """The families of these names, bent as far as the world bends them.

    Raises:
        DataError: the world has no family of that name, or no name is given.
    """
    unknown = [name for name in names if name not in world.names]
    if unknown or not names:
        raise DataError(f"families {', '.join(unknown) or 'none'}: expected some of {', '.join(world.names)}")
    return tuple(world.families[world.names.index(name)].bent(world.distortion) for name in names)


def usable_fonts(words: Sequence[str], page: Page, folder: Path | None) -> tuple[str, ...]:
    """The fonts of a folder, or of the page those that can draw every word (the others are named on stderr).

    Raises:
        DataError: a font of the folder lacks a letter, or there is no font.
    """
    names = fonts_in(folder) if folder else page.fonts
    lacking = {name: missing for name in names if (missing := missing_letters(name, "".join(words)))}
    for name, missing in lacking.items():
        first = next(word for word in words if missing[0] in word)
        problem = f"{font_path(name)} cannot draw {' '.join(missing[:20])} (as in {first!r})"
        if folder:
            raise DataError(f"{problem}: take the font out of the folder, or the words out of the list")
        print(f"left out: {problem}", file=sys.stderr)
    if not (usable := tuple(name for name in names if name not in lacking)):
        raise DataError(f"no font of the world can draw every word ({problem}): give a folder of others with --fonts")
    return usable


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.data.words",
        description="Render words as an LMDB: the same seed, lists and versions give the same bytes on any machine.",
        epilog="example: python -m core.data.words data/train/rendered --n 10000 --seed 7 --families regular,rotated",
    )
    parser.add_argument("out", type=Path, help="folder to write; must not hold anything yet")
    parser.add_argument("--n", type=int, required=True, help="number of images; a larger number keeps the first ones")
    parser.add_argument("--seed", type=at_least(0), required=True, help="seed, 0 or more; image i depends on (seed, i) only")
    parser.add_argument("--world", default=MICRO_WORLD, help="gin file of the families and the page (default: %(default)s)")
    parser.add_argument("--families", help="families of the world, like regular,rotated, drawn equally often (default: all)")
    parser.add_argument(
        "--fonts", type=Path, help="folder of .ttf, .otf, .ttc files (default: the world's, which come with matplotlib)"
    )
    parser.add_argument(
        "--lexicon",
        type=Path,
        help="text file, one word per line, drawn as written (default: CLIP's vocabulary)",
    )
    parser.add_argument("--backgrounds", type=Path, help="folder of pictures to write on (default: plain grey levels)")
    add_workers(parser)
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet of the set's first images to this PNG")
    arguments = parser.parse_args()
    with user_errors():
        words = read_word_list(arguments.lexicon) if arguments.lexicon else vocabulary_words()
        world = config.build(World, arguments.world)
        named = world.names if arguments.families is None else arguments.families.split(",")
        families = chosen([name.strip() for name in named if name.strip()], world)
        if arguments.lexicon:
            families = tuple(family.as_listed() for family in families)
        page = replace(
            world.page, fonts=usable_fonts((*words, *filter(None, map(added, families))), world.page, arguments.fonts)
        )
        backgrounds = pictures_in(arguments.backgrounds) if arguments.backgrounds else ()
        recipe = WordSet(arguments.seed, families, words, page, backgrounds)
        if arguments.sheet:  # first: where it cannot be written, nothing is rendered in vain
            refuse_existing(arguments.out)
            first = map(recipe.draw, range(min(arguments.n, 200)))
            contact_sheet(first, [family.name for family in families], page, arguments.sheet)
        write_words(recipe, arguments.out, arguments.n, arguments.workers)
        print(f"{arguments.n} words in {arguments.out}")


if __name__ == "__main__":
    main()
