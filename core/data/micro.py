"""Rendered worlds, micro's and small's: words in the LMDB layout that real data comes in.

    python -m core.data.micro ablations/micro/world.gin results/data/micro
    python -m core.data.micro ablations/micro/world.gin results/data/micro --parts train/more

Three training sets: `real` and `more` mix all families; `synth` has words of one family alone, since synthetic data lacks
what makes real images hard: regular ones, or those of a family and in fonts of its own. Each family is one benchmark under
test/. Words that no stage of training has seen are part of every test set, and so are a few wrong labels, as people make
them; labels/cleaned/<family>.csv has them right (section V-G).
"""

import argparse
import csv
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from core import config
from core.charset import DIGITS, LOWER, MAX_LETTERS
from core.cli import add_workers
from core.data.lmdb import write_lmdb
from core.data.render.drawing import numbered
from core.data.render.family import Family
from core.data.render.fonts import font_digest, missing_letters
from core.data.render.lexicon import WordList, lexicon, split_unseen
from core.data.render.page import Page
from core.data.render.scene import SCENES
from core.data.render.texts import TEXTS, Texts
from core.data.render.word import RENDERER, render, written
from core.errors import DataError, UserError, user_errors
from core.files import atomic_folder, in_repository, lines_digest, refuse_existing

REGULAR = "regular"  # the family of easy words, which every world has
PARTS = ("train/real", "train/more", "train/synth", "val", "test")  # can be rendered apart; labels/ comes with test
STAGES = {"train": 0, "val": 1, "test": 2, "pretrain": 3, "more": 4, "synth": 5, "mistakes": 6}  # streams that never meet


@dataclass(frozen=True)
class World:
    """Sizes, words and looks of a rendered world.

    Args:
        families: one benchmark each; their order decides which random numbers they draw; one is named REGULAR.
        texts: what is shown besides words of the lexicon; None: what families make of those.
        page: image size and fonts of all words.
        synthetic: the family of train/synth, no benchmark; None takes the regular one.
        synthetic_page: image size and fonts of its words; None takes `page`.
        lexicon: a text file with one word per line, of any script that the fonts draw; None takes CLIP's vocabulary, the most
            frequent words first.
        lexicon_size: words in all, the first of the lexicon.
        min_letters, max_letters: lengths of those words.
        unseen: share of them that training never shows.
        regular: share of training images drawn from the regular family; the rest is spread over all families.
        distortion: factor on every family's perspective, curvature, arc and rotation.
        mislabelled: share of test labels with one wrong character.
        train, synth, more, val: images of train/real, train/synth, train/more and val/; test: images per benchmark.

    Raises:
        UserError: a share outside [0, 1], families that cannot be told apart, or words too long for a label.
    """

    lexicon: str | None
    lexicon_size: int
    min_letters: int
    max_letters: int
    unseen: float
    regular: float
    distortion: float
    mislabelled: float
    train: int
    synth: int
    more: int
    val: int
    test: int
    seed: int
    families: tuple[Family, ...]
    texts: Texts | None
    page: Page
    synthetic: Family | None
    synthetic_page: Page | None

    def __post_init__(self):
        for name in ("unseen", "regular", "mislabelled"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"World.{name} = {getattr(self, name)}: a share lies in [0, 1]")
        if REGULAR not in self.names or len(set(self.names)) < len(self.names):
            raise UserError(f"World.families {', '.join(self.names)}: expected different names, {REGULAR!r} among them")
        if not 1 <= self.min_letters <= self.max_letters < MAX_LETTERS:  # a sign may come to a word
            raise UserError(
                f"World.min_letters = {self.min_letters}, World.max_letters = {self.max_letters}: "
                f"expected 1 <= min_letters <= max_letters <= {MAX_LETTERS - 1}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The families' names, which are the benchmarks' too."""
        return tuple(family.name for family in self.families)

    def words(self) -> tuple[WordList, WordList]:
        """(words that training may show, words kept for testing).

        Raises:
            UserError, DataError: the lexicon has fewer words, or one that a font cannot draw.
        """
        source = in_repository(self.lexicon) if self.lexicon else None
        found = lexicon(self.lexicon_size, self.min_letters, self.max_letters, source)
        if source:
            self.refuse_undrawable(source, found)
        return split_unseen(found, self.unseen, self.seed)

    @cached_property
    def letters(self) -> str:
        """Lower-case letters of all words, sorted: what a wrong label has in place of a right one."""
        if self.lexicon is None:
            return LOWER
        words, unseen = self.words()
        return "".join(sorted({letter for word in words + unseen for letter in word.lower() if letter.isalpha()}))

    def refuse_undrawable(self, source: Path, words: Sequence[str]) -> None:
        """Raise DataError if a font of some page lacks a letter of the lexicon, in the cases that families write."""
        letters = {letter for word in words for letter in word + word.upper() + word.capitalize()}
        for font in dict.fromkeys(font for page in (self.page, self.synthetic_page) if page for font in page.fonts):
            if missing := missing_letters(font, letters):
                raise DataError(f"{source}: {font} cannot draw {' '.join(missing[:20])}; take the font out of Page.fonts")

    def choose(self, words: WordList, family: Family | None, rng: np.random.Generator) -> tuple[str, Family]:
        """A text as it is written, and what will happen to it; without a family, one of the training mixture."""
        word = self.draw_text(words, rng) if self.texts else words[rng.integers(len(words))]
        if family is None:
            regular = rng.random() < self.regular
            trained = [family for family in self.families if family.trained]
            family = self.families[self.names.index(REGULAR)] if regular else trained[rng.integers(len(trained))]
        return written(word, family, rng, lowered=self.texts is None), family.bent(self.distortion)

    def draw_text(self, words: WordList, rng: np.random.Generator) -> str:
        """What `texts` writes, but nothing that a reader of letters and digits alone takes for a word kept for testing."""
        while (text := self.texts.draw(words, rng)) and bare(text) in self.kept and bare(text) not in words.known:
            pass
        return text

    @cached_property
    def kept(self) -> frozenset[str]:
        """The words kept for testing."""
        return frozenset(self.words()[1])

    def draw(self, stage: str, family: str | None, index: int, words: WordList) -> tuple[Image.Image, str]:
        """The image and label number `index` of a stage, the same in any process.

        Args:
            stage: one of STAGES; "synth" takes `synthetic` and its page, where the world has them, in place of the family.
            family: the name of one, or None for the training mixture.
            words: the words to draw from.
        """
        number = None if family is None else self.names.index(family)
        rng = np.random.default_rng([self.seed, STAGES[stage], 0 if number is None else 1 + number, index])
        look, page = None if number is None else self.families[number], self.page
        if stage == "synth":
            look, page = self.synthetic or look, self.synthetic_page or page
        label, look = self.choose(words, look, rng)
        return render(label, look, page, rng), label

    def draw_png(self, stage: str, family: str | None, index: int, words: WordList) -> tuple[bytes, str]:
        """`draw`, as the bytes of a PNG."""
        image, label = self.draw(stage, family, index, words)
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=1)
        return png.getvalue(), label

    def stored_label(self, family: str, index: int, word: str) -> str:
        """The label that test image number `index` of a family comes with: now and then one character is wrong."""
        rng = np.random.default_rng([self.seed, STAGES["mistakes"], self.names.index(family), index])
        if rng.random() >= self.mislabelled:
            return word
        place = int(rng.integers(len(word)))
        kind = next((kind for kind in (DIGITS, self.letters.upper()) if word[place] in kind), self.letters)
        others = kind.replace(word[place], "")
        return word[:place] + others[rng.integers(len(others))] + word[place + 1 :]

    def materials(self) -> str:
        """What decides the images besides this object's values, one line each: fonts by content, words, renderer.

        Raises:
            OSError: a font's file is missing.
        """
        lines = [f"fonts {' '.join(map(font_digest, self.page.fonts))}"]
        if self.synthetic_page:
            lines.append(f"synthetic fonts {' '.join(map(font_digest, self.synthetic_page.fonts))}")
        lines += [f"words {' '.join(map(lines_digest, self.words()))}", f"renderer {RENDERER}"]
        if any(family.scenic or family.compression for family in self.families):
            lines.append(f"scenes {SCENES}")
        return "\n".join([*lines, f"texts {TEXTS}"] if self.texts else lines)


