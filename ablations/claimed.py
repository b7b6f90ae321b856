"""The files that the ledgers of claims depend on: predictions and times of the tables that claims name."""

from pathlib import Path

from ablations.plan.plan import Plan
from reports.claims.claim import ledger_paths, read_ledger


def claimed_results(plan: Plan, checkout: str = "") -> list[Path]:
    """Predictions and times of every table that a claim names: also of its other rows, which show training noise.

    Args:
        checkout: what leads from the working directory to the checkout's files, see the Snakefile.

    Raises:
        ReportError: a ledger cannot be used.
    """
    tables = {table for path in ledger_paths() for table, _ in read_ledger(path).rows}
    return [path for table in plan.tables if table in tables for path in (*plan.inputs(table), *plan.words_of(table, checkout))]
