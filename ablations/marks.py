"""Data as inputs of Snakemake jobs: parts of the rendered world, or marker files for real data.

Snakemake identifies the inputs of a job by path. If a folder of real data were an input, everything would be rerun when it is
moved or linked, and nothing when its content is replaced. So the inputs are marks: small files below results/data, named after
a fingerprint of the content. The folder's own path reaches a job through the environment (CLIP4STR_DATA), which triggers
nothing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ablations.photos import TRAINED, Photographs
from ablations.source import Source
from core.data.content import content_digest
from core.data.folders import files_below, lmdbs_below
from core.data.micro import PARTS
from core.data.sets import fingerprint, train_roots
from core.files import atomic_file, text_digest, write_if_changed, write_if_missing

SHORT = 4  # hex digits of a fingerprint in a name that people read


@dataclass(frozen=True)
class RenderedInputs:
    """The rendered world as inputs of jobs: its folder is named after all that decides its content; its parts are made apart.

    With photographs there is a folder of links beside it, which holds the test sets of both.

    Args:
        root: its folder.
        families: names of its test sets.
        photos: photographs beside it; None for none.
    """

    root: Path
    families: tuple[str, ...]
    photos: Photographs | None = None

    def train_inputs(self, names: Sequence[str]) -> list[Path]:
        """The inputs of a training: its training sets and val/."""
        rendered = [f"train/{name}" for name in names if name != TRAINED]
        photographed = [self.mark("train", self.photos.train_digest)] if TRAINED in names else []
        return [*(self.root / part for part in (*rendered, "val")), *photographed]

    @property
    def test_inputs(self) -> list[Path]:
        """The inputs of an evaluation: the test sets."""
        photographed = [self.mark("test", self.photos.test_digest)] if self.photos else []
        return [self.root / "test", self.root / "labels", *photographed]

    def mark(self, kind: str, content: str) -> Path:
        """The mark of photographs; a job's input, as for real data."""
        return self.root.parent / f"photographs-{kind}-{content}.json"

    @property
    def label_inputs(self) -> list[Path]:
        """Further inputs of a table with `labels`: none, as rendered label files come with the test sets."""
        return []

    @property
    def search_inputs(self) -> list[Path]:
        """The inputs of a learning-rate search."""
        return self.all_inputs

    @property
    def all_inputs(self) -> list[Path]:
        return [self.root / part for part in (*PARTS, "labels")]

    @property
    def report_root(self) -> Path:
        """Where evaluations and reports find the test sets: with photographs, a folder of links to them all."""
        return self.root.parent / f"{self.root.name}-photos-{self.photos.test_digest}" if self.photos else self.root

    def write(self, trained: Iterable[Sequence[str]], shared: bool = False) -> None:
        """Put down the marks of photographs, and the links to them; rules make the rendered parts.

        Args:
            shared: another workflow is at work here: what is there stays.
        """
        put, lead = (write_if_missing, link_if_missing) if shared else (write_if_changed, link)
        learned = self.root / "train" / TRAINED
        if self.photos is not None and self.photos.trained:
            lead(learned, self.photos.root / "train")
            put(self.mark("train", self.photos.train_digest), sizes_of(self.photos.root, "train"))
        elif not shared:
            learned.unlink(missing_ok=True)
        if self.photos is None:
            return
        put(self.mark("test", self.photos.test_digest), sizes_of(self.photos.root, "test"))
        for path in (*(self.root / "test" / name for name in self.families), *self.photos.folders.values()):
            lead(self.report_root / "test" / path.name, path)
        for name in ("val", "labels"):
            lead(self.report_root / name, self.root / name)


