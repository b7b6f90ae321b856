"""Images that lie twice: inside one LMDB, and across train, val and test.

Exact: the same bytes. Near: the same label (case and punctuation aside), dHashes at most FAR bits of 64 apart, and grey
miniatures that correlate by at least ALIKE. Near pairs are for looking at: most are one photograph cut out twice, some
the same word in the same print.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from core.data.doctor.scan import SAMPLE, Scan, of_split
from core.data.doctor.stored import Stored

SPLITS = (("train", "test"), ("train", "val"), ("val", "test"))
FAR = 7  # bits
ALIKE = 0.8
CROWD = 1000  # samples of one label in one LMDB, each compared with each
MINIATURE = (64, 16)
BLOCK = 1 << 20  # comparisons at once
BITS = np.array([bin(number).count("1") for number in range(1 << 16)], dtype=np.uint8)


class Place(NamedTuple):
    lmdb: str
    index: int


class Pair(NamedTuple):
    """Two samples, of different splits or of one LMDB, that show the same.

    Args:
        same_label: always true of near pairs.
        distance: bits of the dHash.
        alike: correlation of the miniatures.
    """

    kind: str  # exact or near
    left: Place
    right: Place
    same_label: bool
    distance: int
    alike: float


def inside(scan: Scan) -> list[list[int]]:
    """Key numbers of images with the same bytes, group by group."""
    present = np.flatnonzero(scan.samples["bytes"])
    order = present[np.argsort(scan.samples["bytes"][present], kind="stable")]
    digests = scan.samples["bytes"][order]
    groups = np.split(order + 1, np.flatnonzero(digests[1:] != digests[:-1]) + 1)
    return sorted([group.tolist() for group in groups if len(group) > 1])


def near_inside(scan: Scan) -> list[Pair]:
    """Near pairs of one LMDB, most alike first."""
    pool, miniatures = Pool([scan]), Miniatures({scan.name: scan})
    pairs = (miniatures.compare(pool.place(i), pool.place(j), distance) for i, j, distance in candidates_inside(scan.samples))
    return sorted((pair for pair in pairs if pair.alike >= ALIKE), key=lambda pair: (-pair.alike, pair.left, pair.right))


def candidates_inside(samples: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(position, later position, distance) of equal labels, close dHashes and different bytes.

    Of a label that more than CROWD samples have, only equal dHashes, which sorting finds.
    """
    looks = samples["look"]
    for places, _ in shared(samples["label"], samples["label"]):
        places = places[looks[places] != 0]
        if len(places) > CROWD:
            order = places[np.argsort(looks[places], kind="stable")]
            found = [(i, j, 0) for i, j in zip(order[:-1], order[1:], strict=True) if looks[i] == looks[j]]
        else:
            distance = apart(looks[places], looks[places])
            rows, columns = np.nonzero(np.triu(distance <= FAR, 1))
            found = zip(places[rows], places[columns], distance[rows, columns].tolist(), strict=True)
        yield from ((i, j, bits) for i, j, bits in found if samples["bytes"][i] != samples["bytes"][j])


def apart(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Bits by which dHashes differ, every left one from every right one."""
    return BITS[(left[:, None] ^ right[None])[..., None].view(np.uint16)].sum(-1)  # left right


def across(scans: Sequence[Scan]) -> list[Pair]:
    """Every pair of samples that two splits share, exact ones first."""
    pairs = []
    by_name = {scan.name: scan for scan in scans}
    miniatures = Miniatures(by_name)
    for one, other in SPLITS:
        left, right = Pool(of_split(scans, one)), Pool(of_split(scans, other))
        if not len(left.samples) or not len(right.samples):
            continue
        same = exact(left, right)
        known = {(pair.left, pair.right) for pair in same}
        near = (miniatures.compare(*found) for found in candidates(left, right))
        pairs += same + [pair for pair in near if pair.alike >= ALIKE and (pair.left, pair.right) not in known]
    return sorted(pairs, key=lambda pair: (pair.kind, -pair.alike, pair.left, pair.right))


class Pool:
    """Samples of several LMDBs in one array."""

    def __init__(self, scans: Sequence[Scan]):
        self.names = [scan.name for scan in scans]
        self.starts = np.cumsum([0, *(len(scan.samples) for scan in scans)])
        self.samples = np.concatenate([np.zeros(0, SAMPLE), *(scan.samples for scan in scans)])

    def place(self, position: int) -> Place:
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        return Place(self.names[number], int(position - self.starts[number]) + 1)


def shared(left: np.ndarray, right: np.ndarray):
    """For every value but 0 that two arrays share: its positions in both."""
    sides = []
    for values in (left, right):
        order = np.argsort(values, kind="stable")
        kept, first = np.unique(values[order], return_index=True)
        ends = np.append(first, len(order))[1:]
        sides.append((order, dict(zip(kept.tolist(), zip(first, ends, strict=True), strict=True))))
    (left_order, left_at), (right_order, right_at) = sides
    for value in sorted(left_at.keys() & right_at.keys() - {0}):
        yield left_order[slice(*left_at[value])], right_order[slice(*right_at[value])]


def exact(left: Pool, right: Pool) -> list[Pair]:
    """Pairs of equal bytes, whatever their labels."""
    pairs = []
    for ours, theirs in shared(left.samples["bytes"], right.samples["bytes"]):
        for i in ours:
            for j in theirs:
                same = bool(left.samples["label"][i] == right.samples["label"][j])
                pairs.append(Pair("exact", left.place(i), right.place(j), same, 0, 1.0))
    return pairs


def candidates(left: Pool, right: Pool):
    """(left place, right place, distance) of equal labels and close dHashes; flat images have none."""
    looks = left.samples["look"], right.samples["look"]
    for ours, theirs in shared(left.samples["label"], right.samples["label"]):
        ours, theirs = ours[looks[0][ours] != 0], theirs[looks[1][theirs] != 0]
        if not len(theirs):
            continue
        step = max(1, BLOCK // len(theirs))
        for start in range(0, len(ours), step):
            block = ours[start : start + step]
            distance = apart(looks[0][block], looks[1][theirs])
            for i, j in zip(*np.nonzero(distance <= FAR), strict=True):
                yield left.place(block[i]), right.place(theirs[j]), int(distance[i, j])


class Miniatures:
    """Small grey images, standardised, each made once."""

    def __init__(self, scans: dict[str, Scan]):
        self.scans = scans
        self.made: dict[Place, np.ndarray] = {}

    def of(self, place: Place) -> np.ndarray:
        if place not in self.made:
            grey = stored_image(self.scans, place).convert("L").resize(MINIATURE, Image.Resampling.BOX)
            values = np.asarray(grey, dtype=np.float32).ravel()
            values = values - values.mean()
            self.made[place] = values / (np.linalg.norm(values) + 1e-9)
        return self.made[place]

    def compare(self, left: Place, right: Place, distance: int) -> Pair:
        return Pair("near", left, right, True, distance, round(float(self.of(left) @ self.of(right)), 3))


def stored_image(scans: dict[str, Scan], place: Place) -> Image.Image:
    """The image of a place.

    Raises:
        UnreadableImage: it cannot be decoded.
    """
    return Stored(scans[place.lmdb].path).image(place.index)


def stored_label(scans: dict[str, Scan], place: Place) -> str:
    """The label of a place as it is stored."""
    (raw,) = Stored(scans[place.lmdb].path).stretch(place.index, place.index)
    return "" if raw.label is None else raw.label.decode("utf-8", "replace")
