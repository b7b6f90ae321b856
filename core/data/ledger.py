"""What was left out, and why."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 20  # keys kept of each reason


@dataclass
class Ledger:
    """What was left out, and why: counts by reason and the first few keys of each."""

    counts: Counter = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, key: str) -> None:
        self.counts[reason] += 1
        keys = self.examples.setdefault(reason, [])
        if len(keys) < SHOWN:
            keys.append(key)

    def add_all(self, reason: str, keys: Iterable[str]) -> None:
        for key in keys:
            self.add(reason, key)

    def as_dict(self) -> dict:
        return {reason: {"count": n, "examples": self.examples[reason]} for reason, n in sorted(self.counts.items())}

    @classmethod
    def from_dict(cls, content: dict) -> "Ledger":
        """The ledger that `as_dict` wrote down."""
        counts = Counter({reason: entry["count"] for reason, entry in content.items()})
        return cls(counts, {reason: list(entry["examples"]) for reason, entry in content.items()})
