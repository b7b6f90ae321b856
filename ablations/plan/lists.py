"""What a plan writes for those who read results: which run is behind each row of a table, which rows a run is trained for."""

from typing import TYPE_CHECKING

from ablations.rows import Row

if TYPE_CHECKING:
    import pandas as pd

    from ablations.plan.plan import Plan


def runs_frame(plan: "Plan", table: str) -> "pd.DataFrame":
    """The content of `<table>.runs.csv`: a table's rows with the runs that reports read."""
    import pandas as pd  # nothing else of a plan needs it, and `--help` need not wait for it

    labels, replicated = plan.layouts[table].labels, plan.replicated(table)
    root = plan.data_inputs.lasting
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
