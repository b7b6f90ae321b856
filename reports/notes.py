"""The sentences under a table: what its numbers are, and what they are not."""

import pandas as pd

from reports.averages import images_of
from reports.layout import Column, Layout
from reports.stats import RESAMPLES, Agreement


def notes_of(
    layout: Layout,
    runs: pd.DataFrame,
    columns: list[Column],
    averaged: list[Column],
    cells: pd.DataFrame,
    rows: pd.DataFrame,
    agreement: Agreement | None,
) -> tuple[str, ...]:
    """All notes of a table, plain text."""
    if not averaged:
        return tuple(note for note in (unmeasured(layout, cells), missing(rows)) if note)
    several = len(runs.seeds.iloc[0].split()) > 1
    notes = [accuracy(cells, columns, several), average(columns, averaged), paired(layout, rows, several)]
    notes += [scored(runs), parameters(runs), timed(columns), cleaned(layout), ours(rows), missing(rows)]
    notes += [ordering(averaged, agreement, runs.scale.iloc[0])]
    return tuple(note for note in notes if note)


def accuracy(cells: pd.DataFrame, columns: list[Column], several: bool) -> str:
    counts = []
    for column in columns:
        n = cells[cells.column == column.name].n.max()
        if not column.average and n > 0:
            counts.append(f"{column.heading} {int(n):,}")
    seeds = "; means over seeds, whose own standard deviation stands apart" if several else ""
    return f"Word accuracy in per cent, ± half of Wilson's 95 % interval over images ({', '.join(counts)}){seeds}."


def average(columns: list[Column], averaged: list[Column]) -> str:
    text = []
    for column in columns:
        if column.average:
            text.append(f"{column.name}: all images of {', '.join(column.benchmarks)} together")
            text[-1] += f" (the paper's {column.average}: {images_of(column.average):,} images)"
    if len(averaged) > 1:
        text.append(f"mean: plain mean of {', '.join(column.heading for column in averaged)}")
    return "; ".join(text)[:1].upper() + "; ".join(text)[1:] + "." if text else ""


def paired(layout: Layout, rows: pd.DataFrame, several: bool) -> str:
    if rows.p.notna().sum() == 0:
        return ""
    n = int(rows.n.max())
    least, most = rows.detectable.min(), rows.detectable.max()
    shown = f"{least:.1f}" if f"{least:.1f}" == f"{most:.1f}" else f"{least:.1f} to {most:.1f}"
    seeds = " of the first seed" if several else ""
    return (
        f"Difference: in points to {layout.baseline} on the {n:,} pooled images of those columns, with the 95 % interval of a "
        f"paired bootstrap over images ({RESAMPLES:,} resamples) and the exact McNemar p-value{seeds} after Holm's correction "
        f"within the table. So many images show a difference of {shown} points (row by row: it depends on how many images the "
        "two read differently) in 80 of 100 studies; smaller ones may be missed."
    )


def scored(runs: pd.DataFrame) -> str:
    which = "output listed" if runs.output.nunique() > 1 else f"{runs.output.iloc[0]} branch"
    return f"Scored: the {which}, after refinement; published values carry the protocol as_published."


def parameters(runs: pd.DataFrame) -> str:
    layers = "as listed" if runs.layers.nunique() > 1 else runs.layers.iloc[0]
    return f"#Params: learnable parameters of the encoders; layers of image/text tower: {layers}."


def timed(columns: list[Column]) -> str:
    if not any(column.fact == "milliseconds" for column in columns):
        return ""
    return (
        "Time: milliseconds an image to read test words at their own lengths, on the device and with the batch that each run's "
        "reading_time.json names; the published time is that of one A100, so compare rows, not columns."
    )


def cleaned(layout: Layout) -> str:
    return f"Labels: those of labels/{layout.labels}, instead of the stored ones." if layout.labels else ""


def ours(rows: pd.DataFrame) -> str:
    return "Rows marked (ours) are not in the paper." if rows.ours.any() else ""


def missing(rows: pd.DataFrame) -> str:
    left = [f"{row}: {reason}" for row, reason in rows.reason.items() if reason]
    return f"Without numbers: {'; '.join(left)}." if left else ""


def unmeasured(layout: Layout, cells: pd.DataFrame) -> str:
    if any("fact" not in entry for entry in layout.columns):
        return "No benchmark of this table was measured on this data."
    return "Measured here, with the published values below." if cells.value.notna().any() else "Nothing was measured yet."


def ordering(averaged: list[Column], agreement: Agreement | None, scale: str) -> str:
    if agreement is None:
        return "Fewer than three rows have both measured and published values, so the orderings are not compared."
    over = " and ".join(filter(None, [", ".join(c.heading for c in averaged[:-1]), averaged[-1].heading]))
    text = (
        f"Ordering of the {agreement.n} row means over {over} against the published ones: Kendall's tau {agreement.tau:.2f} "
        f"(p {agreement.p:.2g})."
    )
    return text if scale == "paper" else text + " Compare micro results with the paper in ordering only, never cell by cell."
