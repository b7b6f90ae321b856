"""One look at every sample of an LMDB, by several processes: digests, sizes, labels, and what is wrong with each."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from core.charset import CHARSET_36, RejectedLabel, normalise_label, reduce_text
from core.data.doctor.stored import RULES, Raw, Stored
from core.data.images import decode_image
from core.errors import DataError, UnreadableImage
from core.runtime.crash_safe import WorkerCrash, crash_safe_map

BLOCK_SIZE = 500  # samples a job
Advance = Callable[[int, int], None]
HASH_SIZE = (9, 8)  # pixels; 8 comparisons a line of 8 lines
SAMPLE = np.dtype(  # position i is the sample with key number i + 1
    [("bytes", "u8"), ("look", "u8"), ("label", "u8"), ("width", "u4"), ("height", "u4"), ("readable", "?")]
)


class Finding(NamedTuple):
    """Something about one sample."""

    index: int  # key number
    what: str
    label: str


@dataclass
class Scan:
    """What was seen in one LMDB.

    Args:
        name: its folder below the data root, as in train/real/IC15.
        samples: an array of SAMPLE; `label` is 0 where the rules drop it, `look` where the image is flat or unreadable.
        characters: of the labels as stored, without white space.
        scored: labels with a character of the 36 that published accuracies count.
        error: why it cannot be read; then there is nothing else.
    """

    name: str
    path: Path
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, SAMPLE))
    unreadable: list[Finding] = field(default_factory=list)
    odd: list[Finding] = field(default_factory=list)
    dropped: list[Finding] = field(default_factory=list)
    formats: Counter = field(default_factory=Counter)
    lengths: Counter = field(default_factory=Counter)
    characters: Counter = field(default_factory=Counter)
    scored: int = 0
    extra_keys: int = 0
    error: str = ""

    def add(self, part: "Scan") -> None:
        """Take in the next stretch, all but its samples."""
        for name in ("unreadable", "odd", "dropped"):
            getattr(self, name).extend(getattr(part, name))
        for name in ("formats", "lengths", "characters"):
            getattr(self, name).update(getattr(part, name))
        self.scored += part.scored

    @property
    def split(self) -> str:
        return self.name.split("/")[0]

    @property
    def usable(self) -> int:
        """Samples that pass the label rules and decode."""
        return int(np.count_nonzero((self.samples["label"] != 0) & self.samples["readable"]))

    @property
    def content(self) -> str:
        """16 hex digits of all images and label bytes in order, however the database is laid out."""
        return hashlib.sha256(self.samples[["bytes", "label"]].tobytes()).hexdigest()[:16]


def scan(folders: dict[str, Path], workers: int, advance: Advance = lambda images, total: None) -> list[Scan]:
    """Look through LMDBs; one that cannot be read says why in `error`, the others are looked through all the same.

    Args:
        folders: by name.
        advance: told how many more images are done, and of how many.
    """
    scans, jobs, pieces = [Scan(name, path) for name, path in folders.items()], [], {}
    for found, opened in zip(scans, crash_safe_map(sizes_of, [found.path for found in scans], 1), strict=True):
        if not isinstance(opened, Sizes):
            found.error = opened if isinstance(opened, str) else died(found, "opening it", opened)
            continue
        found.extra_keys, pieces[found.name] = opened.extra_keys, []
        starts = range(1, opened.stored + 1, BLOCK_SIZE)
        jobs += [(found, (found.path, first, min(first + BLOCK_SIZE - 1, opened.stored))) for first in starts]
    total = sum(last - first + 1 for _, (_, first, last) in jobs)
    advance(0, total)
    for (found, (_, first, last)), part in zip(
        jobs, crash_safe_map(look_through, [job for _, job in jobs], workers), strict=True
    ):
        if isinstance(part, WorkerCrash):
            found.error = found.error or died(found, f"reading keys {first} to {last}", part)
        else:
            pieces[found.name].append(part.samples)
            found.add(part)
        advance(last - first + 1, total)
    for number, found in enumerate(scans):
        if found.error:
            scans[number] = Scan(found.name, found.path, error=found.error)
        elif pieces[found.name]:
            found.samples = np.concatenate(pieces[found.name])
    return scans


def died(found: Scan, doing: str, how: WorkerCrash) -> str:
    return f"{found.path / 'data.mdb'}: {doing} {how}"


class Sizes(NamedTuple):
    stored: int
    extra_keys: int


def sizes_of(path: Path) -> Sizes | str:
    """Of an LMDB, or why it cannot be opened."""
    try:
        stored = Stored(path)
    except (DataError, OSError) as error:
        return str(error)
    return Sizes(stored.stored, stored.extra_keys)


def look_through(job: tuple[Path, int, int]) -> Scan:
    """The samples first to last of an LMDB, looked at."""
    path, first, last = job
    part = Scan(path.name, path, np.zeros(last - first + 1, SAMPLE))
    for row, raw in zip(part.samples, Stored(path).stretch(first, last), strict=True):
        shown = "" if raw.label is None else raw.label[:200].decode("utf-8", "replace")
        look_at_label(part, row, raw, shown)
        look_at_image(part, row, raw, shown)
    return part


def look_at_label(part: Scan, row: np.void, raw: Raw, shown: str) -> None:
    try:
        if raw.label is None:
            raise RejectedLabel(raw.problem or "no such key")
        text = raw.label.decode("utf-8")
        part.characters.update("".join(text.split()))
        label = normalise_label(text, *RULES)
    except UnicodeDecodeError:
        part.dropped.append(Finding(raw.index, "not UTF-8", shown))
    except RejectedLabel as reason:
        part.dropped.append(Finding(raw.index, str(reason), shown))
    else:
        reduced = reduce_text(label, CHARSET_36)
        part.scored += bool(reduced)
        part.lengths[len(label)] += 1
        row["label"] = digest((reduced or label).encode())


def look_at_image(part: Scan, row: np.void, raw: Raw, shown: str) -> None:
    if raw.image is None:
        part.unreadable.append(Finding(raw.index, raw.problem or "no such key", shown))
        return
    row["bytes"] = digest(raw.image)
    try:
        image = decode_image(raw.image)
    except UnreadableImage as error:
        part.unreadable.append(Finding(raw.index, str(error), shown))
        return
    with Image.open(io.BytesIO(raw.image)) as header:
        kind, mode = header.format or "?", header.mode
    part.formats[f"{kind} {mode}"] += 1
    if mode not in ("RGB", "L"):
        part.odd.append(Finding(raw.index, f"{kind} in mode {mode}", shown))
    row["width"], row["height"] = image.size
    row["readable"], row["look"] = True, look_of(image)


def digest(data: bytes) -> int:
    """64 bits of a digest, never 0; two different contents agree by chance once in 10^19 comparisons."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def look_of(image: Image.Image) -> int:
    """dHash: 64 bits, each whether a pixel of the 9 x 8 grey miniature is brighter than its left neighbour."""
    grey = np.asarray(image.convert("L").resize(HASH_SIZE, Image.Resampling.BOX), dtype=np.int16)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "little")


def of_split(scans: Sequence[Scan], split: str) -> list[Scan]:
    return [found for found in scans if found.split == split]
