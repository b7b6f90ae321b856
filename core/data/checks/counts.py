"""Benchmarks of the paper and how many samples each has, as published (section IV-A, Table III)."""

from typing import NamedTuple

PUBLISHED = {
    "IIIT5k": 3000,
    "SVT": 647,
    "IC13_857": 857,
    "IC13_1015": 1015,
    "IC13_1095": 1095,
    "IC15_1811": 1811,
    "IC15_2077": 2077,
    "SVTP": 645,
    "CUTE80": 288,
    "HOST": 2416,
    "WOST": 2416,
    "OCTT": 1911,
    "COCO": 9825,
    "ArT": 35149,
    "Uber": 80551,
}
TRAINING = {"real": 3_300_000, "synth": 15_900_000, "rbu": 6_500_000}  # section IV-A; MJ 9 M and ST 6.9 M
ROUNDING = 0.05  # those are rounded, so this share of them may be missing or more
NINE_SETS = ("IIIT5k", "SVT", "IC13_1015", "IC15_1811", "IC15_2077", "SVTP", "CUTE80", "HOST", "WOST")
SIX_SETS = ("IIIT5k", "SVT", "IC13_1015", "IC15_2077", "SVTP", "CUTE80")


class Size(NamedTuple):
    """A set's size beside the published one: as published, or how it differs."""

    published: int | None
    as_published: bool
    note: str


def family_of(name: str) -> str:
    """The benchmark of a folder name, whatever its case, release or subset: IC15 of ic15_2077, COCO of COCOv1.4."""
    bare = name.lower().replace("-", "").replace("_", "")
    known = sorted({full.split("_")[0] for full in PUBLISHED}, key=len, reverse=True)
    return next((family for family in known if bare.startswith(family.lower())), "")


def benchmark_size(name: str, stored: int, usable: int, scored: int) -> Size:
    """Whether a benchmark has the published number of samples: stored, left by the label rules, or scored of them.

    Papers count differently: COCO, ArT and Uber are what is left after the label rules, the others what is stored.
    """
    family = family_of(name)
    found = {"stored": stored, "usable": usable, "scored": scored}
    expected = PUBLISHED.get(name)
    if expected is not None and expected in found.values():
        return Size(expected, True, f"{expected:,} as published")
    subsets = {full: count for full, count in PUBLISHED.items() if full.split("_")[0] == family}
    same = next((full for full, count in subsets.items() if count in found.values()), "")
    if same:
        return Size(expected, False, f"this is {same} ({subsets[same]:,}): rename the folder to {same}")
    if subsets:
        counts = " or ".join(f"{count:,}" for count in subsets.values())
        wanted = f"{expected:,}" if expected else counts
        return Size(expected, False, f"{stored:,} stored, {usable:,} usable; published are {wanted}")
    return Size(None, False, "no benchmark of the paper")


def training_size(name: str, usable: int) -> Size:
    """Whether a training set is about as large as the paper's of that name."""
    expected = TRAINING.get(name)
    if expected is None:
        return Size(None, False, "no training set of the paper")
    if abs(usable - expected) <= ROUNDING * expected:
        return Size(expected, True, f"{usable:,}, about the {expected / 1e6:.1f} M of the paper")
    return Size(expected, False, f"{usable:,} usable; the paper's has {expected / 1e6:.1f} M")
