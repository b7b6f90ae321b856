"""The notes below a table: what its numbers are, and what they are not."""

import json

import numpy as np

from core.data.samples import BEYOND
from core.evaluate.metrics import images_left_out
from reports.collect.predictions import read_benchmarks
from reports.collect.published import images_of
from reports.collect.runs import precisions, twins
from reports.layout import is_rendered
from reports.render.text import span_of
from reports.render.timed import timed
from reports.stats.second_training import stated_noise
from reports.table import CENTRES, Table


def notes_of(table: Table) -> tuple[str, ...]:
    """All notes of a table as plain text. A new note is a function from a Table to a sentence (or to nothing) in this list."""
    if table.averaged:
        written = [
            accuracy,
            average,
            paired,
            uncompared,
            training_noise,
            scored,
            parameters,
            rounded,
            timed,
            cleaned,
            left_out,
            computed,
            ours,
            same,
        ]
        written += [missing, unfilled, ordering]
    else:
        written = [unmeasured, timed, missing, unfilled]
    return tuple(note for write in written if (note := write(table)))


def accuracy(table: Table) -> str:
    counts = []
    for column in table.columns:
        n = table.cells[table.cells.column == column.name].n.max()
        if not column.average and n > 0:
            counts.append(f"{column.heading} {int(n):,}")
    seeds = "; means over seeds, whose own standard deviation stands apart" if several_seeds(table) else ""
    images = f" ({', '.join(counts)})" if counts else ""
    return f"Word accuracy in per cent, ± half of Wilson's 95 % interval over images{images}{seeds}."


def average(table: Table) -> str:
    text = []
    for column in table.columns:
        if column.average:
            text.append(f"{column.name}: all images of {', '.join(column.benchmarks)} together")
            paper = f"the paper's {column.average}, {images_of(column.average):,} images"
            text[-1] += f" (for {paper})" if is_rendered(table.data) else f" ({paper})"
    if len(table.averaged) > 1:
        names = [*CENTRES]
        over = ", ".join(column.heading for column in table.averaged_columns)
        text.append(f"{', '.join(names)}: plain {' and '.join(names)} of {over}")
    return "; ".join(text)[:1].upper() + "; ".join(text)[1:] + "." if text else ""


def paired(table: Table) -> str:
    rows = table.rows[table.rows.image_se.notna()]
    if rows.empty:
        return ""
    over = "the mean of this row" if len(table.averaged) > 1 else f"{table.averaged_columns[0].heading} of this row"
    known = rows.p.notna()
    seen = "images and trainings" if known.all() else "images"
    return (
        f"Difference: {over} less that of {table.layout.baseline}, in points, on the same {int(rows.n.max()):,} images, with a "
        f"95 % interval over {seen} (t, df {span_of(rows.df, 0)}); intervals are not corrected for the number of rows. Before "
        f"any correction, such a study finds differences of {span_of(rows.detectable, 1)} points in 80 of 100 cases; smaller "
        "ones may be missed. Pooled, where it differs: on all images together, each once, so weighted by images."
    )


def uncompared(table: Table) -> str:
    """Why no row has a difference, where the baseline was read and lacks a column of the mean."""
    baseline = table.layout.baseline
    lacking = [column.name for column in table.averaged_columns if np.isnan(table.cell(baseline, column.name).value)]
    if table.rows.reason[baseline] or not lacking:
        return ""
    return f"No row is compared: the baseline {baseline} has no numbers of {', '.join(lacking)}, which the mean is over."


def training_noise(table: Table) -> str:
    """Where the training noise in the intervals is from, how large it is, and where there is none."""
    compared = table.rows[table.rows.image_se.notna()]
    if compared.empty:
        return ""
    known, unknown = compared[compared.p.notna()], compared[compared.p.isna()]
    text = []
    for source, rows in known.groupby("noise", sort=False):
        which = "" if len(known) == len(rows) else f" of {', '.join(rows.index)}"
        own = "the row's own spread over seeds" if several_seeds(table) else ""
        measured = " and ".join(filter(None, [own, source]))
        text.append(f"Training noise{which}: {measured}; one training varies by {span_of(rows.noise_sd, 2)} points (sd).")
    if not several_seeds(table) and len(known):
        text.append("Every row is assumed to vary by that much from one training to the next.")
    if tested := len(known.index.difference(twins(table.runs, table.layout.baseline))):
        text.append(f"p: two-sided, from the same t, after Holm's correction for {tested} rows.")
    if known.seeds_needed.notna().any():
        text.append("Seeds: per row, with which 80 of 100 such studies would find a true difference as large as this one.")
    if len(unknown):
        which = "" if len(known) == 0 else f" of {', '.join(unknown.index)}"
        text.append(
            f"The interval{which} is about these two models, not their configurations: one training of each does not show how "
            f"much another training would differ, so there is no p. {remedy(table, list(unknown.index))} would show it."
        )
        text.append(stated_of_more(table) if len(known) == 0 else "")
    return " ".join(filter(None, text))


def remedy(table: Table, rows: list[str]) -> str:
    """What would show training noise of these rows: replicates show none of rows that decode the baseline's own run."""
    run = table.rows.run.get(table.layout.baseline)
    own = [row for row in rows if table.rows.run[row] == run]
    if not own:
        return "More seeds or --config replicates=5"
    return "Only more seeds" if len(own) == len(rows) else f"More seeds, or --config replicates=5 except for {', '.join(own)},"


def stated_of_more(table: Table) -> str:
    """That the noise which table.yaml states is not of the columns measured here."""
    stated, over = table.layout.noise_sd, ", ".join(table.averaged)
    if not stated or stated.scale != table.scale:
        return ""
    if stated_noise(table.layout, table.scale, is_rendered(table.data), table.averaged_columns):
        return ""
    return f"noise_sd in table.yaml is of the mean over all columns; of {over} alone no noise is known."


