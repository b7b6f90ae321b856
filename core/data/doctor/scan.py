"""One pass over every sample of an LMDB, in several processes: digests, sizes, labels, and what is wrong with each."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from core.charset import RejectedLabel, read_label, reduce_text
from core.data.images import decode
from core.data.keys import image_key, label_key
from core.data.labels import PUBLISHED_RULES, Rules, compared_in
from core.data.lmdb import ImageLmdb, RawSample
from core.errors import DataError, UnreadableImage
from core.runtime.crash_safe import WorkerCrash, crash_safe_map

BLOCK_SIZE = 500  # samples per job
SMALL = 8  # pixels of height; below, letters have no shape
Advance = Callable[[int, int], None]
HASH_SIZE = (9, 8)  # pixels: 8 comparisons in each of 8 lines
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
    """The samples of one LMDB, in numbers, and those that something is wrong with.

    Args:
        name: its folder below the data root, as in train/real/IC15.
        samples: an array of SAMPLE; `label` is 0 where the rules drop it, `look` where the image is flat or unreadable.
        odd: images in another mode than RGB or grey, and those that decoding changes (core.data.images).
        characters: counts of the characters in labels as stored, without white space.
        scored: labels with a character that accuracies count, of the published rules one of the 36.
        rules: the label rules.
        error: why the LMDB cannot be read; then everything else is empty.
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
    rules: Rules = PUBLISHED_RULES
    error: str = ""

    def add(self, part: "Scan") -> None:
        """Append the next block of samples."""
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

    def image_facts(self) -> dict:
        """The images in numbers; lists name every sample by its key."""
        good = self.samples[self.samples["readable"]]
        return {
            "readable": len(good),
            "unreadable": [[image_key(one.index), one.what] for one in self.unreadable],
            "formats": dict(self.formats.most_common()),
            "odd": [[image_key(one.index), one.what] for one in self.odd],
            "width": quantiles(good["width"]),
            "height": quantiles(good["height"]),
            "lower_than_8_pixels": int(np.count_nonzero(good["height"] < SMALL)),
            "taller_than_wide": int(np.count_nonzero(good["height"] > good["width"])),
            "flat": int(np.count_nonzero(good["look"] == 0)),
        }

    def label_facts(self) -> dict:
        """The labels in numbers; the ledger has key, reason and stored label of every dropped sample."""
        known = frozenset(self.rules.charset)
        outside = Counter({character: n for character, n in self.characters.items() if character not in known})
        total = sum(self.characters.values())
        return {
            "kept": sum(self.lengths.values()),
            "scored": self.scored,
            "lengths": {str(length): self.lengths[length] for length in sorted(self.lengths)},
            "characters_used": sum(character in self.characters for character in known),
            "characters_outside": dict(outside.most_common()),
            "coverage": 1 - sum(outside.values()) / total if total else None,
            "dropped": dict(Counter(one.what for one in self.dropped)),
            "ledger": [[label_key(one.index), one.what, one.label] for one in self.dropped],
        }


def quantiles(values: np.ndarray) -> list[int]:
    """Smallest, median and largest; empty without values."""
    return [int(value) for value in (values.min(), np.median(values), values.max())] if len(values) else []


