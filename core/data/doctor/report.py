"""The doctor's findings in sections, and their two renderings: plain text, and a page with thumbnails."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined
from tabulate import tabulate

from core.data.doctor.diagnosis import Diagnosis, set_of
from core.data.doctor.duplicates import Pair, Place, copies_inside
from core.data.doctor.scan import Scan
from core.data.doctor.verdict import ANSWERS
from core.data.lmdb import ImageLmdb
from core.errors import DataError, UnreadableImage

EXAMPLES = 5  # named in a line
HEIGHT, WIDTH = 48, 240  # pixels of a thumbnail, at most
LINE = 200  # characters, at most
MOST = 200  # groups of thumbnails per section; JSON has them all


@dataclass(frozen=True)
class Section:
    """One part of the findings.

    Args:
        lines: sentences.
        table: rows of cells, the header first.
        samples: samples to look at, as (what is noteworthy, their places); the page alone shows them.
    """

    title: str
    lines: list[str] = field(default_factory=list)
    table: list[tuple[str, ...]] = field(default_factory=list)
    samples: list[tuple[str, list[Place]]] = field(default_factory=list)


def sections_of(diagnosis: Diagnosis) -> list[Section]:
    """All findings in a data root, in the order in which they are read."""
    scans = diagnosis.scans
    problems = [f"{scan.name}: {line}" for scan in scans for line in lmdb_problems(scan, diagnosis.near.get(scan.name, ()))]
    problems += [f"{one} holds the same as {other}: each of its images counts twice" for one, other in diagnosis.copies]
    dropped = [(f"dropped: {one.what}", [Place(scan.name, one.index)]) for scan in scans for one in scan.dropped]
    copies = [("", [Place(scan.name, index) for index in group[:8]]) for scan in scans for group in copies_inside(scan)]
    near = [pair_to_show(pair) for pairs in diagnosis.near.values() for pair in pairs]
    overlap = overlap_lines(diagnosis) or ["no image of one split is in another, nor one like it"]
    return [
        Section("What is there", table=set_table(diagnosis)),
        Section("Inside the LMDBs", problems or ["nothing unusual: all images decode and no label is dropped"]),
        Section("Labels that the rules drop", samples=dropped),
        Section("The same bytes more than once", samples=copies),
        Section("Alike, under the same label", samples=near),
        Section("Across train, val and test", overlap, samples=[pair_to_show(pair) for pair in diagnosis.pairs]),
        Section("The paper's tables", verdict_lines(diagnosis)),
    ]


def as_text(sections: Sequence[Section]) -> str:
    blocks = []
    for section in sections:
        table = tabulate(section.table, headers="firstrow", tablefmt="plain", disable_numparse=True) if section.table else ""
        if lines := [*table.splitlines(), *section.lines]:
            blocks.append("\n".join([section.title, *(f"  {line}".rstrip() for line in lines)]))
    return "\n\n".join(blocks)


def as_page(title: str, sections: Sequence[Section], scans: Sequence[Scan]) -> str:
    """A page that needs no other file."""
    lmdbs = {scan.name: scan.path for scan in scans}

    def shown(place: Place) -> dict[str, str]:
        """A sample for the page: where it lies, its label, its picture (empty where it cannot be decoded)."""
        lmdb = ImageLmdb(lmdbs[place.lmdb])
        (raw,) = lmdb.raw_samples(place.index, place.index, ("label",))
        try:
            picture = thumbnail(lmdb, place.index)
        except (UnreadableImage, DataError):
            picture = ""
        return {
            "where": f"{place.lmdb} {place.index}",
            "label": (raw.label or b"")[:200].decode("utf-8", "replace"),
            "picture": picture,
        }

    # Labels are anybody's text: everything is escaped, and a name that the template misspells is an error.
    environment = Environment(
        loader=PackageLoader("core.data.doctor", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["shown"] = shown
    return environment.get_template("report.html").render(title=title, sections=sections, most=MOST)


def thumbnail(lmdb: ImageLmdb, index: int) -> str:
    """An image as a data URI."""
    image = lmdb.image(index)
    image.thumbnail((WIDTH, HEIGHT))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def pair_to_show(pair: Pair) -> tuple[str, list[Place]]:
    alike = f": {pair.distance} bits apart, correlation {pair.alike}" if pair.kind == "near" else ""
    return f"{pair.kind}{alike}{'' if pair.same_label else ', other label'}", [pair.left, pair.right]


def set_table(diagnosis: Diagnosis) -> list[tuple[str, ...]]:
    """Every training set, val and benchmark: usable of stored images, fingerprint, size beside the published one.

    Below a set of several LMDBs stand these, with their own images.
    """
    rows = [("set", "usable images", "fingerprint", "published size")]
    for name, scans in diagnosis.sets.items():
        size = diagnosis.sizes.get(name)
        rows.append((name, counted_of(scans), diagnosis.fingerprints[name], size.note if size else ""))
        if len(scans) > 1:
            rows += [(f"  {scan.name.removeprefix(f'{name}/')}", counted_of([scan]), "", "") for scan in scans]
    return rows


def counted_of(scans: Sequence[Scan]) -> str:
    """Usable of stored images."""
    stored, usable = sum(len(scan.samples) for scan in scans), sum(scan.usable for scan in scans)
    return f"{usable:,}" if usable == stored else f"{usable:,} of {stored:,}"


def lmdb_problems(scan: Scan, near: Sequence[Pair]) -> list[str]:
    """The problems inside one LMDB, one line per kind; `near` are its near pairs."""
    if scan.error:
        return [f"cannot be read: {scan.error}"]
    images, labels, lines = scan.image_facts(), scan.label_facts(), []
    if scan.extra_keys:
        what = f"{scan.extra_keys:,} keys beyond" if scan.extra_keys > 0 else f"{-scan.extra_keys:,} keys fewer than"
        lines.append(f"{what} num-samples and an image and a label for each")
    if unreadable := images["unreadable"]:
        named = "; ".join(f"{key} ({what})" for key, what in unreadable[:EXAMPLES])
        lines.append(f"{len(unreadable):,} images cannot be decoded: {shortened(named)}")
    for kind, count in Counter(what for _, what in images["odd"]).most_common():
        keys = ", ".join(key for key, what in images["odd"] if what == kind)
        lines.append(f"{count:,} images are {kind} ({shortened(keys)})")
    for reason, count in sorted(labels["dropped"].items()):
        keys = [f"{key} {label[:30]!r}" for key, what, label in labels["ledger"] if what == reason]
        lines.append(f"{count:,} labels are dropped, {reason}: {shortened(', '.join(keys[:EXAMPLES]))}")
    if labels["characters_outside"]:
        most = " ".join(list(labels["characters_outside"])[:12])
        lines.append(f"{1 - labels['coverage']:.2%} of the characters are outside the charset, changed or removed: {most}")
    if images["lower_than_8_pixels"]:
        lines.append(f"{images['lower_than_8_pixels']:,} images are lower than 8 pixels")
    if groups := copies_inside(scan):
        spare = sum(len(group) - 1 for group in groups)
        keys = "; ".join(" = ".join(map(str, group[:EXAMPLES])) for group in groups[:EXAMPLES])
        lines.append(f"{spare:,} images are copies of others of the same LMDB (keys {keys})")
    if near:
        keys = ", ".join(f"{pair.left.index} and {pair.right.index}" for pair in near[:EXAMPLES])
        lines.append(f"{len(near):,} pairs with equal labels look alike (keys {keys})")
    return lines


def shortened(text: str) -> str:
    return text if len(text) <= LINE else text[: LINE - 3] + "..."


def overlap_lines(diagnosis: Diagnosis) -> list[str]:
    """The images that splits share, one line per pair of sets."""
    names = {("exact", True): "with the same bytes", ("exact", False): "with the same bytes and another label"}
    lines = []
    for (first, second), images in diagnosis.overlap.items():
        kinds = Counter(
            (pair.kind, pair.same_label)
            for pair in diagnosis.pairs
            if (set_of(pair.left.lmdb), set_of(pair.right.lmdb)) == (first, second)
        )
        pairs = ", ".join(f"{n} {names.get(kind, 'that look alike')}" for kind, n in sorted(kinds.items()))
        lines.append(f"{images} images of {second} have a copy or near copy in {first} (pairs: {pairs})")
    return lines


def verdict_lines(diagnosis: Diagnosis) -> list[str]:
    """One line per table: whether this folder can reproduce it, and why not."""
    lines = []
    for verdict in diagnosis.verdicts:
        name = verdict.table.replace("table_", "Table ")
        part = f" (columns {', '.join(verdict.columns)}; {len(verdict.rows)} rows)" if verdict.answer == "in part" else ""
        reasons = f": {'; '.join(verdict.reasons)}" if verdict.reasons else ""
        lines.append(f"{name} {ANSWERS[verdict.answer]}{part}{reasons}")
    return lines
