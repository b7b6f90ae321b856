"""The sentences under a table: what its numbers are, and what they are not."""

import json
from dataclasses import dataclass

import pandas as pd

from reports.averages import images_of
from reports.layout import Column, Layout
from reports.stats import RESAMPLES, Agreement

RENDERED = "rendered micro world"  # what the plan calls its own data
TIMED_BY = ("device", "precision", "batch", "threads", "images", "mean_letters")


@dataclass(frozen=True)
class Noted:
    """What the sentences are about.

    Args:
        averaged: columns that means and differences are over.
        times: of each row what core.bench wrote; empty where it was not asked.
        trained_in: the precisions of each row's trainings.
    """

    layout: Layout
    runs: pd.DataFrame
    columns: list[Column]
    averaged: list[Column]
    cells: pd.DataFrame
    rows: pd.DataFrame
    agreement: Agreement | None
    times: dict[str, dict]
    trained_in: dict[str, set[str]]

    @property
    def seeds(self) -> int:
        return len(self.runs.seeds.iloc[0].split())


def notes_of(table: Noted) -> tuple[str, ...]:
    """All notes of a table, plain text."""
    if table.averaged:
        said = [
            accuracy,
            average,
            paired,
            scored,
            parameters,
            rounded,
            timed,
            cleaned,
            computed,
            ours,
            missing,
            unfilled,
            ordering,
        ]
    else:
        said = [unmeasured, timed, missing, unfilled]
    return tuple(note for write in said if (note := write(table)))


def accuracy(table: Noted) -> str:
    counts = []
    for column in table.columns:
        n = table.cells[table.cells.column == column.name].n.max()
        if not column.average and n > 0:
            counts.append(f"{column.heading} {int(n):,}")
    seeds = "; means over seeds, whose own standard deviation stands apart" if table.seeds > 1 else ""
    return f"Word accuracy in per cent, ± half of Wilson's 95 % interval over images ({', '.join(counts)}){seeds}."


def average(table: Noted) -> str:
    text = []
    for column in table.columns:
        if column.average:
            text.append(f"{column.name}: all images of {', '.join(column.benchmarks)} together")
            paper = f"the paper's {column.average}, {images_of(column.average):,} images"
            text[-1] += f" ({paper})" if table.runs.data.iloc[0] != RENDERED else f" (for {paper})"
    if len(table.averaged) > 1:
        text.append(f"mean: plain mean of {', '.join(column.heading for column in table.averaged)}")
    return "; ".join(text)[:1].upper() + "; ".join(text)[1:] + "." if text else ""


def paired(table: Noted) -> str:
    rows = table.rows
    if rows.p.notna().sum() == 0:
        return ""
    least, most = f"{rows.detectable.min():.1f}", f"{rows.detectable.max():.1f}"
    shown = least if least == most else f"{least} to {most}"
    seeds = " of the first seed" if table.seeds > 1 else ""
    over = ", ".join(column.heading for column in table.averaged)
    return (
        f"Difference: in points to {table.layout.baseline} on the {int(rows.n.max()):,} images of {over} together (each image "
        f"once, so weighted by images, unlike the mean), with the 95 % interval of a paired bootstrap over images "
        f"({RESAMPLES:,} resamples) and the exact McNemar p-value{seeds} after Holm's correction within the table. Before that "
        f"correction, so many images show a difference of {shown} points (it depends on how many images two rows read "
        "differently) in 80 of 100 studies; smaller ones may be missed. Intervals are not corrected for the number of rows."
    )


def scored(table: Noted) -> str:
    runs = table.runs
    which = "output listed" if runs.output.nunique() > 1 else f"{runs.output.iloc[0]} branch"
    steps = sorted({json.loads(protocol)["refine_steps"] for protocol in runs.protocol})
    refined = f"after {' or '.join(map(str, steps))} refinement step{'s' * (steps != [1])}"
    return f"Scored: the {which}, {refined}; published values carry the protocol as_published."


def parameters(table: Noted) -> str:
    layers = "as listed" if table.runs.layers.nunique() > 1 else table.runs.layers.iloc[0]
    return f"#Params: learnable parameters of the encoders; layers of image/text tower: {layers}."


def rounded(table: Noted) -> str:
    """Which rows were trained in what, where that differs: a processor may lack what a row asks for."""
    kinds = sorted(set().union(*table.trained_in.values()))
    if len(kinds) < 2:
        return ""
    groups = [f"{', '.join(row for row, found in table.trained_in.items() if kind in found)} in {kind}" for kind in kinds]
    return f"Trained with unlike rounding, which is part of their differences: {'; '.join(groups)}."


def timed(table: Noted) -> str:
    known = {row: found for row, found in table.times.items() if found}
    if not known or not any(column.fact == "milliseconds" for column in table.columns):
        return ""
    ways: dict[tuple, list[str]] = {}
    for row, found in known.items():
        ways.setdefault(tuple(found[name] for name in TIMED_BY), []).append(row)
    measured = []
    for (device, precision, batch, threads, images, letters), rows in ways.items():
        which = "" if len(ways) == 1 else f"{', '.join(rows)}: "
        sample = f"{images} test words of {letters:.1f} letters"
        measured.append(f"{which}{device}, {precision}, batch {batch}, CPU threads: {threads}, {sample}")
    return (
        f"Time: milliseconds an image, median of the repeats, nothing else running ({'; '.join(measured)}). Published: one "
        "A100, so compare rows, not columns."
    )


def cleaned(table: Noted) -> str:
    return f"Labels: those of labels/{table.layout.labels}, instead of the stored ones." if table.layout.labels else ""


def computed(table: Noted) -> str:
    """Averages that the paper does not print in this table."""
    names = [entry["name"] for entry in table.layout.columns if "average" in entry]
    benchmarks = [entry for entry in table.layout.columns if "paper" in entry]
    if not names or not benchmarks:
        return ""
    which = " and ".join(names)
    return f"Published {which}: by the same formula from the printed cells; this table of the paper has no such column."


def ours(table: Noted) -> str:
    return "Rows marked (ours) are not in the paper." if table.rows.ours.any() else ""


def missing(table: Noted) -> str:
    left = [f"{row}: {reason}" for row, reason in table.rows.reason.items() if reason]
    return f"Rows without numbers: {'; '.join(left)}." if left else ""


def unfilled(table: Noted) -> str:
    """Empty cells of rows that have numbers, by reason."""
    empty = table.cells[(table.cells.reason != "") & ~table.cells.row.isin(table.rows.index[table.rows.reason != ""])]
    left = [f"{', '.join(dict.fromkeys(cells.column))}: {reason}" for reason, cells in empty.groupby("reason", sort=False)]
    return f"Empty cells: {'; '.join(left)}." if left else ""


def unmeasured(table: Noted) -> str:
    if any("fact" not in entry for entry in table.layout.columns):
        return "No benchmark of this table was measured on this data."
    some = table.cells.value.notna().any()
    return "Measured here, with the published values below." if some else "Nothing was measured yet."


def ordering(table: Noted) -> str:
    agreement, averaged = table.agreement, table.averaged
    if agreement is None:
        return (
            "The orderings are not compared: that takes three rows with measured and published values that are not all equal."
        )
    over = " and ".join(filter(None, [", ".join(column.heading for column in averaged[:-1]), averaged[-1].heading]))
    text = (
        f"Ordering of the {agreement.n} row means over {over} against the published ones: Kendall's tau {agreement.tau:.2f} "
        f"(p {agreement.p:.2g})."
    )
    if table.runs.scale.iloc[0] == "paper":
        return text
    return text + " Compare micro results with the paper in ordering only, never cell by cell."
