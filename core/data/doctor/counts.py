"""Whether a set has as many samples as the paper's (section IV-A, Table III)."""

from typing import NamedTuple

from core.data.benchmarks import PUBLISHED, members, unknown

TRAINING = {"real": 3_300_000, "synth": 15_900_000, "rbu": 6_500_000}  # section IV-A; MJ 9 M and ST 6.9 M
ROUNDING = 0.05  # those are rounded, so this share of them may be missing or more


class Size(NamedTuple):
    """A set's size beside the published one: as published, or how it differs."""

    published: int | None
    as_published: bool
    note: str


def benchmark_size(name: str, stored: int, usable: int, scored: int) -> Size:
    """Whether a benchmark has the published number of samples: stored, left by the label rules, or scored of them.

    Papers count differently: COCO, ArT and Uber are what is left after the label rules, the others what is stored.

    Args:
        name: as `core.data.benchmarks.canonical` has it.
    """
    found = {stored, usable, scored}
    expected = PUBLISHED.get(name)
    if expected in found:
        return Size(expected, True, f"{expected:,} as published")
    same = next((other for other in members(name) if PUBLISHED[other] in found), "")
    if same:
        return Size(expected, False, f"this is {same} ({PUBLISHED[same]:,}): rename the folder to {same}")
    if expected is None:
        return Size(None, False, unknown(name, stored))
    return Size(expected, False, f"{stored:,} stored, {usable:,} usable; published are {expected:,}")


def training_size(name: str, usable: int) -> Size:
    """Whether a training set is about as large as the paper's of that name."""
    expected = TRAINING.get(name)
    if expected is None:
        return Size(None, False, "no training set of the paper")
    if abs(usable - expected) <= ROUNDING * expected:
        return Size(expected, True, f"{usable:,}, about the {expected / 1e6:.1f} M of the paper")
    return Size(expected, False, f"{usable:,} usable; the paper's has {expected / 1e6:.1f} M")