def bare(text: str) -> str:
    """Its letters and digits in lower case."""
    return "".join(character for character in text.lower() if character.isalnum())


def render_world(world: World, out: Path, workers: int, parts: Sequence[str] = PARTS) -> int:
    """Write train/<set>, val/, test/<family> and labels/ below `out`; each appears when all of it is there.

    Returns the number of images.

    Args:
        parts: some of PARTS; their images do not depend on which.

    Raises:
        DataError: one of their folders holds something already; then none is rendered.
    """
    for part in (*parts, *(["labels"] if "test" in parts else [])):
        refuse_existing(out / part)
    (train_words, unseen), images = world.words(), 0
    for part in parts:
        if part == "test":
            images += world.test * len(world.families)
            render_tests(world, out, WordList([*train_words, *unseen]), workers)
            continue
        stage, family, count = {
            "train/real": ("train", None, world.train),
            "train/more": ("more", None, world.more),
            "train/synth": ("synth", REGULAR, world.synth),
            "val": ("val", None, world.val),
        }[part]
        images += count
        with atomic_folder(out / part) as folder:
            lmdb = folder / "micro" if part == "val" else folder
            write_lmdb(lmdb, drawn(world, stage, family, train_words, count, workers, part))
    return images


def render_tests(world: World, out: Path, words: WordList, workers: int) -> None:
    """Every family's benchmark, and the labels without its mistakes."""
    with atomic_folder(out / "labels") as labels, atomic_folder(out / "test") as tests:
        for family in world.names:
            images = list(drawn(world, "test", family, words, world.test, workers, f"test/{family}"))
            stored = [(png, world.stored_label(family, i, word)) for i, (png, word) in enumerate(images)]
            write_lmdb(tests / family, stored)
            write_labels(labels / "cleaned" / f"{family}.csv", [word for _, word in images])


def drawn(
    world: World, stage: str, family: str | None, words: WordList, count: int, workers: int, name: str
) -> Iterator[tuple[bytes, str]]:
    """Images 0, ..., count - 1 of a stage as they are made, with a bar of this name."""
    return track(numbered(partial(world.draw_png, stage, family, words=words), count, workers), name, total=count)


def write_labels(path: Path, words: list[str]) -> None:
    """A label file: one line per image of the LMDB, counted from 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["index", "label"])
        lines.writerows(enumerate(words, start=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m core.data.micro", description="Render a world as LMDBs (train/, val/, test/<family>/)."
    )
    parser.add_argument("world", help="gin file that binds micro.World: ablations/micro/world.gin or ablations/small/world.gin")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to render (default: everything)")
    add_workers(parser)
    arguments = parser.parse_args()
    with user_errors():
        world = config.build(World, arguments.world)
        start = time.monotonic()
        images = render_world(world, arguments.out, arguments.workers, arguments.parts)
        seconds = time.monotonic() - start
        print(
            f"{images:,} images in {len(set(world.page.fonts))} fonts, {images / seconds:.0f} a second by {arguments.workers} "
            f"processes: {images / seconds / arguments.workers:.0f} a second and process"
        )


if __name__ == "__main__":
    main()
