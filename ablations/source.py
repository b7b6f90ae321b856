"""The data of a study: its identity, and its numbers of images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ablations.photos import ADDED, TRAINED, Photographs, photographs_of
from core import config
from core.config import gin_files
from core.data.benchmarks import MICRO_WORLD, PUBLISHED_SIZES, TRAINING, BenchmarkFolder, benchmarks_of, count, count_lmdb
from core.data.folders import lmdbs_below
from core.data.lmdb import stored_samples
from core.data.micro import World
from core.data.sets import find_lmdbs, fingerprint, train_roots
from core.errors import ConfigError, DataError
from core.experiment.identity import world_identity
from core.files import no_folder, text_digest

UNCOUNTED = ("IC13_857", "IC13_1095", "IC15_1811")  # in no column of the paper, or all in another one


@dataclass
class Source:
    """The data of a study: what identifies training sets and test sets, and their sizes.

    Args:
        world_identity: identity of the rendered world; empty for real data.
        world: that world, and world_file its gin file as counted from the repository root.
        photos: photographs beside it; None for none.
        published: no data at all, but the sizes that the paper prints, for an estimate.
        folders: test folders of real data, by the benchmark that each holds.
    """

    root: Path
    test_digest: str
    world_identity: str = ""
    world: World | None = None
    world_file: str = ""
    photos: Photographs | None = None
    published: bool = False
    folders: dict[str, Path] = field(default_factory=dict)
    train_digests: dict[tuple[str, ...], str] = field(default_factory=dict)
    word_lengths: dict[tuple[str, ...], list[int]] = field(default_factory=dict)  # of words, see ablations.price

    def train_identity(self, names: Sequence[str]) -> str:
        """Identifies the training sets `names`.

        Raises:
            DataError: one is not there.
        """
        if self.world_identity:
            self.refuse_photographs(names)
            self.size_of(names, self.sizes)
            return f"{self.world_identity}\nphotographs {self.photos.train_digest}" if TRAINED in names else self.world_identity
        if self.published:
            return f"published {self.train_images(names)} of {' '.join(names)}"
        key = tuple(names)
        if key not in self.train_digests:
            self.train_digests[key] = fingerprint(*train_roots(self.root, names))
        return self.train_digests[key]

    def refuse_photographs(self, names: Sequence[str]) -> None:
        """Raise DataError if training sets name photographs that there are none of."""
        if TRAINED in names and not (self.photos and self.photos.trained):
            raise DataError(f"TRAIN_DATA names {TRAINED!r}: add {ADDED}")

    def train_images(self, names: Sequence[str]) -> int:
        """Samples of training sets, before the label rules.

        Raises:
            DataError: one is not there, or the paper gives no size for it.
        """
        if self.world is not None:
            self.refuse_photographs(names)
            return self.size_of(names, self.sizes)
        return self.size_of(names, TRAINING) if self.published else stored(*train_roots(self.root, names))

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Images of the training sets beside a rendered world."""
        rendered = {"real": self.world.train, "synth": self.world.synth, "more": self.world.more}
        photographed = self.photos is not None and self.photos.trained
        return rendered | ({TRAINED: stored(self.photos.root / "train")} if photographed else {})

    def size_of(self, names: Sequence[str], sizes: dict[str, int]) -> int:
        """The sum of the sizes of training sets; DataError where one is none of them."""
        unknown = [name for name in names if name not in sizes]
        if unknown:
            raise DataError(f"TRAIN_DATA names {unknown[0]!r}, of which nothing is known; known are {', '.join(sizes)}")
        return sum(sizes[name] for name in names)

    @cached_property
    def benchmarks(self) -> dict[str, BenchmarkFolder]:
        """The benchmarks that an evaluation reads.

        For a rendered world its families, which need not be rendered yet, and photographs.
        """
        families = self.world.names if self.world is not None else ()
        rendered = {name: BenchmarkFolder(self.root / "test" / name, self.world.test, "") for name in families}
        folders = self.photos.folders if self.photos else self.folders
        return rendered | {name: count(folder) for name, folder in folders.items()}

    def test_images(self) -> int:
        """Images that an evaluation reads; those that cannot be opened are none."""
        if self.published:
            return sum(images for name, images in PUBLISHED_SIZES.items() if name not in UNCOUNTED)
        return sum(folder.stored for folder in self.benchmarks.values())

    def benchmark_images(self) -> dict[str, int]:
        """Images of every benchmark, also of those that others hold already."""
        if self.published:
            return dict(PUBLISHED_SIZES)
        return {name: folder.stored for name, folder in self.benchmarks.items() if not folder.problem}

    def lmdbs(self, trained: Iterable[str]) -> dict[str, list[BenchmarkFolder]]:
        """The LMDBs of the training sets `trained`, of val/ and of every benchmark, by set; empty where they are rendered."""
        if self.world is not None or self.published:
            return {}
        train = [self.root / "train" / name for name in trained]
        roots = [root for root in (*train, self.root / "val", *self.folders.values()) if root.is_dir()]
        return {root.relative_to(self.root).as_posix(): [count_lmdb(path) for path in lmdbs_below(root)] for root in roots}

    def validation_images(self) -> int:
        """Images of val/, read while training; the paper prints no number."""
        if self.world is not None:
            return self.world.val
        return stored(self.root / "val") if not self.published and (self.root / "val").is_dir() else 0

    @property
    def sizes_from(self) -> str:
        """Where the sizes come from, in words."""
        if self.world is not None:
            beside = f"; photographs: num-samples of the LMDBs below {self.photos.root}" if self.photos else ""
            return f"{self.world_file}{beside}"
        if self.published:
            return "as published (section IV-A, Table III); no val/"
        return f"num-samples of the LMDBs below {self.root}, before the label rules"


