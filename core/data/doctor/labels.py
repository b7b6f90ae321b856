"""The labels of an LMDB: lengths, characters, and a ledger by sample of what the label rules drop."""

from collections import Counter

from core.charset import CHARSET_94
from core.data.doctor.scan import Scan


def label_facts(scan: Scan) -> dict:
    """What there is to say of the labels; the ledger has every dropped sample: key, reason, label as stored."""
    outside = Counter({character: n for character, n in scan.characters.items() if character not in CHARSET_94})
    total = sum(scan.characters.values())
    return {
        "kept": sum(scan.lengths.values()),
        "scored": scan.scored,
        "lengths": {str(length): scan.lengths[length] for length in sorted(scan.lengths)},
        "characters_used": sum(character in scan.characters for character in CHARSET_94),
        "characters_outside": dict(outside.most_common()),
        "coverage": 1 - sum(outside.values()) / total if total else None,
        "dropped": dict(Counter(found.what for found in scan.dropped)),
        "ledger": [[f"label-{found.index:09d}", found.what, found.label] for found in scan.dropped],
    }
