"""A cache file beside an LMDB with its usable samples and ledger, so that its labels are scanned only once.

The file is a cache: deleting it costs one scan, and a file that is cut off, altered, or of another database or other rules
is ignored. Where it cannot be written, labels are scanned every time.
"""

import contextlib
import hashlib
import json
import unicodedata
from pathlib import Path

import numpy as np

from core import charset as charset_module
from core.data import labels
from core.data.content import content_digest
from core.data.labels import Rules
from core.data.samples import Ledger, Samples
from core.files import atomic_file, file_digest

SMALLEST = 10_000  # stored samples; fewer are scanned as quickly as a file is read
FORMAT = 2  # version of the file; another number makes older files ignored
NUMBER, END = np.dtype("<i4"), np.dtype("<i8")


def index_file(folder: Path, rules: Rules) -> Path:
    """Where the samples under `rules` are kept: one file per set of rules."""
    name = hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:8]
    return folder / f"labels-{name}.index"


def content_key(folder: Path, rules: Rules) -> str:
    """Hex digits that change with the database, the rules or the code that applies them.

    All bytes of the database count, as they do for the fingerprint of the data (`core.data.content`).
    """
    code = [file_digest(Path(module.__file__)) for module in (charset_module, labels)]
    facts = [
        FORMAT,
        content_digest(folder / "data.mdb"),
        *rules,
        *code,
        unicodedata.unidata_version,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def load(folder: Path, rules: Rules, key: str) -> tuple[Samples, Ledger] | None:
    """Samples and ledger that `save` kept under this key, or None."""
    try:
        content = index_file(folder, rules).read_bytes()
    except OSError:
        return None
    seal, _, sealed = content.partition(b"\n")
    if seal != hashlib.sha256(sealed).hexdigest().encode():
        return None
    line, _, body = sealed.partition(b"\n")
    header = json.loads(line)
    if header["key"] != key:
        return None
    count = header["samples"]
    numbers = np.frombuffer(body, NUMBER, count)
    ends = np.frombuffer(body, END, count, numbers.nbytes)
    return Samples(numbers, ends, body[numbers.nbytes + ends.nbytes :]), Ledger.from_dict(header["ledger"])


def save(folder: Path, rules: Rules, key: str, samples: Samples, ledger: Ledger) -> None:
    """Keep samples and ledger; if several processes save at once, one whole file remains.

    Read-only folders are respected even by root; a full disk just means no cache.
    """
    header = {"key": key, "samples": len(samples), "ledger": ledger.as_dict()}
    sealed = b"\n".join(
        [
            json.dumps(header).encode(),
            samples.numbers.astype(NUMBER).tobytes() + samples.ends.astype(END).tobytes() + samples.text,
        ]
    )
    path = index_file(folder, rules)
    with contextlib.suppress(OSError):
        if folder.stat().st_mode & 0o222:
            with atomic_file(path) as partial:
                partial.write_bytes(hashlib.sha256(sealed).hexdigest().encode() + b"\n" + sealed)