def scan_all(
    folders: dict[str, Path],
    workers: int,
    advance: Advance = lambda images, total: None,
    rules: Rules = PUBLISHED_RULES,
) -> list[Scan]:
    """Examine LMDBs; one that cannot be read says why in `error`, and the others are examined anyway.

    Args:
        folders: by name.
        advance: called with how many more images are done, and of how many.
    """
    scans, jobs, blocks = [Scan(name, path, rules=rules) for name, path in folders.items()], [], {}
    for one, opened in zip(scans, crash_safe_map(sizes_of, [one.path for one in scans], 1), strict=True):
        if not isinstance(opened, Sizes):
            one.error = opened if isinstance(opened, str) else f"{one.path / 'data.mdb'}: opening it {opened}"
            continue
        one.extra_keys, blocks[one.name] = opened.extra_keys, []
        starts = range(1, opened.stored + 1, BLOCK_SIZE)
        jobs += [(one, (one.path, first, min(first + BLOCK_SIZE - 1, opened.stored), rules)) for first in starts]
    total = sum(last - first + 1 for _, (_, first, last, _) in jobs)
    advance(0, total)
    parts = crash_safe_map(scan_block, [job for _, job in jobs], workers)
    for (one, (_, first, last, _)), part in zip(jobs, parts, strict=True):
        if isinstance(part, WorkerCrash):
            one.error = one.error or f"{one.path / 'data.mdb'}: reading keys {first} to {last} {part}"
        else:
            blocks[one.name].append(part.samples)
            one.add(part)
        advance(last - first + 1, total)
    for number, one in enumerate(scans):
        if one.error:
            scans[number] = Scan(one.name, one.path, error=one.error)
        elif blocks[one.name]:
            one.samples = np.concatenate(blocks[one.name])
    return scans


class Sizes(NamedTuple):
    stored: int
    extra_keys: int


def sizes_of(path: Path) -> Sizes | str:
    """The sizes of an LMDB, or why it cannot be opened."""
    try:
        lmdb = ImageLmdb(path)
    except (DataError, OSError) as error:
        return str(error)
    return Sizes(lmdb.stored, lmdb.extra_keys)


def scan_block(job: tuple[Path, int, int, Rules]) -> Scan:
    """The samples first to last of an LMDB; the job of one process."""
    path, first, last, rules = job
    part = Scan(path.name, path, np.zeros(last - first + 1, SAMPLE), rules=rules)
    for row, raw in zip(part.samples, ImageLmdb(path).raw_samples(first, last), strict=True):
        label = "" if raw.label is None else raw.label[:200].decode("utf-8", "replace")
        scan_label(part, row, raw, label)
        scan_image(part, row, raw, label)
    return part


def scan_label(part: Scan, row: np.void, raw: RawSample, shown: str) -> None:
    """Count a label, or note why the rules drop it; `shown` is what the note quotes."""
    try:
        if raw.label is None:
            raise RejectedLabel(raw.problem or "no such key")
        text = raw.label.decode("utf-8")
        part.characters.update("".join(text.split()))
        label = read_label(text, *part.rules)
    except UnicodeDecodeError:
        part.dropped.append(Finding(raw.index, "not UTF-8", shown))
    except RejectedLabel as reason:
        part.dropped.append(Finding(raw.index, str(reason), shown))
    else:
        reduced = reduce_text(label, compared_in(part.rules))
        part.scored += bool(reduced)
        part.lengths[len(label)] += 1
        row["label"] = digest((reduced or label).encode())


def scan_image(part: Scan, row: np.void, raw: RawSample, shown: str) -> None:
    """Measure an image, or note why it cannot be decoded."""
    if raw.image is None:
        part.unreadable.append(Finding(raw.index, raw.problem or "no such key", shown))
        return
    row["bytes"] = digest(raw.image)
    try:
        decoded = decode(raw.image)
    except UnreadableImage as error:
        part.unreadable.append(Finding(raw.index, str(error), shown))
        return
    part.formats[f"{decoded.form} {decoded.mode}"] += 1
    if decoded.changes:
        part.odd.append(Finding(raw.index, f"{decoded.form} in mode {decoded.mode}: {', '.join(decoded.changes)}", shown))
    row["width"], row["height"] = decoded.image.size
    row["readable"], row["look"] = True, look_of(decoded.image)


def digest(data: bytes) -> int:
    """64 bits of a digest, never 0; two different contents agree by chance once in 10^19 comparisons."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def look_of(image: Image.Image) -> int:
    """dHash: 64 bits, each whether a pixel of the 9 x 8 grey miniature is brighter than its left neighbour."""
    grey = np.asarray(image.convert("L").resize(HASH_SIZE, Image.Resampling.BOX), dtype=np.int16)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "little")


def of_split(scans: Sequence[Scan], split: str) -> list[Scan]:
    return [one for one in scans if one.split == split]
