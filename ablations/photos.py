"""Photographs beside rendered words: real test sets as further columns, real training words as a training set of their own.

A folder of photographs has the layout of real data: test/<benchmark>/data.mdb and, for training, train/**/data.mdb. It is
identified by its content, as all data is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from core.data.benchmarks import benchmarks_of
from core.data.folders import lmdbs_below
from core.data.sets import fingerprint
from core.errors import ConfigError
from core.files import no_folder, text_digest

TRAINED = "photographs"  # the training set's name in TRAIN_DATA, and its folder below train/
ADDED = "--config photos=DIR photos_train=yes"  # what adds it


@dataclass(frozen=True)
class Photographs:
    """A folder of photographs.

    Args:
        root: the folder.
        trained: whether its training words are a training set of the study.
    """

    root: Path
    trained: bool

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Its test folders by benchmark.

        Raises:
            DataError: there is none, or two hold the same benchmark.
        """
        return benchmarks_of(self.root)

    @cached_property
    def test_digest(self) -> str:
        """Identifies its test sets."""
        return fingerprint(self.root / "test")

    @cached_property
    def train_digest(self) -> str:
        """Identifies its training words."""
        return fingerprint(self.root / "train")

    @property
    def name(self) -> str:
        """A name for results that depend on all of it: of four hex digits."""
        return f"photos-{text_digest(self.test_digest + (self.train_digest if self.trained else ''))[:4]}"


def photographs_of(photos: str | None, trained: bool, families: Iterable[str]) -> Photographs | None:
    """The photographs that a workflow configuration asks for.

    Args:
        families: names of the rendered test sets.

    Raises:
        ConfigError: there is no such folder, a set in it is named as a family, or it has no training words.
        DataError: it holds no test set, or two folders hold the same benchmark.
    """
    if photos is None:
        if trained:
            raise ConfigError(f"photos_train: yes, but there are no photographs; give their folder too: {ADDED}")
        return None
    found = Photographs(Path(photos), trained)
    if not found.root.is_dir():
        raise ConfigError(
            f"photos: {photos} {no_folder(found.root)}; it should hold test/<benchmark>/ and, to train on, train/"
        )
    if twice := sorted(set(found.folders) & set(families)):
        raise ConfigError(f"photos: {found.folders[twice[0]]} has the name of a family of rendered words; rename the folder")
    if found.trained and not lmdbs_below(found.root / "train"):
        raise ConfigError(f"photos_train: yes, but {found.root / 'train'} holds no data.mdb; put training words there")
    return found
