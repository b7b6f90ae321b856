"""The benchmarks of the paper and the folders that hold them: the one home of names, aliases, sizes, subsets and averages.

Plan, evaluation, reports and doctor all ask here which folder below DATA/test is which benchmark, so they cannot disagree.
A folder is a benchmark by its exact name, else by an alias (upper or lower case, `-`, `_`, `.` and spaces aside), else, where
it only names a family such as IC15, by its number of stored images. Any other folder is a benchmark of its own.
"""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from core.data.folders import lmdbs_below
from core.data.lmdb import stored_samples
from core.errors import DataError

PUBLISHED = {  # samples (section IV-A, Table III)
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
ALIASES = {  # other folder names, of PARSeq's and CLIP4STR's archives and of other toolkits
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
SUBSETS = {  # of each family, the names that leave open which subset is meant
    "IC13": ("IC13", "ICDAR13", "ICDAR2013"),
    "IC15": ("IC15", "ICDAR15", "ICDAR2015"),
}
INSIDE = {  # benchmarks whose images are all in others too
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
FAMILIES = ("regular", "incidental", "weakly_occluded", "heavily_occluded", "low_resolution", "rotated")  # of the micro world
MICRO_AVERAGES = {"nine sets": FAMILIES, "six sets": ("regular", "incidental")}  # families that stand for their benchmarks


class BenchmarkFolder(NamedTuple):
    """A folder below DATA/test: its stored images, or why they cannot be counted."""

    path: Path
    stored: int
    problem: str


def plain(name: str) -> str:
    """A folder name without what spellings differ in."""
    return "".join(letter for letter in name.casefold() if letter not in "-_. ")


def family(name: str) -> str:
    """IC15 of IC15_1811; other benchmarks are their own family."""
    return name.split("_")[0]


def members(name: str) -> list[str]:
    """The benchmarks of a family, given by one of them or by a name of its own; none for other names."""
    families = [own for own, aliases in SUBSETS.items() if plain(name) in map(plain, aliases)]
    called = [family(name)] if name in PUBLISHED else families
    return [known for known in PUBLISHED if family(known) in called]


def spellings() -> dict[str, str]:
    """Every name that says which benchmark is meant, in its plain form, with that benchmark."""
    found = {plain(name): name for name in PUBLISHED}
    found |= {plain(alias): name for name, aliases in ALIASES.items() for alias in aliases}
    for names in SUBSETS.values():
        found |= {plain(f"{alias}_{PUBLISHED[name]}"): name for alias in names for name in members(alias)}
    return found


SPELLINGS = spellings()


def canonical(folder: str, stored: Callable[[], int | None]) -> str:
    """The benchmark that a folder below DATA/test holds; its own name where it is none of the paper's.

    Args:
        stored: its number of stored images (None: not known), only asked for the name of a family.
    """
    if folder in PUBLISHED:
        return folder
    if plain(folder) in SPELLINGS:
        return SPELLINGS[plain(folder)]
    subsets = members(folder)
    images = stored() if subsets else None
    return next((name for name in subsets if PUBLISHED[name] == images), folder)


def benchmarks_of(data: Path) -> dict[str, Path]:
    """The folders below DATA/test by the benchmark that each holds, sorted by benchmark; hidden folders are left out.

    Raises:
        DataError: there is none, or two hold the same benchmark.
    """
    root = Path(data) / "test"
    found: dict[str, list[Path]] = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if not folder.name.startswith(".") and lmdbs_below(folder):
            name = canonical(folder.name, lambda folder=folder: count(folder).stored)
            found.setdefault(name, []).append(folder)
    for name, folders in found.items():
        if len(folders) > 1:
            raise DataError(f"{root}: {held_twice(name, [folder.name for folder in folders])}")
    if not found:
        raise DataError(f"{root}: no benchmark here; expected test/<benchmark>/data.mdb")
    return {name: found[name][0] for name in sorted(found)}


def count(folder: Path) -> BenchmarkFolder:
    """A folder below DATA/test and its stored images, read from num-samples alone."""
    try:
        return BenchmarkFolder(folder, sum(map(stored_samples, lmdbs_below(folder))), "")
    except DataError as error:
        return BenchmarkFolder(folder, 0, str(error))


def held_twice(name: str, folders: Sequence[str]) -> str:
    """What to do about folders that hold the same benchmark."""
    return f"{' and '.join(folders)} are both {name}: keep one below test/ and move the other out, or rename it to what it is"


def absence(name: str) -> str:
    """Why nothing fills a column of benchmark `name`: no folder is called so, nor as any of its aliases."""
    others = list(ALIASES.get(name, ()))
    if family(name) in SUBSETS and name in PUBLISHED:
        others.append(f"{family(name)} with {PUBLISHED[name]:,} images")
    return f"no folder test/{name}" + (f" (nor {', '.join(others)})" if others else "")


def unknown(name: str, stored: int) -> str:
    """What to say of a folder that holds no benchmark of the paper."""
    said = f"test/{name} ({stored:,} images) is no benchmark of the paper and is read under its own name"
    if subsets := members(name):
        sizes = " and ".join(f"{subset} {PUBLISHED[subset]:,}" for subset in subsets)
        return f"{said}; by size it would be one of {sizes}: rename it to the one it is"
    close = get_close_matches(plain(name), SPELLINGS, n=1)
    return f"{said}; the closest name is {SPELLINGS[close[0]]}" if close else said


def distinct(benchmarks: Iterable[str]) -> set[str]:
    """Benchmarks without those whose images another of them holds too: no image is counted as two."""
    named = set(benchmarks)
    return {name for name in named if named.isdisjoint(INSIDE.get(name, ()))}
