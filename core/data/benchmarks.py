"""The paper's benchmarks: the single source of their names, aliases, sizes, subsets and averages.

Plan, evaluation, reports and doctor all use this module to decide which folder below DATA/test is which benchmark. A folder is
recognised by its exact name, else by an alias (ignoring case, `-`, `_`, `.` and spaces), else, if it only names a family such
as IC15, by its number of stored images. Any other folder counts as a benchmark of its own.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from core.data.folders import lmdbs_below
from core.data.lmdb import stored_samples
from core.errors import DataError
from core.files import ROOT

PUBLISHED_SIZES = {  # samples (section IV-A, Table III)
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
TRAINING = {"real": 3_300_000, "synth": 15_900_000, "rbu": 6_500_000}  # section IV-A; synth is MJ (9 M) and ST (6.9 M)
ROUNDING = 0.05  # the paper rounds those, so a set may be this share smaller or larger
ALIASES = {  # other folder names, in PARSeq's and CLIP4STR's archives and in other toolkits
    "IIIT5k": ("IIIT", "IIIT5K_3000"),
    "SVT": ("SVT_647",),
    "SVTP": ("SVTP_645", "SVT_Perspective"),
    "CUTE80": ("CUTE", "CT80", "CUTE80_288"),
    "HOST": ("OST_heavy",),
    "WOST": ("OST_weak",),
    "COCO": ("COCOv1.4", "COCO_Text"),
    "ArT": ("IC19_ArT",),
    "Uber": ("UberText",),
}
FAMILY_ALIASES = {  # names of each family that leave open which subset is meant
    "IC13": ("IC13", "ICDAR13", "ICDAR2013"),
    "IC15": ("IC15", "ICDAR15", "ICDAR2015"),
}
SUPERSETS = {  # benchmarks whose images are all in these others, too
    "IC13_857": ("IC13_1015", "IC13_1095"),
    "IC13_1015": ("IC13_1095",),
    "IC15_1811": ("IC15_2077",),
}
AVERAGES = {
    # the paper's "Avg.": 14,315 images, the 1,811 of IC15 counted twice
    "nine sets": ("IIIT5k", "SVT", "IC13_1015", "IC15_1811", "IC15_2077", "SVTP", "CUTE80", "HOST", "WOST"),
    # 7,672 images, every benchmark once
    "six sets": ("IIIT5k", "SVT", "IC13_1015", "IC15_2077", "SVTP", "CUTE80"),
}
MICRO_WORLD = "ablations/micro/world.gin"
FAMILIES = tuple(re.findall(r"^    @(\w+)/family\.Family\(\)", (ROOT / MICRO_WORLD).read_text(), re.MULTILINE))  # of its tests
MICRO_AVERAGES = {  # families that stand for their benchmarks
    "nine sets": ("regular", "street", "focused", "incidental", "perspective", "curved", "heavily_occluded", "weakly_occluded"),
    "six sets": ("regular", "street", "focused", "incidental", "perspective", "curved"),
}


class BenchmarkFolder(NamedTuple):
    """A folder below DATA/test, or an LMDB: its stored images, or why they cannot be counted."""

    path: Path
    stored: int
    problem: str


def plain(name: str) -> str:
    """A folder name in lower case, without `-`, `_`, `.` and spaces."""
    return "".join(letter for letter in name.casefold() if letter not in "-_. ")


def family(name: str) -> str:
    """The family of a benchmark: IC15 for IC15_1811, else its own name."""
    return name.split("_")[0]


def members(name: str) -> list[str]:
    """All benchmarks of the family that `name` names (by a member or an alias); empty for other names."""
    families = [own for own, aliases in FAMILY_ALIASES.items() if plain(name) in map(plain, aliases)]
    called = [family(name)] if name in PUBLISHED_SIZES else families
    return [known for known in PUBLISHED_SIZES if family(known) in called]


def spellings() -> dict[str, str]:
    """The benchmark of every unambiguous name, in plain form."""
    names = {plain(name): name for name in PUBLISHED_SIZES}
    names |= {plain(alias): name for name, aliases in ALIASES.items() for alias in aliases}
    for families in FAMILY_ALIASES.values():
        names |= {plain(f"{alias}_{PUBLISHED_SIZES[name]}"): name for alias in families for name in members(alias)}
    return names


SPELLINGS = spellings()


def canonical(folder: str, stored: Callable[[], int | None]) -> str:
    """The benchmark that a folder below DATA/test holds; its own name if it is none of the paper's.

    Args:
        stored: returns its number of stored images (None: unknown); called only for the name of a family.
    """
    if folder in PUBLISHED_SIZES:
        return folder
    if plain(folder) in SPELLINGS:
        return SPELLINGS[plain(folder)]
    subsets = members(folder)
    images = stored() if subsets else None
    return next((name for name in subsets if PUBLISHED_SIZES[name] == images), folder)


def benchmarks_of(data: Path) -> dict[str, Path]:
    """The folders below DATA/test by the benchmark that each holds, sorted by benchmark; hidden folders are left out.

    Raises:
        DataError: there is none, or two hold the same benchmark.
    """
    root = Path(data) / "test"
    folders_of: dict[str, list[Path]] = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if not folder.name.startswith(".") and lmdbs_below(folder):
            name = canonical(folder.name, lambda folder=folder: count(folder).stored)
            folders_of.setdefault(name, []).append(folder)
    for name, folders in folders_of.items():
        if len(folders) > 1:
            raise DataError(f"{root}: {duplicate_message(name, [folder.name for folder in folders])}")
    if not folders_of:
        raise DataError(f"{root}: no benchmark here; expected test/<benchmark>/data.mdb")
    return {name: folders_of[name][0] for name in sorted(folders_of)}


def count(folder: Path) -> BenchmarkFolder:
    """A folder below DATA/test and its stored images, read from num-samples alone."""
    try:
        return BenchmarkFolder(folder, sum(map(stored_samples, lmdbs_below(folder))), "")
    except DataError as error:
        return BenchmarkFolder(folder, 0, str(error))


def count_lmdb(folder: Path) -> BenchmarkFolder:
    """One LMDB and its stored images."""
    try:
        return BenchmarkFolder(folder, stored_samples(folder), "")
    except DataError as error:
        return BenchmarkFolder(folder, 0, str(error))


def duplicate_message(name: str, folders: Sequence[str]) -> str:
    """The error message for folders that hold the same benchmark."""
    return f"{' and '.join(folders)} are both {name}: keep one below test/ and move the other out, or rename it to what it is"


def absent_message(name: str) -> str:
    """Why nothing fills a column of benchmark `name`: there is no folder of that name or of an alias."""
    others = list(ALIASES.get(name, ()))
    if family(name) in FAMILY_ALIASES and name in PUBLISHED_SIZES:
        others.append(f"{family(name)} with {PUBLISHED_SIZES[name]:,} images")
    return f"no folder test/{name} with a data.mdb" + (f" (nor {', '.join(others)})" if others else "")


def unknown(name: str, stored: int) -> str:
    """The warning about a folder that is not a benchmark of the paper."""
    message = f"test/{name} ({stored:,} images) is not a benchmark of the paper and is read under its own name"
    if subsets := members(name):
        sizes = " and ".join(f"{subset} {PUBLISHED_SIZES[subset]:,}" for subset in subsets)
        return f"{message}; by size it would be one of {sizes}: rename it to the one it is"
    close = get_close_matches(plain(name), SPELLINGS, n=1)
    return f"{message}; the closest name is {SPELLINGS[close[0]]}" if close else message


def distinct(benchmarks: Iterable[str]) -> set[str]:
    """The benchmarks without those that are contained in another one, so that no image counts twice."""
    named = set(benchmarks)
    return {name for name in named if named.isdisjoint(SUPERSETS.get(name, ()))}


class Size(NamedTuple):
    """A set's size beside the published one: as published, or how it differs."""

    published: int | None
    as_published: bool
    note: str


