"""RowConfig, what the plan needs to know of a row's gin file, and a cache of it.

Building the models of all rows needs torch and many seconds, and nearly always nothing has changed. So each RowConfig is cached
in one file, under a key of everything that it depends on: the row's text and its includes, the code that reads them, the
versions of the libraries, the architecture and weights files. Deleting the file costs only time.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from core.charset import SUFFIX
from core.config.gin_files import INCLUDE, find_include, lengthened, text_at
from core.experiment.identity import UNDECISIVE, training_identity
from core.files import ABLATIONS, ROOT, atomic_file, file_digest, in_repository
from core.weights.made import weights_digest

MACHINE = tuple(sorted(name.rpartition(".")[2] for name in UNDECISIVE))  # values that decide no result
CODE = ("core", "adapters")  # packages whose Python decides what a gin file means
LIBRARIES = ("gin-config", "torch", "open_clip_torch", "timm", "peft")
MOST = 2000  # entries, of about 10 kB
CHARSET = re.compile(rf"""(['"])(?P<path>[^'"]+{re.escape(SUFFIX)})\1""")
START = re.compile(r"""^START\s*=\s*(['"])(?P<path>[^'"]+\.gin)\1""")
IMPORT = re.compile(r"^\s*(?:from|import)\s+(?P<package>\w+)")


@dataclass(frozen=True)
class Counts:
    """Parameters, as `core.experiment.parameters` counts them."""

    total: int
    trainable: int
    frozen: int
    encoders_trainable: int
    image_layers: int
    text_layers: int


@dataclass(frozen=True)
class Work:
    """Floating-point operations per image, as `core.experiment.operations` counts them; `released` where it was asked for.

    Args:
        saved: bytes per image that a training step keeps for its backward pass in float32, and `saved_once` for all of them
            together (`core.experiment.step_memory`).
    """

    train: float
    encode: float
    decode: float
    saved: float
    saved_once: float
    released: float | None = None


@dataclass(frozen=True)
class PretrainingWork:
    """Floating-point operations of a whole pretraining, and the images that it draws."""

    operations: float
    images: int


Counted = TypeVar("Counted", Work, PretrainingWork)


@dataclass(frozen=True)
class RowConfig:
    """A gin file at one scale, read.

    Args:
        training: the gin text of everything training reads; `operative` adds the protocol.
        named: the architecture, the weights and the start, as the file names them; `files` are digests of those that are files.
        start_row: the gin file of the row whose trained model it begins with; empty where START names none.
        start_problem: why the row's START cannot be used; empty where it can, or where there is none.
        train_images: how many images of `train_data` it learns from; None: all.
        protocol: the evaluation protocol, as JSON.
        precision, test_precision: precisions of training and of inference.
        kept_bytes, state_bytes: sizes of the trained weights and of a resumable state.
        machine: the values of MACHINE.
    """

    training: str
    operative: str
    named: list[str]
    files: str
    start_row: str
    start_problem: str
    train_data: list[str]
    train_images: int | None
    protocol: str
    protocol_digest: str
    output: str
    counts: Counts
    steps: int | None
    epochs: float | None
    batch: int
    device_batch: int
    precision: str
    test_precision: str
    validate_every: int
    kept_bytes: int
    state_bytes: int
    machine: dict[str, int | float | bool]

    @property
    def identity(self) -> str:
        """Everything that decides what is trained, but data and seed (see `core.experiment.experiment.Loaded`)."""
        return training_identity(self.training, self.files)

    @property
    def layers(self) -> str:
        """The layers of the image and the text tower, as text."""
        return f"{self.counts.image_layers}/{self.counts.text_layers}"

    def total_steps(self, images: int) -> int:
        """Optimiser steps for a training set of that many images, as `core.experiment.optim.Optimisation` has them."""
        used = images if self.train_images is None else min(images, self.train_images)
        return self.steps if self.steps is not None else max(1, round(self.epochs * (used // self.batch)))


def in_root(path: Path) -> str:
    """A path as counted from the repository root, where it lies in it."""
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def values_digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def code_digest() -> str:
    """Changes with the Python that reads gin files, the interpreter and the libraries it builds models with."""
    files = sorted(path for package in CODE for path in (ROOT / package).rglob("*.py"))
    files += [ABLATIONS / name for name in ("row_config.py", "blueprint.py")]
    code = [(path.relative_to(ROOT).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    return values_digest([code, sys.version, [version_of(name) for name in LIBRARIES]])


def version_of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def content_of(path: Path, scale: str, before: frozenset[Path] = frozenset(), chain: tuple[Path, ...] = ()) -> list | None:
    """A gin file at a scale without comments, all it includes, the row it starts from, digests of the charset files it names.

    None where that cannot be told from the text: for an include without a plain path, or where Python of elsewhere is imported.

    Args:
        before: rows that start from this one, which is refused where the row is planned.
        chain: the files that it is included by.

    Raises:
        ConfigError: it includes itself, or cannot be read.
    """
    chain = lengthened(chain, path)
    lines = [line for line in text_at(path, scale).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    content: list = ["\n".join(lines)]
    for line in lines:
        imported = IMPORT.match(line)
        if imported and imported["package"] not in (*CODE, "__gin__"):
            return None
        content += [file_digest(file) for name in CHARSET.finditer(line) if (file := in_repository(name["path"])).is_file()]
        start = START.match(line)
        if start and (row := in_repository(start["path"])).is_file() and row.resolve() not in before:
            started = content_of(row, scale, before | {path.resolve(), row.resolve()})
            if started is None:
                return None
            content.append(started)
        if not line.lstrip().startswith("include"):
            continue
        include = INCLUDE.match(line)
        below = find_include(include["path"], scale) if include else None
        included = content_of(below, scale, before, chain) if below else None
        if included is None:
            return None
        content.append(included)
    return content


class PlanCache:
    """A cache of rows in one file, keyed by content; entries of earlier code are dropped when it is written.

    Args:
        path: the file; a damaged one counts as empty.
        reader: reads (gin file, scale), see `ablations.blueprint`.
    """

    def __init__(self, path: Path, reader: Callable[[str, str], RowConfig]):
        self.path, self.reader = path, reader
        self.code, self.changed = code_digest(), False
        self.kept: dict[str, dict] = {"rows": {}, "works": {}}
        self.used: set[str] = set()
        self.digests: dict[tuple[str, ...], str] = {}  # of files, read once a call
        try:
            stored = json.loads(path.read_text())
            if stored["code"] == self.code:
                self.kept = {kind: dict(stored[kind]) for kind in self.kept}
        except (OSError, ValueError, KeyError, TypeError):
            return

    def row(self, gin: Path, scale: str) -> RowConfig:
        """A gin file at a scale, read now or before.

        Raises:
            ConfigError: naming file and binding; never kept, nor is a row whose START cannot be used.
        """
        content = content_of(gin, scale)
        key = values_digest([scale, content])
        self.used.add(key)
        known = recall(self.kept["rows"].get(key)) if content is not None else None
        if known is not None and self.digest(known.named) == known.files:
            return known
        made = self.reader(str(gin), scale)  # from the root: the working directory may have a file of that name
        if content is not None and not made.start_problem:
            self.keep("rows", key, asdict(made))
        return made

    def digest(self, named: list[str]) -> str:
        if tuple(named) not in self.digests:
            self.digests[tuple(named)] = weights_digest(named)
        return self.digests[tuple(named)]

    def work(self, key: str, count: Callable[[], Counted], kind: type[Counted]) -> Counted:
        """Operations that were counted before under the same key, or are counted now."""
        self.used.add(key)
        known = self.kept["works"].get(key)
        if known is None:
            known = asdict(count())
            self.keep("works", key, known)
        return kind(**known)

    def keep(self, kind: str, key: str, content: dict) -> None:
        self.kept[kind][key] = content
        self.changed = True

    def write(self) -> None:
        """Put everything down for the next call; where that cannot be written, the next call reads again."""
        if self.changed:
            if sum(map(len, self.kept.values())) > MOST:  # rows that were edited long ago
                self.kept = {kind: {key: e[key] for key in self.used & e.keys()} for kind, e in self.kept.items()}
            try:
                with atomic_file(self.path) as partial:
                    partial.write_text(json.dumps({"code": self.code, **self.kept}))
                self.changed = False
            except OSError as error:
                print(f"note: {error}; the next plan takes as long as this one", file=sys.stderr)


def recall(entry: dict | None) -> RowConfig | None:
    """A kept row, or None where there is none or it is damaged."""
    try:
        return None if entry is None else RowConfig(**{**entry, "counts": Counts(**entry["counts"])})
    except (TypeError, KeyError):
        return None
