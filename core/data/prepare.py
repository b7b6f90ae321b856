"""Convert published word images into the LMDB layout that training and evaluation read.

python -m core.data.prepare IIIT5K data/test/IIIT5k --split test

docs/data-formats.md shows a tiny example of each source format. Whatever cannot be read or used raises DataError, which
names it; an OUT that exists raises FileExistsError.
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
from dataclasses import dataclass
from pathlib import Path

from core.charset import not_a_word
from core.cli import add_workers, at_least
from core.data.content import content_digest
from core.data.convert.formats import FORMATS, guess
from core.data.convert.lists import SCRIPTS
from core.data.convert.load import CROP_FORMS, EXIF, Load, ask_for_exif, source_size
from core.data.convert.parts import Parts, make_parts
from core.data.convert.source import Item, LeftOut, Listing, SourceOptions, numbered_lines
from core.data.lmdb import write_lmdb
from core.errors import DataError, UserError, user_errors
from core.files import file_digest, write_json

SCRIPT_BEFORE = re.compile(f"({'|'.join(SCRIPTS)}),.+")  # as in ICDAR MLT, where it is no part of the word


@dataclass(frozen=True)
class Filter:
    """Selects the words of a source that are used.

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
            raise UserError(f"--match {self.match!r} is not a regular expression: {error}") from error

    def __call__(self, entries: Listing) -> Iterator[Item | LeftOut]:
        """The entries; those that are not used become LeftOut with the reason."""
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
            return "label is not valid Unicode"
        if reason := not_a_word(item.label):
            return reason
        if SCRIPT_BEFORE.fullmatch(item.label):
            return "script name before the word"
        if self.subset is not None and number not in self.subset:
            return "not in the subset"
        if self.match is not None and not re.fullmatch(self.match, item.label):
            return "label does not match"
        return None


def printable(text: str) -> str:
    """The text with lone surrogates escaped, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_subset(path: Path) -> frozenset[int]:
    """The numbers in an index list, one per line, from 1; DataError for any other line and for a number that repeats."""
    numbers: set[int] = set()
    for line, text in numbered_lines(path):
        if not text.strip().isdecimal() or int(text) < 1 or int(text) in numbers:
            raise DataError(f"{path}, line {line}: expected a number from 1 that is not listed yet, found {text!r}")
        numbers.add(int(text))
    return frozenset(numbers)


def fingerprint_entries(entries: Sequence[Item | LeftOut]) -> str:
    """16 hex digits that change with what the source lists, with place, size and time of an image file, and with an LMDB."""
    digest, files = hashlib.sha256(), set()
    for entry in entries:
        digest.update(repr((entry.key, entry.label, entry.box) if isinstance(entry, Item) else entry).encode())
        if isinstance(entry, Item) and entry.file not in files:
            files.add(entry.file)
            in_lmdb = entry.number is not None
            digest.update((content_digest(entry.file / "data.mdb") if in_lmdb else str(file_facts(entry.file))).encode())
    return digest.hexdigest()[:16]


def file_facts(file: Path) -> tuple:
    """What tells a source's image file from one that replaces it: place, size, and time of the last write."""
    return str(file), source_size(file), file.stat().st_mtime_ns if file.is_file() else None


def prepare(
    sources: Sequence[Path],
    out: Path,
    format_name: str | None = None,
    *,
    options: SourceOptions | None = None,
    keep: Filter | None = None,
    load: Load | None = None,
    workers: int = 1,
    command: str = "",
) -> dict:
    """Convert sources of one format, one after the other, into an LMDB; returns what OUT/prepare.json holds.

    Args:
        format_name: a key of FORMATS; None: guessed from the files.
        load: settings for cutting images; None takes the format's default.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; remove it or name another OUT")
    if workers < 1:
        raise DataError(f"--workers {workers}: take 1 or more")
    name = format_name or format_of(sources)
    entries = list_entries(sources, name, options or SourceOptions(), keep or Filter())
    load = load or Load(pad=FORMATS[name].pad)
    ask_for_exif(entries, load.exif)
    job = {"format": name, "source_fingerprint": fingerprint_entries(entries), "listed": len(entries), **vars(load)}
    parts = Parts(out, job)
    whole = parts.folder / "whole"
    written = write_lmdb(whole, parts.samples(make_parts(parts, entries, load, workers)))
    left_out, changed = parts.left_out(), parts.changed()
    if not written:
        shutil.rmtree(parts.folder)
        raise DataError(f"{sources[0]}: none of {len(entries)} words can be used ({reasons_for(left_out)}); is --images right?")
    counts = dict(sorted(Counter(entry.reason for entry in left_out).items()))
    report = {
        "command": command,
        "sources": [str(source) for source in sources],
        **job,
        "written": written,
        "fingerprint": file_digest(whole / "data.mdb"),
        "changed": {change: {"count": count, "first": first} for change, (count, first) in sorted(changed.items())},
        "left_out": {"counts": counts, "samples": [entry._asdict() for entry in left_out]},
    }
    write_json(whole / "prepare.json", report)  # before the rename, which makes the LMDB and its ledger appear together
    whole.rename(out)
    shutil.rmtree(parts.folder)  # last: if stopped before, the same command resumes from the parts
    return report


def format_of(sources: Sequence[Path]) -> str:
    """The format that all sources are in."""
    names = {guess(source) for source in sources}
    if len(names) > 1:
        raise DataError(f"sources in different formats ({', '.join(sorted(names))}): prepare each, then merge the LMDBs")
    return names.pop()


def list_entries(sources: Sequence[Path], name: str, options: SourceOptions, keep: Filter) -> list[Item | LeftOut]:
    """The entries of all sources after the filter; of several sources, keys begin with the source's name."""
    form = FORMATS[name]
    if options.split and not form.splits:
        raise DataError(f"--split {options.split}: format {name} has no splits in one source; name the folder of that split")

    if options.language and not form.languages:
        raise DataError(f"--language {options.language}: words of format {name} have no language; leave the option out")

    def listing() -> Listing:
        for source in sources:
            for entry in form.read(source, options):
                yield entry if len(sources) == 1 else entry._replace(key=f"{source.name}/{entry.key}")

    entries = list(keep(listing()))
    if keep.subset and max(keep.subset) > len(entries):
        raise DataError(f"the subset asks for number {max(keep.subset)} and the source lists {len(entries)} words")
    return entries