def several_seeds(table: Table) -> bool:
    return len(table.seeds.split()) > 1


def scored(table: Table) -> str:
    runs = table.runs
    which = "output listed" if runs.output.nunique() > 1 else f"{runs.output.iloc[0]} branch"
    steps = sorted({json.loads(protocol)["refine_steps"] for protocol in runs.protocol})
    refined = f"after {' or '.join(map(str, steps))} refinement step{'s' * (steps != [1])}"
    printed = "; published values carry the protocol as_published" if table.cells.published.notna().any() else ""
    return f"Scored: the {which}, {refined}{printed}."


def parameters(table: Table) -> str:
    layers = "as listed" if table.runs.layers.nunique() > 1 else table.runs.layers.iloc[0]
    return f"#Params: learnable parameters of the encoders; layers of image/text tower: {layers}."


def rounded(table: Table) -> str:
    """Which rows were trained in which precision, if they differ: a processor may lack the one that a row sets."""
    trained_in = {row: precisions(table.results, run) for row, run in table.runs.iterrows()}
    kinds = sorted(set().union(*trained_in.values()))
    if len(kinds) < 2:
        return ""
    groups = [f"{', '.join(row for row, known in trained_in.items() if kind in known)} in {kind}" for kind in kinds]
    return f"Trained in different precisions, which is part of their differences: {'; '.join(groups)}."


def cleaned(table: Table) -> str:
    return f"Labels: those of labels/{table.layout.labels}, instead of the stored ones." if table.layout.labels else ""


def left_out(table: Table) -> str:
    """How many stored images of each benchmark no row is scored on, and why."""
    measured = [run for _, run in table.runs.iterrows() if not run.reason]
    shown = {name for column in table.scored for name in column.benchmarks}
    text = []
    for name, entry in read_benchmarks(table.results, measured[0]).items() if measured else ():
        if name not in shown or "error" in entry:
            continue
        if table.layout.labels:
            entry = {**entry, "unscored": relabelled(table, name, entry)}
        if left := images_left_out(entry):
            text.append(f"{name}: {left}")
    return f"Images that count in no number: {'; '.join(text)}." if text else ""


def relabelled(table: Table, name: str, entry: dict) -> dict[str, dict]:
    """The images of a benchmark that were read and whose label in the table's own label file cannot be scored."""
    columns = [column.name for column in table.scored if column.benchmarks == (name,)]
    counts = table.cells[table.cells.column.isin(columns)].n.dropna()
    read = entry["stored"] - sum(left["count"] for why, left in entry["left_out"].items() if why != BEYOND)
    dropped = read - int(counts.max()) if len(counts) else 0
    file = f"labels/{table.layout.labels}/{name}.csv"
    return {"no label that can be scored": {"count": dropped, "examples": [file]}} if dropped > 0 else {}


def same(table: Table) -> str:
    """Rows that cannot differ from the baseline."""
    baseline = table.layout.baseline
    names = twins(table.runs, baseline)
    return f"Trained and scored exactly as {baseline}, so no measurement of its own: {', '.join(names)}." if names else ""


def computed(table: Table) -> str:
    """Averages that the paper does not print in this table."""
    names = [entry["name"] for entry in table.layout.columns if "average" in entry]
    benchmarks = [entry for entry in table.layout.columns if "paper" in entry]
    if not names or not benchmarks or table.cells.published.isna().all():
        return ""
    which = " and ".join(names)
    return f"Published {which}: by the same formula from the printed cells; this table of the paper has no such column."


def ours(table: Table) -> str:
    return "Rows marked (ours) are not in the paper." if table.rows.ours.any() else ""


def missing(table: Table) -> str:
    left = [f"{row}: {reason}" for row, reason in table.rows.reason.items() if reason]
    return f"Rows without numbers: {'; '.join(left)}." if left else ""


def unfilled(table: Table) -> str:
    """Empty cells of rows that have numbers, by reason."""
    empty = table.cells[(table.cells.reason != "") & ~table.cells.row.isin(table.rows.index[table.rows.reason != ""])]
    left = [f"{', '.join(dict.fromkeys(cells.column))}: {reason}" for reason, cells in empty.groupby("reason", sort=False)]
    return f"Empty cells: {'; '.join(left)}." if left else ""


def unmeasured(table: Table) -> str:
    if any("fact" not in entry for entry in table.layout.columns):
        return "No benchmark of this table was measured on this data."
    some = table.cells.value.notna().any()
    return "Measured here, with the published values below." if some else "Nothing was measured yet."


def ordering(table: Table) -> str:
    agreement, averaged = table.agreement, table.averaged_columns
    if agreement is None:
        return (
            "The orderings are not compared: that takes three rows with measured and published values that are not all equal."
        )
    over = " and ".join(filter(None, [", ".join(column.heading for column in averaged[:-1]), averaged[-1].heading]))
    exact = f"exact p {agreement.p:.2g}" if agreement.ties == 0 else f"permutation p {agreement.p:.2g}"
    ties = f", {agreement.ties} pair{'s' * (agreement.ties > 1)} tied" if agreement.ties else ""
    text = (
        f"Ordering of the {agreement.n} row means over {over} against the published ones: Kendall's tau {agreement.tau:.2f} "
        f"({exact}{ties})"
    )
    if not np.isnan(agreement.low):
        drawn = "seeds and images" if several_seeds(table) else "images alone, as there is one seed"
        text += f", 95 % interval {agreement.low:.2f} to {agreement.high:.2f} (bootstrap over {drawn})"
    text += "."
    if table.scale == "paper":
        return text
    return text + f" Compare {table.scale} results with the paper in ordering only, never cell by cell."