@dataclass(frozen=True)
class RealInputs:
    """Real data as inputs of jobs: its marks. Members as those of `RenderedInputs`, and more.

    Args:
        folder: where they lie, results/data.
    """

    folder: Path
    source: Source

    @property
    def root(self) -> Path:
        return self.source.root

    def train_inputs(self, names: Sequence[str]) -> list[Path]:
        """The mark of training sets; its fingerprint is the one that the names of their runs are made with.

        No mark of val/: it decides no weight of a model, so other words there train nothing again.

        Raises:
            DataError: one is not there.
        """
        return [self.folder / f"train-{self.source.train_identity(names)}.json"]

    @property
    def test_inputs(self) -> list[Path]:
        return [self.folder / f"test-{self.source.test_digest}.json"]

    @property
    def search_inputs(self) -> list[Path]:
        return list(self.search_files)

    @property
    def label_inputs(self) -> list[Path]:
        return list(self.label_files)

    @cached_property
    def search_files(self) -> dict[Path, list[Path]]:
        """The marks of all training sets together and of val/, and the files that each stands for."""
        parts = {name: databases(self.root / name) for name in ("train", "val")}
        return {self.folder / f"{name}-{fingerprint(self.root / name)}.json": files for name, files in parts.items() if files}

    @cached_property
    def label_files(self) -> dict[Path, list[Path]]:
        """The mark of the label files, and those files; empty where there are none."""
        files = [Path(file) for file in files_below(self.root / "labels", (".csv",))]
        text = "".join(f"{file.relative_to(self.root).as_posix()} {content_digest(file)}\n" for file in files)
        return {self.folder / f"labels-{text_digest(text)}.json": files} if files else {}

    @property
    def all_inputs(self) -> list[Path]:
        return [*self.search_inputs, *self.test_inputs, *self.label_inputs]

    @cached_property
    def name(self) -> str:
        """The test set's name: its folder's name when it was first used, and the start of the fingerprint.

        It stays where the folder is renamed later; other data in a folder of that name is called otherwise.
        """
        (mark,) = self.test_inputs
        if mark.is_file():
            return json.loads(mark.read_text())["name"]
        return f"{self.root.resolve().name}-{self.source.test_digest[:SHORT]}"

    @cached_property
    def study(self) -> str:
        """Names the tables that are made with this data: `name`, and the start of a digest of training words and label files.

        So two folders that differ in anything but val/ share no table.
        """
        others = "\n".join(mark.stem for mark in (*self.search_inputs, *self.label_inputs) if not mark.stem.startswith("val-"))
        return f"{self.name}-{text_digest(others)[:SHORT]}"

    @property
    def report_root(self) -> Path:
        """A link to the folder, for reports: they show its images, read its label files, and stay as they are if it moves."""
        return self.folder / self.study

    def write(self, trained: Iterable[Sequence[str]], shared: bool = False) -> None:
        """Put the marks down, and the link to where the data lies now.

        Args:
            trained: the training sets of every run.
            shared: another workflow is at work here: what is there stays.
        """
        put, lead = (write_if_missing, link_if_missing) if shared else (write_if_changed, link)
        marks = self.search_files | self.label_files | dict.fromkeys(self.test_inputs, databases(self.root / "test"))
        for names in trained:
            files = [file for root in train_roots(self.root, names) for file in databases(root)]
            marks |= dict.fromkeys(self.train_inputs(names), files)
        for mark, files in marks.items():
            put(mark, self.content(files))
        lead(self.report_root, self.root)

    def content(self, files: Iterable[Path]) -> str:
        """The content of a mark, for people: the sizes of the files that it stands for. The test set's also holds its name."""
        sizes = {file.relative_to(self.root).as_posix(): file.stat().st_size for file in files}
        return json.dumps({"name": self.name, "bytes": sizes}, indent=2) + "\n"


def link(place: Path, target: Path) -> None:
    """A link at `place` to where `target` lies; one that leads there already is left alone."""
    if not place.is_symlink() or place.resolve() != target.resolve():
        with atomic_file(place) as partial:
            partial.symlink_to(target.resolve())


def link_if_missing(place: Path, target: Path) -> None:
    if not place.is_symlink():
        link(place, target)


def sizes_of(root: Path, part: str) -> str:
    """The content of the mark of photographs, for people."""
    sizes = {file.relative_to(root).as_posix(): file.stat().st_size for file in databases(root / part)}
    return json.dumps({"folder": root.resolve().name, "bytes": sizes}, indent=2) + "\n"


def databases(root: Path) -> list[Path]:
    return [folder / "data.mdb" for folder in lmdbs_below(root)]
