"""The findings in plain words."""

from collections import Counter
from collections.abc import Sequence

from core.data.doctor.diagnosis import Diagnosis, set_of
from core.data.doctor.duplicates import Pair, inside
from core.data.doctor.images import image_facts
from core.data.doctor.labels import label_facts
from core.data.doctor.scan import Scan
from core.data.doctor.verdict import ANSWERS

SHOWN = 5  # examples a line


def set_lines(diagnosis: Diagnosis) -> list[tuple[str, str, str, str]]:
    """(set, usable of stored, fingerprint, published size) of every training set, val and benchmark."""
    lines = []
    for name, scans in diagnosis.sets.items():
        stored, usable = sum(len(found.samples) for found in scans), sum(found.usable for found in scans)
        counted = f"{usable:,}" if usable == stored else f"{usable:,} of {stored:,}"
        size = diagnosis.sizes.get(name)
        lines.append((name, counted, diagnosis.fingerprints[name], size.note if size else ""))
    return lines


def problems(found: Scan, near: Sequence[Pair]) -> list[str]:
    """What is wrong inside one LMDB, a line each; none where all is well.

    Args:
        near: its near pairs.
    """
    if found.error:
        return [f"cannot be read: {found.error}"]
    images, labels, lines = image_facts(found), label_facts(found), []
    if found.extra_keys:
        what = f"{found.extra_keys:,} keys beyond" if found.extra_keys > 0 else f"{-found.extra_keys:,} keys fewer than"
        lines.append(f"{what} num-samples and an image and a label for each")
    if images["unreadable"]:
        lines.append(f"{len(images['unreadable']):,} images cannot be decoded: {examples(images['unreadable'])}")
    for kind, count in Counter(what for _, what in images["odd"]).most_common():
        keys = ", ".join(key for key, what in images["odd"] if what == kind)
        lines.append(f"{count:,} images are {kind}, and are converted to RGB: {shortened(keys)}")
    for reason, count in sorted(labels["dropped"].items()):
        keys = [f"{key} {label[:30]!r}" for key, what, label in labels["ledger"] if what == reason]
        lines.append(f"{count:,} labels are dropped, {reason}: {shortened(', '.join(keys[:SHOWN]))}")
    if labels["characters_outside"]:
        most = " ".join(list(labels["characters_outside"])[:12])
        lines.append(f"{1 - labels['coverage']:.2%} of the characters are outside the 94 and are changed or removed: {most}")
    if images["lower_than_8_pixels"]:
        lines.append(f"{images['lower_than_8_pixels']:,} images are lower than 8 pixels")
    groups = inside(found)
    if groups:
        spare = sum(len(group) - 1 for group in groups)
        shown = "; ".join(" = ".join(map(str, group[:SHOWN])) for group in groups[:SHOWN])
        lines.append(f"{spare:,} images are copies of others of the same LMDB (keys {shown})")
    if near:
        shown = ", ".join(f"{pair.left.index} and {pair.right.index}" for pair in near[:SHOWN])
        lines.append(f"{len(near):,} pairs with equal labels look alike (keys {shown})")
    return lines


def examples(entries: list[list[str]]) -> str:
    return shortened("; ".join(f"{key} ({what})" for key, what in entries[:SHOWN]))


def shortened(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def overlap_lines(diagnosis: Diagnosis) -> list[str]:
    """What the splits share, a line for each two sets."""
    lines = []
    for (first, second), images in diagnosis.overlap.items():
        kinds = Counter(
            (pair.kind, pair.same_label)
            for pair in diagnosis.pairs
            if (set_of(pair.left.lmdb), set_of(pair.right.lmdb)) == (first, second)
        )
        names = {("exact", True): "with the same bytes", ("exact", False): "with the same bytes and another label"}
        said = ", ".join(f"{n} {names.get(kind, 'that look alike')}" for kind, n in sorted(kinds.items()))
        lines.append(f"{images} images of {second} have a copy or near copy in {first} (pairs: {said})")
    return lines


def verdict_lines(diagnosis: Diagnosis) -> list[str]:
    """A table each: whether this folder can reproduce it, and why not."""
    lines = []
    for verdict in diagnosis.verdicts:
        name = verdict.table.replace("table_", "Table ")
        part = f" (columns {', '.join(verdict.columns)}; {len(verdict.rows)} rows)" if verdict.answer == "in part" else ""
        reasons = f": {'; '.join(verdict.reasons)}" if verdict.reasons else ""
        lines.append(f"{name} {ANSWERS[verdict.answer]}{part}{reasons}")
    return lines


def summary(diagnosis: Diagnosis) -> str:
    """The whole finding as text."""
    rows = [("set", "usable images", "fingerprint", "published size"), *set_lines(diagnosis)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = ["  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]).rstrip() for row in rows]
    found = [f"{scan.name}: {line}" for scan in diagnosis.scans for line in problems(scan, diagnosis.near.get(scan.name, ()))]
    blocks = [
        ("What is there", table),
        ("Inside the LMDBs", found or ["nothing unusual: all images decode and no label is dropped"]),
        (
            "Across train, val and test",
            overlap_lines(diagnosis) or ["no image of one split is, or is like, one of another"],
        ),
        ("The paper's tables", verdict_lines(diagnosis)),
    ]
    return "\n\n".join("\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in blocks if lines)
