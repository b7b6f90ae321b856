"""Duplicate images: inside one LMDB, and across train, val and test.

Exact: the same bytes. Near: the same label (case and punctuation aside), dHashes at most FAR bits of 64 apart, and grey
miniatures that correlate by at least ALIKE. Near pairs are for looking at: most are one photograph cut out twice, some
the same word in the same print.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from core.data.doctor.scan import SAMPLE, Scan, of_split
from core.data.lmdb import ImageLmdb

COMPARED = (("train", "test"), ("train", "val"), ("val", "test"))
FAR = 7  # bits
ALIKE = 0.8
CROWD = 1000  # samples of one label in one LMDB up to which each is compared with each
MINIATURE = (64, 16)
BLOCK = 1 << 20  # comparisons at once


class Place(NamedTuple):
    lmdb: str
    index: int


class Pair(NamedTuple):
    """Two samples, of different splits or of one LMDB, that show the same.

    Args:
        same_label: always true of near pairs.
        distance: differing bits of the dHashes.
        alike: correlation of the miniatures.
    """

    kind: str  # exact or near
    left: Place
    right: Place
    same_label: bool
    distance: int
    alike: float


def copies_inside(scan: Scan) -> list[list[int]]:
    """Key numbers of images with the same bytes, one list per image that comes more than once."""
    digests = pd.Series(scan.samples["bytes"], np.arange(1, len(scan.samples) + 1))
    repeated = digests[(digests != 0) & digests.duplicated(keep=False)]
    return sorted(group.index.tolist() for _, group in repeated.groupby(repeated))


def near_inside(scan: Scan) -> list[Pair]:
    """Near pairs of one LMDB, most alike first."""
    pool, miniatures = Pool([scan]), Miniatures({scan.name: scan})
    pairs = (miniatures.compare(pool.place(i), pool.place(j), bits) for i, j, bits in candidates_inside(scan.samples))
    return sorted((pair for pair in pairs if pair.alike >= ALIKE), key=lambda pair: (-pair.alike, pair.left, pair.right))


def candidates_inside(samples: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(position, later position, distance) of equal labels, close dHashes and different bytes.

    Of a label that more than CROWD samples have, only equal dHashes, which sorting finds.
    """
    looks, content = samples["look"], samples["bytes"]
    for positions, _ in shared(samples["label"], samples["label"]):
        positions = positions[looks[positions] != 0]
        if len(positions) < 2:
            continue
        if len(positions) > CROWD:
            order = positions[np.argsort(looks[positions], kind="stable")]
            close = ((i, j, 0) for i, j in zip(order[:-1], order[1:], strict=True) if looks[i] == looks[j])
        else:
            close = (pair for pair in close_pairs(looks, positions, looks, positions) if pair[0] < pair[1])
        yield from ((i, j, bits) for i, j, bits in close if content[i] != content[j])


def across(scans: Sequence[Scan]) -> list[Pair]:
    """Every pair of samples that two splits share, exact ones first."""
    pairs, miniatures = [], Miniatures({scan.name: scan for scan in scans})
    for one, other in COMPARED:
        left, right = Pool(of_split(scans, one)), Pool(of_split(scans, other))
        for ours, theirs in shared(left.samples["bytes"], right.samples["bytes"]):
            for i, j in ((i, j) for i in ours for j in theirs):
                same = bool(left.samples["label"][i] == right.samples["label"][j])
                pairs.append(Pair("exact", left.place(i), right.place(j), same, 0, 1.0))
        known = {(pair.left, pair.right) for pair in pairs}
        for ours, theirs in shared(left.samples["label"], right.samples["label"]):
            for i, j, bits in close_pairs(left.samples["look"], ours, right.samples["look"], theirs):
                pair = miniatures.compare(left.place(i), right.place(j), bits)
                if pair.alike >= ALIKE and (pair.left, pair.right) not in known:
                    pairs.append(pair)
    return sorted(pairs, key=lambda pair: (pair.kind, -pair.alike, pair.left, pair.right))


def shared(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For every value but 0 that two arrays share: its positions in both."""
    values = np.intersect1d(left[left != 0], right[right != 0])
    sides = []
    for side in (left, right):
        positions = np.flatnonzero(np.isin(side, values))
        order = positions[np.argsort(side[positions], kind="stable")]
        sides.append(np.split(order, np.searchsorted(side[order], values[1:])))
    if len(values):
        yield from zip(*sides, strict=True)


def close_pairs(left: np.ndarray, ours: np.ndarray, right: np.ndarray, theirs: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(i of ours, j of theirs, distance) of dHashes left[i] and right[j] at most FAR bits apart; flat images (0) have none."""
    ours, theirs = ours[left[ours] != 0], theirs[right[theirs] != 0]
    step = max(1, BLOCK // max(1, len(theirs)))
    for start in range(0, len(ours), step):
        block = ours[start : start + step]
        distance = np.bitwise_count(left[block][:, None] ^ right[theirs][None])  # ours theirs
        for i, j in zip(*np.nonzero(distance <= FAR), strict=True):
            yield int(block[i]), int(theirs[j]), int(distance[i, j])


class Pool:
    """Samples of several LMDBs in one array."""

    def __init__(self, scans: Sequence[Scan]):
        self.names = [scan.name for scan in scans]
        self.starts = np.cumsum([0, *(len(scan.samples) for scan in scans)])
        self.samples = np.concatenate([np.zeros(0, SAMPLE), *(scan.samples for scan in scans)])

    def place(self, position: int) -> Place:
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        return Place(self.names[number], int(position - self.starts[number]) + 1)


class Miniatures:
    """Small grey images, standardised, each made once."""

    def __init__(self, scans: dict[str, Scan]):
        self.scans = scans
        self.made: dict[Place, np.ndarray] = {}

    def of(self, place: Place) -> np.ndarray:
        if place not in self.made:
            image = ImageLmdb(self.scans[place.lmdb].path).image(place.index)
            values = np.asarray(image.convert("L").resize(MINIATURE, Image.Resampling.BOX), dtype=np.float32).ravel()
            values = values - values.mean()
            self.made[place] = values / (np.linalg.norm(values) + 1e-9)
        return self.made[place]

    def compare(self, left: Place, right: Place, distance: int) -> Pair:
        return Pair("near", left, right, True, distance, round(float(self.of(left) @ self.of(right)), 3))
