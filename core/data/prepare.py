"""Convert published word images into the LMDB layout that training and evaluation read.

python -m core.data.prepare IIIT5K data/test/IIIT5k --split test

docs/data-formats.md shows a tiny example of each source format.
"""

import argparse
import hashlib
import re
import shlex
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.cli import add_workers, at_least
from core.data.convert.catalogue import FORMATS, Format, guess
from core.data.convert.load import CROP_FORMS, Load, source_size
from core.data.convert.parts import Parts, make_parts, parts_of
from core.data.convert.source import Item, LeftOut, Listing, Wanted, numbered_lines
from core.data.lmdb import write_lmdb
from core.errors import DataError, UserError, user_errors
from core.files import file_digest, write_json


@dataclass(frozen=True)
class Filter:
    """Which listed words are used.

    Args:
        match: a regular expression that the whole label must match.
        subset: numbers of entries, counted from 1 in the order the source lists them.
    """

    match: str | None = None
    subset: frozenset[int] | None = None

    def __post_init__(self):
        try:
            re.compile(self.match or "")
        except re.error as error:
            raise UserError(f"--match {self.match!r} is no regular expression: {error}") from error

    def __call__(self, entries: Listing) -> Iterator[Item | LeftOut]:
        """The entries, those that are not used with the reason."""
        for number, entry in enumerate(entries, start=1):
            key = printable(entry.key)
            if isinstance(entry, LeftOut):
                yield LeftOut(key, entry.reason, printable(entry.detail))
            else:
                reason = self.reason(number, entry)
                yield LeftOut(key, reason, printable(entry.label)) if reason else entry._replace(key=key)

    def reason(self, number: int, item: Item) -> str | None:
        """Why an item is not used, or None."""
        if not item.label.strip():
            return "empty label"
        if printable(item.label) != item.label:
            return "label is no valid Unicode"
        if self.subset is not None and number not in self.subset:
            return "not in the subset"
        if self.match is not None and not re.fullmatch(self.match, item.label):
            return "label does not match"
        return None


def printable(text: str) -> str:
    """The text with lone surrogates, which JSON can hold and UTF-8 cannot, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_subset(path: Path) -> frozenset[int]:
    """The numbers of an index list: one a line, from 1.

    Raises:
        DataError: a line is no such number, or one comes twice.
    """
    numbers: set[int] = set()
    for line, text in numbered_lines(path):
        if not text.strip().isdecimal() or int(text) < 1 or int(text) in numbers:
            raise DataError(f"{path}, line {line}: expected a number from 1 that is not listed yet, found {text!r}")
        numbers.add(int(text))
    return frozenset(numbers)


def fingerprint_entries(entries: Sequence[Item | LeftOut]) -> str:
    """16 hex digits that change with what the source lists, or with the size of an image file (the ends of an LMDB)."""
    digest, seen = hashlib.sha256(), set()
    for entry in entries:
        digest.update(repr((entry.key, entry.label, entry.box) if isinstance(entry, Item) else entry).encode())
        if isinstance(entry, Item) and entry.file not in seen:
            seen.add(entry.file)
            whole = entry.file / "data.mdb"
            digest.update((file_digest(whole) if entry.number is not None else str(source_size(entry.file))).encode())
    return digest.hexdigest()[:16]


def prepare(
    sources: Sequence[Path],
    out: Path,
    format_name: str | None = None,
    *,
    wanted: Wanted | None = None,
    keep: Filter | None = None,
    load: Load | None = None,
    workers: int = 1,
    command: str = "",
) -> dict:
    """Convert sources of one format, one after the other, into an LMDB; returns what OUT/prepare.json holds.

    Args:
        format_name: a key of FORMATS; None: told from the files.
        load: how images are cut; None: as the format has it.
        command: for prepare.json.

    Raises:
        DataError: a source cannot be read, or nothing in it can be used.
        FileExistsError: there is something at `out` already.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; remove it or name another OUT")
    names = {format_name or guess(source) for source in sources}
    if len(names) > 1:
        raise DataError(f"sources in different formats ({', '.join(sorted(names))}): prepare each, then merge the LMDBs")
    (name,) = names
    form = FORMATS[name]
    wanted, keep, load = wanted or Wanted(), keep or Filter(), load or Load(pad=form.pad)
    if wanted.split and not form.splits:
        raise DataError(f"--split {wanted.split}: format {name} has no splits in one source; name the folder of that split")
    if workers < 1:
        raise DataError(f"--workers {workers}: take 1 or more")
    entries = list(keep(joined(sources, form, wanted)))
    if keep.subset and max(keep.subset) > len(entries):
        raise DataError(f"the subset asks for number {max(keep.subset)} and the source lists {len(entries)} words")
    job = {
        "format": name,
        "source_fingerprint": fingerprint_entries(entries),
        "listed": len(entries),
        "crop": load.crop,
        "pad": load.pad,
        "min_side": load.min_side,
    }
    parts = Parts(out, job)
    whole = parts.folder / "whole"
    written = write_lmdb(whole, parts.samples(make_parts(parts, entries, load, workers)))
    left_out = parts.left_out(parts_of(entries))
    reasons = Counter(entry.reason for entry in left_out)
    if not written:
        shutil.rmtree(parts.folder)
        said = "; ".join(f"{reason}: {n} (first: {example(left_out, reason)})" for reason, n in reasons.most_common())
        raise DataError(f"{sources[0]}: none of {len(entries)} words can be used ({said}); are the images there, or --images?")
    report = {
        "command": command,
        "sources": [str(source) for source in sources],
        **job,
        "written": written,
        "fingerprint": file_digest(whole / "data.mdb"),
        "left_out": {
            "counts": dict(sorted(reasons.items())),
            "samples": [entry._asdict() for entry in left_out],
        },
    }
    write_json(whole / "prepare.json", report)
    whole.rename(out)
    shutil.rmtree(parts.folder)
    return report