def stored(*roots: Path) -> int:
    """Samples of every LMDB below the folders, as each says.

    Raises:
        DataError: there is none, or its count cannot be read.
    """
    return sum(stored_samples(folder) for root in roots for folder in find_lmdbs(root))


def data_source(
    data: str | None,
    scale: str,
    results: Path,
    published: bool = False,
    photos: str | None = None,
    photos_train: bool = False,
    world: str | None = None,
) -> Source:
    """Where the data is and what it is: fingerprints of real LMDBs, or the recipe of the scale's rendered world.

    Args:
        published: without data at paper scale, use the paper's sizes (nothing can be trained then).
        photos, photos_train: see `ablations.photos`.
        world: gin file of a rendered world in place of the scale's, with {scale} for its name, at scales that have one.

    Raises:
        DataError: the folder holds no test set, or two folders hold the same benchmark.
        ConfigError: paper scale without data, a world that the scale lacks, or photographs that cannot be used.
    """
    world_file = gin_files.world_of(scale)
    if world and world_file:
        world_file = gin_files.world_of(scale, world)
        if world_file is None and not data:
            raise ConfigError(f"scale: {scale} has no {world} ({world.replace('{scale}', scale)} is not there): write it")
    if photos and (data or world_file is None):
        place = f"below {data}/test" if data else "into the folder of data"
        raise ConfigError(f"photos: {photos} goes with rendered words; put its sets {place} instead")
    if data:
        if not Path(data).is_dir():
            holds = "train/<set>/, val/ and test/<benchmark>/"
            raise ConfigError(f"data: {data} {no_folder(Path(data))}; it should hold {holds}")
        return Source(Path(data), fingerprint(Path(data) / "test"), folders=benchmarks_of(Path(data)))
    if world_file is None:
        if published:
            return Source(Path("as-published"), "published", published=True)
        raise ConfigError(f"scale: {scale} trains on real data: add --config data=DIR with train/<set>/, val/ and test/")
    drawn, identity = rendered_world(path=world_file)
    found = photographs_of(photos, photos_train, drawn.names)
    root = results / "data" / f"{Path(world_file).parent.name}-{text_digest(identity)}"
    test_digest = f"{identity}\nphotographs {found.test_digest}" if found else identity
    return Source(root, test_digest, identity, drawn, world_file, found)


def rendered_world(bindings: Sequence[str] = (), path: str = MICRO_WORLD) -> tuple[World, str]:
    """The world that a scale trains on, and its identity.

    Args:
        bindings: gin bindings that change it.
        path: its gin file.

    Raises:
        ConfigError: its gin file cannot be built.
    """
    config.parse(path, bindings=bindings)
    world = config.construct(World, path)
    return world, world_identity(config.operative(), world.materials())
