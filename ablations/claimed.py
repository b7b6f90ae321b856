"""What tables and the ledgers of claims depend on beside their own runs: the code of reports, the tables that claims name."""

import hashlib
from pathlib import Path

from ablations.plan.plan import Plan
from ablations.row_config import values_digest
from core.files import ROOT
from reports.claims.claim import ledger_paths, read_ledger

COUNTING = ("charset", "moved", "data/benchmarks", "data/labels", "data/samples")  # modules of core that decide a number


def reports_digest() -> str:
    """Changes with the code that turns predictions into tables, claims and figures: with it, they are made again."""
    ours = [path for path in (ROOT / "reports").rglob("*") if path.suffix in (".py", ".css", ".html", ".js")]
    files = [*sorted(ours), *(ROOT / "core" / f"{name}.py" for name in COUNTING)]
    return values_digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])[:16]


def claimed_results(plan: Plan, checkout: str = "") -> list[Path]:
    """Predictions and times of every table that a claim names: also of its other rows, which show training noise.

    Args:
        checkout: prefix of paths into the checkout, see `ablations.place.checkout_prefix`.

    Raises:
        ReportError: a ledger cannot be used.
    """
    tables = {table for path in ledger_paths() for table, _ in read_ledger(path).rows}
    named = [table for table in plan.tables if table in tables]
    return [path for table in named for path in (*plan.inputs(table), *plan.published_inputs(table, checkout))]
