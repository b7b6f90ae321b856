"""Formula-driven classes: fractals of iterated function systems, as FractalDB draws them (Kataoka et al. 2020).

A class is a system of two to eight affine maps with random parameters. They are no relatives of letters, so
an image tower that learned to tell them apart has seen no glyphs beside the words that are drawn over them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from core.data.micro import World
from core.data.render.word import photographed, shaped
from core.errors import UserError

MAPS = (2, 8)  # least and most of a system
WEIGHTS = (0.8, 0.9, 1.0, 1.1, 1.2)  # of one parameter of every map: the instances of a class
SEARCH = 64  # pixels each way of the picture whose filling rate is measured
CHAINS, STEPS, SETTLING = 512, 32, 8  # walkers at once, their steps, and those until they are on the attractor
FLAT = 0.05  # share of the height below which an attractor is a line
CONTRAST = 70  # grey levels between a word and what is below it


@dataclass(frozen=True)
class System:
    """An iterated function system: x' = a x + b y + e, y' = c x + d y + f, one of its maps at each step.

    Args:
        maps: a, b, c, d, e, f of each: 6 x maps.
        ends: cumulative probabilities of the maps, which are as their determinants.
    """

    maps: np.ndarray
    ends: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "System":
        """A system with parameters between -1 and 1, every map of which shortens: only then is there an attractor for sure.

        FractalDB draws maps of any kind; at this size a good part of those are clouds that look alike.
        """
        maps = np.empty((6, rng.integers(MAPS[0], MAPS[1] + 1)))
        for number in range(maps.shape[1]):
            while True:
                maps[:, number] = rng.uniform(-1, 1, 6)
                if np.linalg.norm(maps[:4, number].reshape(2, 2), 2) < 1:
                    break
        share = np.abs(maps[0] * maps[3] - maps[1] * maps[2])
        return cls(maps, np.cumsum(share) / share.sum())

    def weighted(self, parameter: int, weight: float) -> "System":
        """The same with one of the six parameters of every map multiplied."""
        maps = self.maps.copy()
        maps[parameter] *= weight
        return System(maps, self.ends)

    def points(self, rng: np.random.Generator, steps: int = STEPS) -> np.ndarray | None:
        """Points of the attractor, 2 x points, between 0 and 1 each way; None where they run away or lie on a line."""
        x, y = rng.uniform(-1, 1, (2, CHAINS))
        chosen = np.minimum(np.searchsorted(self.ends, rng.random((steps, CHAINS))), len(self.ends) - 1)
        walked = np.empty((steps, 2, CHAINS))
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                a, b, c, d, e, f = self.maps[:, chosen[step]]
                x, y = a * x + b * y + e, c * x + d * y + f
                walked[step] = x, y
        settled = walked[SETTLING:].transpose(1, 0, 2).reshape(2, -1)
        least, most = settled.min(1, keepdims=True), settled.max(1, keepdims=True)
        span = most - least
        if not np.isfinite(span).all() or span.min() < FLAT * span.max():
            return None
        return (settled - least) / span


def density(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """How many points fall into each pixel: height x width."""
    columns, rows = np.minimum((points * [[width], [height]]).astype(np.int64), [[width - 1], [height - 1]])
    return np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)


@lru_cache(maxsize=4)
def search(classes: int, filling: float, seed: int) -> tuple[System, ...]:
    """The first `classes` random systems whose points touch more than the share `filling` of a picture's pixels."""
    rng, kept = np.random.default_rng([seed, 0]), []
    while len(kept) < classes:
        system = System.draw(rng)
        points = system.points(rng)
        if points is not None and np.count_nonzero(density(points, SEARCH, SEARCH)) > filling * SEARCH**2:
            kept.append(system)
    return tuple(kept)


@dataclass(frozen=True)
class Fractals:
    """Pictures of `classes` fractals, each with a word over it that says nothing about the class.

    Args:
        world: draws the words, of those that it does not keep for testing, and hides and blurs the picture as it does words.
        filling: least share of a picture's pixels that a class touches (FractalDB: 0.2).
        rotation: degrees by which a fractal is turned, either way.
        word_size: least share of the picture's width and height that the word covers; the most is 0.9.

    Raises:
        UserError: a value out of its range.
    """

    world: World
    classes: int
    filling: float
    rotation: float
    word_size: float
    seed: int

    def __post_init__(self):
        for name, low, high in (("classes", 2, 100_000), ("filling", 0, 0.5), ("word_size", 0.1, 0.9)):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"Fractals.{name} = {getattr(self, name)}: it lies in [{low}, {high}]")

    def draw(self, index: int, words: list[str]) -> tuple[Image.Image, int]:
        """Picture number `index`, grey, and its class: the same in any process."""
        rng, page = np.random.default_rng([self.seed, 1, index]), self.world.page
        label = int(rng.integers(self.classes))
        pixels = self.paint(search(self.classes, self.filling, self.seed)[label], page.height, page.width, rng)
        word, look = self.world.choose(words, None, rng)
        size = rng.uniform(self.word_size, 0.9, 2) * (page.width, page.height)
        lay(pixels, shaped(word, look, page, rng).resize(tuple(size.astype(int)), Image.Resampling.BOX), rng)
        return photographed(pixels, look, rng), label

    def paint(self, system: System, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """An instance of a class in grey levels, height x width: one parameter weighted, turned, mirrored, somewhere."""
        points = system.weighted(rng.integers(6), rng.choice(WEIGHTS)).points(rng)
        if points is None:  # a weight above 1 lets some systems run away
            points = system.points(rng)
        angle = np.radians(rng.uniform(-self.rotation, self.rotation))
        mirror = rng.choice((-1.0, 1.0), (2, 1))
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ ((points - 0.5) * mirror)
        spread = np.abs(turned).max(1)
        share = rng.uniform(0.7, 1, 2)  # of the picture, each way
        offset = rng.uniform(0, 1 - share)
        placed = (turned / (2 * spread[:, None]) + 0.5) * share[:, None] + offset[:, None]
        ink = np.log1p(density(placed, height, width))
        ink /= ink.max()
        background = rng.uniform(0, 255)
        level = rng.uniform(0, max(background - 90, 0)) if background > 127 else rng.uniform(min(background + 90, 255), 255)
        return background + (level - background) * ink


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