def benchmark_size(name: str, stored: int, usable: int, scored: int) -> Size:
    """Whether a benchmark has the published number of samples.

    Papers count differently: COCO, ArT and Uber are what the label rules leave, the others what is stored.

    Args:
        name: a benchmark's name, as `canonical` returns it.
        stored, usable, scored: samples in the LMDB, those that decode and pass the label rules, those with a character of
            the 36 that are scored.
    """
    counts, expected = {stored, usable, scored}, PUBLISHED_SIZES.get(name)
    if expected in counts:
        return Size(expected, True, f"{expected:,} as published")
    if same := next((other for other in members(name) if PUBLISHED_SIZES[other] in counts), ""):
        return Size(expected, False, f"this is {same} ({PUBLISHED_SIZES[same]:,}): rename the folder to {same}")
    if expected is None:
        return Size(None, False, unknown(name, stored))
    return Size(expected, False, f"{stored:,} stored, {usable:,} usable; published are {expected:,}")


def training_size(name: str, usable: int) -> Size:
    """Whether a training set is about as large as the paper's set of that name."""
    expected = TRAINING.get(name)
    if expected is None:
        return Size(None, False, "not a training set of the paper")
    if abs(usable - expected) <= ROUNDING * expected:
        return Size(expected, True, f"{usable:,}, about the {expected / 1e6:.1f} M of the paper")
    return Size(expected, False, f"{usable:,} usable; the paper's has {expected / 1e6:.1f} M")
