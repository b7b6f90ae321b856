"""What identifies a file of data: all of its bytes, read once and remembered.

The ends of an LMDB are not enough: one that is built anew with corrected labels of the same lengths has the same size and the
same first and last pages. A large file's digest is kept in the user's cache, and counts as long as the file's place, inode,
size and times stay as they were; where nothing can be kept, it is read every time.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from core.files import atomic_file, json_text

REMEMBERED = 64 << 20  # bytes; a smaller file is read faster than anybody waits for
SHOWN = 1 << 30  # bytes; a larger one shows how far it is read
CHUNK = 1 << 22  # bytes


def content_digest(file: Path) -> str:
    """16 hex digits of all bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    facts = file.stat()
    if facts.st_size < REMEMBERED:
        return read_digest(file, facts.st_size)
    known = [facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
    try:
        note = note_of(file)
    except RuntimeError:  # no home folder, as in some containers: nothing can be kept
        return read_digest(file, facts.st_size)
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(note.read_text())
        if kept["file"] == known:
            return str(kept["digest"])
    digest = read_digest(file, facts.st_size)
    with contextlib.suppress(OSError), atomic_file(note) as partial:
        partial.write_text(json_text({"file": known, "digest": digest}))
    return digest


def note_of(file: Path) -> Path:
    """Where a file's digest is kept, named after its place, which may be no text in UTF-8.

    Raises:
        RuntimeError: there is no home folder.
    """
    return cache_folder() / f"{hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:16]}.json"


def cache_folder() -> Path:
    """Where digests are kept: below XDG_CACHE_HOME, by default ~/.cache.

    Raises:
        RuntimeError: there is no home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clip4str-ablations" / "digests"


def read_digest(file: Path, size: int) -> str:
    digest = hashlib.sha256()
    console = Console(stderr=True)
    with file.open("rb") as data, Progress(console=console, transient=True, disable=size < SHOWN) as bar:
        task = bar.add_task(f"reading {file} once, to know it again", total=size)
        while chunk := data.read(CHUNK):
            digest.update(chunk)
            bar.update(task, advance=len(chunk))
    return digest.hexdigest()[:16]
