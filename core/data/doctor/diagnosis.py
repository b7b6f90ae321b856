"""Everything the doctor found in one folder of data, put together from the single checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from core.data.benchmarks import canonical, held_twice
from core.data.doctor.counts import Size, benchmark_size, training_size
from core.data.doctor.duplicates import Pair, across, inside, near_inside
from core.data.doctor.images import image_facts
from core.data.doctor.labels import label_facts
from core.data.doctor.scan import Advance, Scan, scan
from core.data.doctor.verdict import Needs, Verdict, judge
from core.data.folders import lmdbs_below
from core.data.lmdb import fingerprint
from core.errors import DataError

PARTS = ("train", "val", "test")
NO_IMAGES = "no data.mdb below train/, val/ or test/; a data root holds train/<set>/**/, val/**/ and test/<benchmark>/"


@dataclass
class Diagnosis:
    """What lies below a data root, and what is wrong with it.

    Args:
        scans: one an LMDB, train first, then val, then test.
        pairs: what two splits share. near: near pairs inside one LMDB, by its name.
        label_files: benchmarks with a CSV file, by folder below labels/.
    """

    root: Path
    scans: list[Scan]
    pairs: list[Pair]
    verdicts: list[Verdict] = field(default_factory=list)
    label_files: dict[str, set[str]] = field(default_factory=dict)
    near: dict[str, list[Pair]] = field(default_factory=dict)

    @cached_property
    def sets(self) -> dict[str, list[Scan]]:
        """LMDBs by benchmark, training set or val, named as in test/IIIT5k."""
        groups: dict[str, list[Scan]] = {}
        for found in self.scans:
            groups.setdefault(set_of(found.name), []).append(found)
        return groups

    @cached_property
    def benchmarks(self) -> dict[str, str]:
        """The benchmark that each folder of test/ holds."""
        stored = {short: count_stored(scans) for name, scans in self.sets.items() if (short := test_folder(name))}
        return {short: canonical(short, lambda images=images: images) for short, images in stored.items()}

    @cached_property
    def sizes(self) -> dict[str, Size]:
        """Every training set and benchmark beside the published one."""
        sizes = {}
        for name, scans in self.sets.items():
            split, _, short = name.partition("/")
            usable = sum(found.usable for found in scans)
            if broken := [found.name for found in scans if found.error]:
                sizes[name] = Size(None, False, f"{', '.join(broken)} cannot be read")
            elif split == "test":
                sizes[name] = self.test_size(short, scans, usable)
            elif split == "train":
                sizes[name] = training_size(short, usable)
        return sizes

    def test_size(self, short: str, scans: list[Scan], usable: int) -> Size:
        """A folder of test/ beside the benchmark it holds, which the note names where the folder does not."""
        name = self.benchmarks[short]
        same = [folder for folder, other in self.benchmarks.items() if other == name]
        if len(same) > 1:
            return Size(None, False, held_twice(name, same))
        size = benchmark_size(name, count_stored(scans), usable, sum(found.scored for found in scans))
        return size if name == short else size._replace(note=f"{name}: {size.note}")

    def sizes_of(self, split: str) -> dict[str, Size]:
        """`sizes` of one split: of test by benchmark, of others by folder name."""
        short = {name: name.split("/")[1] for name in self.sizes if name.startswith(f"{split}/")}
        return {self.benchmarks[name] if split == "test" else name: self.sizes[full] for full, name in short.items()}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Of each set, as a run records it (a run that learns from several sets records theirs together)."""
        return {name: fingerprint(self.root / name) for name in self.sets}

    @cached_property
    def overlap(self) -> dict[tuple[str, str], int]:
        """Images of the second set that the first, of an earlier split, holds as well."""
        images: dict[tuple[str, str], set] = {}
        for pair in self.pairs:
            images.setdefault((set_of(pair.left.lmdb), set_of(pair.right.lmdb)), set()).add(pair.right)
        return {key: len(found) for key, found in sorted(images.items())}

    def as_dict(self) -> dict:
        """For JSON: everything, samples by key."""
        return {
            "root": str(self.root),
            "sets": {
                name: {
                    "fingerprint": self.fingerprints[name],
                    "usable": sum(found.usable for found in scans),
                    **({"size": self.sizes[name]._asdict()} if name in self.sizes else {}),
                    **({"benchmark": self.benchmarks[short]} if (short := test_folder(name)) else {}),
                }
                for name, scans in self.sets.items()
            },
            "lmdbs": {found.name: lmdb_facts(found) for found in self.scans},
            "overlap": [{"first": one, "second": other, "images": n} for (one, other), n in self.overlap.items()],
            "pairs": [pair._asdict() for pair in self.pairs],
            "near_inside": [pair._asdict() for pairs in self.near.values() for pair in pairs],
            "tables": [vars(verdict) for verdict in self.verdicts],
        }


def set_of(lmdb: str) -> str:
    """The set an LMDB belongs to: train/real of train/real/IC15, val of val/IC15."""
    parts = lmdb.split("/")
    return parts[0] if parts[0] == "val" else "/".join(parts[:2])


def test_folder(name: str) -> str:
    """The folder of a set below test/; empty for sets of other splits."""
    return name.removeprefix("test/") if name.startswith("test/") else ""


def count_stored(scans: list[Scan]) -> int:
    return sum(len(found.samples) for found in scans)


def lmdb_facts(found: Scan) -> dict:
    if found.error:
        return {"error": found.error}
    return {
        "stored": len(found.samples),
        "usable": found.usable,
        "content": found.content,
        "keys_beyond": found.extra_keys,
        "images": image_facts(found),
        "labels": label_facts(found),
        "duplicates": inside(found),
    }


def examine(root: Path, needs: Sequence[Needs], workers: int, advance: Advance = lambda images, total: None) -> Diagnosis:
    """Look through all LMDBs of a data root.

    Args:
        needs: of the tables to give a verdict on.
        advance: told how many more images are done, and of how many.

    Raises:
        DataError: there is nothing to look at.
    """
    scans = scan(lmdbs_of(root), workers, advance)
    near = {found.name: pairs for found in scans if (pairs := near_inside(found))}
    diagnosis = Diagnosis(root, scans, across(scans), label_files=labels_of(root), near=near)
    training, benchmarks = (diagnosis.sizes_of(split) for split in ("train", "test"))
    overlap = {}
    for (first, second), count in diagnosis.overlap.items():
        if first.startswith("train/") and second.startswith("test/"):
            overlap[first.split("/")[1], diagnosis.benchmarks[test_folder(second)]] = count
    diagnosis.verdicts = [judge(need, benchmarks, training, diagnosis.label_files, overlap) for need in needs]
    return diagnosis


def lmdbs_of(root: Path) -> dict[str, Path]:
    """Every LMDB of a data root by its name below it.

    Raises:
        DataError: there is none.
    """
    found = {}
    for part in PARTS:
        found |= {path.relative_to(root).as_posix(): path for path in lmdbs_below(root / part)}
    if not found:
        raise DataError(f"{root}: {NO_IMAGES}")
    return found


def labels_of(root: Path) -> dict[str, set[str]]:
    folders: dict[str, set[str]] = {}
    for path in sorted((root / "labels").glob("*/*.csv")):
        folders.setdefault(path.parent.name, set()).add(path.stem)
    return folders