def reasons_for(left_out: Sequence[LeftOut]) -> str:
    """Why words were left out, the most frequent reason first, each with the first word it holds for."""
    reasons = []
    for reason, count in Counter(entry.reason for entry in left_out).most_common():
        first = next(entry for entry in left_out if entry.reason == reason)
        named = first.key if first.detail in first.key else f"{first.key} {first.detail}".strip()
        reasons.append(f"{reason}: {count} (first: {named})")
    return "; ".join(reasons)


def arguments_parser() -> argparse.ArgumentParser:
    formats = [
        textwrap.fill(form.looks, 110, initial_indent=f"  {name:14}", subsequent_indent=" " * 16)
        for name, form in FORMATS.items()
    ]
    parser = argparse.ArgumentParser(
        prog="python -m core.data.prepare",
        description="Convert published word images into an LMDB (OUT/data.mdb) with a ledger of what was left out\n"
        "(OUT/prepare.json). After an interruption the same command resumes. docs/data-formats.md shows each format.\n\n"
        "example: python -m core.data.prepare IIIT5K data/test/IIIT5k --split test",
        epilog="\n".join(["formats:", *formats]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="folder or annotation file; several are joined")
    parser.add_argument("out", type=Path, metavar="OUT", help="LMDB folder to make, e.g. data/test/IIIT5k")
    parser.add_argument("--format", choices=sorted(FORMATS), help="format of SOURCE (default: guessed from its files)")
    parser.add_argument("--images", type=Path, help="folder of the images (default: beside the annotations)")
    parser.add_argument("--split", help="split to read, train, val or test, if SOURCE holds several (coco-text: also all)")
    parser.add_argument("--subset", type=Path, help="file with the numbers of the entries to use, one per line, counted from 1")
    parser.add_argument("--match", help="regular expression that a whole label must match, e.g. '[A-Za-z0-9]+'")
    parser.add_argument(
        "--min-side", type=at_least(1), default=1, help="shortest side in pixels; smaller images are left out (default: 1)"
    )
    parser.add_argument(
        "--crop", choices=sorted(CROP_FORMS), default="png", help="format in which crops are stored (default: png)"
    )
    parser.add_argument("--pad", type=at_least(0), help="pixels by which boxes are grown (default: 0; coco-text: 2)")
    parser.add_argument(
        "--exif",
        choices=EXIF,
        help="turn images as their EXIF orientation says, or not; asked for where words are cut from such scenes (default "
        "elsewhere: apply)",
    )
    parser.add_argument(
        "--language",
        help="languages or scripts of words to use, separated by commas, or any, in formats that name them, e.g. Latin,Symbols "
        "(default: any; coco-text and open-images: english)",
    )
    coco = parser.add_argument_group("coco-text", "attributes that a word must have; 'any' for every value")
    coco.add_argument("--legibility", default="legible", help="legibility of words to use (default: legible)")
    coco.add_argument("--writing", default="machine printed", help="kind of words, or handwritten (default: machine printed)")
    add_workers(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = arguments_parser().parse_args(arguments)
    with user_errors():
        name = options.format or guess(options.sources[0])
        load = Load(options.crop, FORMATS[name].pad if options.pad is None else options.pad, options.min_side, options.exif)
        reading = SourceOptions(options.images, options.split, options.legibility, options.language, options.writing)
        keep = Filter(options.match, read_subset(options.subset) if options.subset else None)
        typed = shlex.join(["python", "-m", "core.data.prepare", *(sys.argv[1:] if arguments is None else arguments)])
        try:
            report = prepare(
                options.sources,
                options.out,
                name,
                options=reading,
                keep=keep,
                load=load,
                workers=options.workers,
                command=typed,
            )
        except KeyboardInterrupt:
            print("the same command resumes from here", file=sys.stderr)
            raise
        for reason, count in report["left_out"]["counts"].items():
            print(f"left out {count:8}  {reason}")
        for change, what in report["changed"].items():
            print(f"changed  {what['count']:8}  {change} (first: {what['first']})")
        print(f"written  {report['written']:8}  of {report['listed']} words ({name}) to {options.out}")


if __name__ == "__main__":
    main()
