"""All checks of one data folder, and their results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from core.data.benchmarks import Size, benchmark_size, canonical, duplicate_message, training_size
from core.data.doctor.duplicates import Pair, across, copies_inside, near_inside
from core.data.doctor.scan import Advance, Scan, scan_all
from core.data.doctor.verdict import Needs, Verdict, judge
from core.data.folders import SPLITS, lmdbs_below
from core.data.labels import PUBLISHED_RULES, Rules
from core.data.sets import fingerprint
from core.errors import DataError

NO_IMAGES = "no data.mdb below train/, val/ or test/; a data root holds train/<set>/**/, val/**/ and test/<benchmark>/"


@dataclass
class Diagnosis:
    """The content of a data root, and what is wrong with it.

    Args:
        scans: one per LMDB, train first, then val, then test.
        pairs: samples that two splits share.
        near: near pairs inside one LMDB, by its name.
        label_files: benchmarks with a label file, by folder below labels/.
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
        sets: dict[str, list[Scan]] = {}
        for scan in self.scans:
            sets.setdefault(set_of(scan.name), []).append(scan)
        return sets

    @cached_property
    def copies(self) -> list[tuple[str, str]]:
        """LMDBs with the images and labels of an earlier one of their set, and which."""
        first: dict[tuple[str, str], str] = {}
        whole = [scan for scan in self.scans if len(scan.samples)]
        pairs = [(scan.name, first.setdefault((set_of(scan.name), scan.content), scan.name)) for scan in whole]
        return [(name, original) for name, original in pairs if name != original]

    @cached_property
    def benchmarks(self) -> dict[str, str]:
        """The benchmark that each folder below test/ holds."""
        stored = {short: count_stored(scans) for name, scans in self.sets.items() if (short := test_folder(name))}
        return {short: canonical(short, lambda images=images: images) for short, images in stored.items()}

    @cached_property
    def sizes(self) -> dict[str, Size]:
        """Every training set and benchmark beside the published one."""
        sizes = {}
        for name, scans in self.sets.items():
            split, _, short = name.partition("/")
            usable = sum(scan.usable for scan in scans)
            if broken := [scan.name for scan in scans if scan.error]:
                sizes[name] = Size(None, False, f"{', '.join(broken)} cannot be read")
            elif split == "test":
                sizes[name] = self.test_size(short, scans, usable)
            elif split == "train":
                sizes[name] = training_size(short, usable)
        return sizes

    def test_size(self, short: str, scans: list[Scan], usable: int) -> Size:
        """Size of a folder below test/ beside the published one; the note names the benchmark if the folder does not."""
        name = self.benchmarks[short]
        same = [folder for folder, other in self.benchmarks.items() if other == name]
        if len(same) > 1:
            return Size(None, False, duplicate_message(name, same))
        size = benchmark_size(name, count_stored(scans), usable, sum(scan.scored for scan in scans))
        return size if name == short else size._replace(note=f"{name}: {size.note}")

    def sizes_of(self, split: str) -> dict[str, Size]:
        """`sizes` of one split: by benchmark for test, by folder for the others."""
        short = {name: name.split("/")[1] for name in self.sizes if name.startswith(f"{split}/")}
        return {self.benchmarks[name] if split == "test" else name: self.sizes[full] for full, name in short.items()}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each set, as a run records it (one fingerprint together, if it learns from several sets)."""
        return {name: fingerprint(self.root / name) for name in self.sets}

    @cached_property
    def overlap(self) -> dict[tuple[str, str], int]:
        """How many images of the second set are also in the first, which is of an earlier split."""
        images: dict[tuple[str, str], set] = {}
        for pair in self.pairs:
            images.setdefault((set_of(pair.left.lmdb), set_of(pair.right.lmdb)), set()).add(pair.right)
        return {key: len(places) for key, places in sorted(images.items())}

    def as_dict(self) -> dict:
        """Everything, for JSON; samples are named by key."""
        return {
            "root": str(self.root),
            "sets": {
                name: {
                    "fingerprint": self.fingerprints[name],
                    "usable": sum(scan.usable for scan in scans),
                    **({"size": self.sizes[name]._asdict()} if name in self.sizes else {}),
                    **({"benchmark": self.benchmarks[short]} if (short := test_folder(name)) else {}),
                }
                for name, scans in self.sets.items()
            },
            "lmdbs": {scan.name: lmdb_facts(scan) for scan in self.scans},
            "copies": [list(pair) for pair in self.copies],
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
    return sum(len(scan.samples) for scan in scans)


def lmdb_facts(scan: Scan) -> dict:
    if scan.error:
        return {"error": scan.error}
    return {
        "stored": len(scan.samples),
        "usable": scan.usable,
        "content": scan.content,
        "keys_beyond": scan.extra_keys,
        "images": scan.image_facts(),
        "labels": scan.label_facts(),
        "duplicates": copies_inside(scan),
    }


def examine(
    root: Path,
    needs: Sequence[Needs],
    workers: int,
    advance: Advance = lambda images, total: None,
    rules: Rules = PUBLISHED_RULES,
) -> Diagnosis:
    """Check all LMDBs of a data root.

    Args:
        needs: `Needs` of the tables to give a verdict on.
        advance: called with how many more images are done, and of how many.
        rules: for labels.

    Raises:
        DataError: there is no LMDB below the root.
    """
    folders = {path.relative_to(root).as_posix(): path for split in SPLITS for path in lmdbs_below(root / split)}
    if not folders:
        raise DataError(f"{root}: {NO_IMAGES}")
    scans = scan_all(folders, workers, advance, rules)
    label_files: dict[str, set[str]] = {}
    for path in sorted((root / "labels").glob("*/*.csv")):
        label_files.setdefault(path.parent.name, set()).add(path.stem)
    near = {scan.name: pairs for scan in scans if (pairs := near_inside(scan))}
    diagnosis = Diagnosis(root, scans, across(scans), label_files=label_files, near=near)
    training, benchmarks = (diagnosis.sizes_of(split) for split in ("train", "test"))
    overlap = {}
    for (first, second), count in diagnosis.overlap.items():
        if first.startswith("train/") and second.startswith("test/"):
            overlap[first.split("/")[1], diagnosis.benchmarks[test_folder(second)]] = count
    diagnosis.verdicts = [judge(need, benchmarks, training, label_files, overlap) for need in needs]
    return diagnosis
