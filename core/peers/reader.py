"""The interface of a peer reader: its identity, and a function from an image to its text."""

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import PeerUnavailable


class Reading(NamedTuple):
    text: str  # as the reader writes it: case, spaces and accents kept
    confidence: float  # from 0 to 1, by the reader's own measure


@dataclass(frozen=True)
class Identity:
    """Which reader it is; readings are kept across interruptions as long as nothing of this changes."""

    name: str
    packages: dict[str, str]  # name: version
    model: str  # file name of the weights
    model_sha256: str
    device: str


@dataclass(frozen=True)
class Reader:
    """A peer reader of cropped words.

    Args:
        threads: CPU threads it works with; the times depend on them, the readings do not.
        read: an RGB image, H W 3 of uint8, to its reading, whatever images came before.
    """

    identity: Identity
    threads: int
    read: Callable[[np.ndarray], Reading]


def identify(name: str, packages: Sequence[str], model: Path, device: str) -> Identity:
    """The identity of an installed reader whose weights lie in the file `model`."""
    versions = {package: importlib.metadata.version(package) for package in packages}
    return Identity(name, versions, model.name, hashlib.sha256(model.read_bytes()).hexdigest(), device)


def require(name: str, packages: Sequence[str]) -> None:
    """Make sure that a reader's packages are there, without importing them.

    Raises:
        PeerUnavailable: one is not installed.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise PeerUnavailable(
            f"reader {name} needs {' and '.join(missing)}, which the optional extra [peers] installs: "
            "pip install 'clip4str-ablations[peers]'"
        )


def as_entry(identity: Identity) -> dict:
    """An identity as metrics.json holds it, with the version of the package that gives the reader its name."""
    return {"version": identity.packages.get(identity.name), **asdict(identity)}
