"""The files that a plan writes: what jobs are called with, and which runs are behind the rows of a table."""

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from ablations.plan.plan import Plan
from ablations.plan.targets import tables_made
from ablations.rows import Row, decoding_differs_from_validation
from core.evaluate.evaluations_list import settle_evaluations_list
from core.files import write_if_changed, write_if_missing
from core.run_files import ROWS, TRAIN_GIN

if TYPE_CHECKING:
    import pandas as pd


def write_plan(plan: Plan, targets: Collection[str] = (), shared: bool = False) -> None:
    """Put down what the jobs are called with: each run's flat gin files and each table's list of runs.

    A file whose content would not change is left alone, so nothing is remade because of it.

    Args:
        targets: what Snakemake is asked for; a list of a table that they are not made of stays as it is.
        shared: write what is missing, and change nothing that is there: for a command that only looks, or beside another
            workflow.
    """
    put = write_if_missing if shared else write_if_changed
    rows = sorted(plan.rows, key=decoding_differs_from_validation, reverse=True)
    for row in {row.run: row for row in rows}.values():  # DEVICE_BATCH and its like name no other run
        put(plan.run_folder(row.run) / TRAIN_GIN, row.config.operative)
    for row in {(row.run, row.evaluation): row for row in reversed(rows)}.values():  # rows that share one: the first's
        put(plan.run_folder(row.run) / f"{row.evaluation}.gin", row.config.operative)
    for run, asking in plan.rows_by_run.items():
        put(plan.run_folder(run) / ROWS, json.dumps(rows_of_run(asking), indent=2) + "\n")
    plan.data_inputs.write({tuple(row.config.train_data) for row in plan.rows}, shared)
    made = [] if shared else tables_made(targets, plan.tables)
    for table in plan.tables:
        put = write_if_changed if table in made else write_if_missing
        put(plan.runs_csv(table), runs_frame(plan, table).to_csv(index=False))
    runs = {row.run for table in made for row in plan.tables[table]}
    for run, evaluations in plan.evaluations.items():
        for seed in plan.seeds_of(run) if run in runs else ():
            settle_evaluations_list(plan.seed_folder(run, seed), evaluations)


def runs_frame(plan: Plan, table: str) -> "pd.DataFrame":
    """The content of `<table>.runs.csv`: a table's rows with the runs that reports read."""
    import pandas as pd  # nothing else of a plan needs it, and `--help` need not wait for it

    labels, replicated = plan.layouts[table].labels, plan.replicated(table)
    root = plan.data_inputs.report_root
    return pd.DataFrame(
        {
            "row": row.name,
            "gin": row.gin,
            "run": row.run,
            "reason": row.skip_reason,
            "protocol": row.config.protocol,
            "output": row.config.output,
            "evaluation": row.evaluation,
            "params": row.counts.encoders_trainable,
            "params_paper": row.counts_paper.encoders_trainable,
            "total": row.counts.total,
            "frozen": row.counts.frozen,
            "total_paper": row.counts_paper.total,
            "frozen_paper": row.counts_paper.frozen,
            "layers": row.config.layers,
            "batch": row.config.batch,
            "scale": plan.scale,
            "seeds": " ".join(map(str, plan.seeds)),
            "replicates": " ".join(map(str, plan.replicates)) if row == replicated else "",
            "also": " ".join(name for name, other in plan.doubles[table].items() if other == row.name),
            "data": plan.data_name,
            "data_root": root.as_posix(),
            "peers": plan.peers_folder.as_posix() if plan.peers(table) else "",
            "labels": (root / "labels" / labels).as_posix() if labels else "",
        }
        for row in plan.tables[table]
    )


def rows_of_run(asking: list[tuple[str, Row]]) -> dict:
    """The content of `rows.json`: the rows that a run is trained for, for trackers and people; nothing depends on it."""
    rows = [{"table": table, "row": row.name, "evaluation": row.evaluation} for table, row in asking]
    return {"rows": rows, "name": f"{rows[0]['table']}/{rows[0]['row']}"}