def joined(sources: Sequence[Path], form: Format, wanted: Wanted) -> Listing:
    """The entries of all sources; where there are several, keys begin with the source's name."""
    for source in sources:
        for entry in form.read(source, wanted):
            yield entry if len(sources) == 1 else entry._replace(key=f"{source.name}/{entry.key}")


def example(left_out: Sequence[LeftOut], reason: str) -> str:
    """The first word that was left out for a reason."""
    entry = next(entry for entry in left_out if entry.reason == reason)
    return entry.key if entry.detail in entry.key else f"{entry.key} {entry.detail}".strip()


def looks(name: str, form: Format) -> str:
    """A format's lines of the help."""
    return textwrap.fill(form.looks, 110, initial_indent=f"  {name:14}", subsequent_indent=" " * 16)


def arguments_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.data.prepare",
        description="Convert published word images into an LMDB (OUT/data.mdb) with a ledger of what was left out\n"
        "(OUT/prepare.json). Interrupted, the same command goes on. docs/data-formats.md shows each format.\n\n"
        "example: python -m core.data.prepare IIIT5K data/test/IIIT5k --split test",
        epilog="formats:\n" + "\n".join(looks(name, form) for name, form in FORMATS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="folder or annotation file; several are joined")
    parser.add_argument("out", type=Path, metavar="OUT", help="LMDB folder to make, e.g. data/test/IIIT5k")
    parser.add_argument("--format", choices=sorted(FORMATS), help="format of SOURCE (default: told by its files where certain)")
    parser.add_argument("--images", type=Path, help="folder of the images (default: beside the annotations)")
    parser.add_argument("--split", help="train, val or test, where SOURCE holds several (coco-text: also all)")
    parser.add_argument("--subset", type=Path, help="file of numbers, one a line: use these entries of the source, from 1")
    parser.add_argument("--match", help="regular expression that a whole label must match, e.g. '[A-Za-z0-9]+'")
    parser.add_argument(
        "--min-side", type=at_least(1), default=1, help="leave out images of a shorter side in pixels (default: 1)"
    )
    parser.add_argument("--crop", choices=sorted(CROP_FORMS), default="png", help="how crops are stored (default: png)")
    parser.add_argument("--pad", type=at_least(0), help="pixels by which boxes are grown (default: 0; coco-text: 2)")
    coco = parser.add_argument_group("coco-text", "attributes that a word must have; 'any' for every value")
    coco.add_argument("--legibility", default="legible", help="(default: legible)")
    coco.add_argument("--language", default="english", help="(default: english)")
    coco.add_argument("--writing", default="machine printed", help="(default: 'machine printed'; or handwritten)")
    add_workers(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = arguments_parser().parse_args(arguments)
    with user_errors():
        name = options.format or guess(options.sources[0])
        load = Load(options.crop, FORMATS[name].pad if options.pad is None else options.pad, options.min_side)
        wanted = Wanted(options.images, options.split, options.legibility, options.language, options.writing)
        keep = Filter(options.match)
        if options.subset:
            keep = replace(keep, subset=read_subset(options.subset))
        typed = shlex.join(["python", "-m", "core.data.prepare", *(sys.argv[1:] if arguments is None else arguments)])
        try:
            report = prepare(
                options.sources, options.out, name, wanted=wanted, keep=keep, load=load, workers=options.workers, command=typed
            )
        except KeyboardInterrupt:
            print("the same command goes on where it was", file=sys.stderr)
            raise
        for reason, count in report["left_out"]["counts"].items():
            print(f"left out {count:8}  {reason}")
        print(f"written  {report['written']:8}  of {report['listed']} words ({name}) to {options.out}")


if __name__ == "__main__":
    main()
