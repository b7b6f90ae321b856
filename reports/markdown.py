"""A table as Markdown: measured beside published, then what the numbers are."""

import numpy as np
import pandas as pd

from reports.grid import Grid, as_printed, external
from reports.layout import Column
from reports.table import Table
from reports.text import MISSING, half_width, number, probability, shortened

EMPHASIS = {1: "**", 2: "*"}  # best bold, second best in italics


def markdown(table: Table, level: int = 1) -> str:
    """The whole table.

    Args:
        level: of its heading, 1 for a document of its own.
    """
    hashes = "#" * level
    layout = table.layout
    parts = [f"{hashes} {layout.title}", layout.about, f"Scale **{table.scale}**, data: {table.data}, seeds: {table.seeds}."]
    parts += [grid(measured(table)), "\n".join(f"- {note}" for note in table.notes)]
    paper = published(table)
    if len(paper):
        parts += [f"{hashes}# Published", grid(paper)]
    if len(table.others):
        parts += [f"{hashes}# Published, other methods", grid(others(table))]
    if len(table.external):
        parts += [f"{hashes}# External, measured here", grid(as_words(external(table)))]
    return "\n\n".join(parts) + "\n"


def as_words(entries: Grid) -> pd.DataFrame:
    """Entries as a frame of words; the first column is the index."""
    words = {head.title: [entry.text or entry.published for entry in column] for head, column in entries.items()}
    return pd.DataFrame(words).set_index(next(iter(words)))


def grid(frame: pd.DataFrame) -> str:
    """A frame of ready-made cells; their numbers are left as they are written."""
    return frame.to_markdown(disable_numparse=True, colalign=["left", *["right"] * len(frame.columns)])


def measured(table: Table) -> pd.DataFrame:
    """What was measured, a cell a string."""
    rows = table.rows
    frame = pd.DataFrame(index=pd.Index([f"{row} (ours)" if rows.ours[row] else row for row in rows.index], name="row"))
    if table.scored:
        for name in ("output", "layers"):
            if rows[name].nunique() > 1:
                frame[name] = list(rows[name])
        frame["#Params"] = [shortened(value) for value in rows.params]
        if table.scale != "paper":
            frame["#Params (paper scale)"] = [shortened(value) for value in rows.params_paper]
    for column in table.columns:
        frame[column.heading] = [measured_cell(table.cell(row, column.name), column) for row in rows.index]
    if len(table.averaged) > 1:
        frame["mean"] = [MISSING if np.isnan(value) else f"{value:.1f}" for value in rows["mean"]]
    if rows.difference.notna().any():
        frame["difference"] = [difference(table, row) for row in rows.index]
    return frame


def measured_cell(cell: pd.Series, column: Column) -> str:
    if np.isnan(cell.value):
        return MISSING
    mark = EMPHASIS.get(cell["rank"], "")
    text = f"{mark}{number(cell.value, column)}{mark}"
    if not np.isnan(half_width(cell)):
        text += f" ±{half_width(cell):.1f}"
    return text if np.isnan(cell.seed_sd) else f"{text} (seeds {cell.seed_sd:.1f})"


def difference(table: Table, row: str) -> str:
    if row == table.layout.baseline:
        return "baseline"
    line = table.rows.loc[row]
    if np.isnan(line.difference):
        return MISSING
    text = f"{line.difference:+.1f} [{line.diff_low:+.1f}, {line.diff_high:+.1f}], p {probability(line.p_holm)}"
    return text if np.isnan(line.seed_sd) else f"{text}, seeds ±{line.seed_sd:.1f}"


def published(table: Table) -> pd.DataFrame:
    """What the paper prints for the same rows; columns and rows it does not have are left out."""
    frame = pd.DataFrame(index=table.rows.index)
    for column in table.columns:
        cells = [table.cell(row, column.name) for row in table.rows.index]
        frame[column.name] = [published_cell(cell.published, cell.published_rank, column) for cell in cells]
    if len(table.averaged) > 1:
        frame["mean"] = ["" if np.isnan(value) else f"{value:.1f}" for value in table.rows.mean_published]
    frame = frame.loc[:, (frame != "").any()]
    return frame[(frame != "").any(axis=1)]


def published_cell(value: float, rank: int, column: Column) -> str:
    mark = EMPHASIS.get(rank, "")
    return "" if pd.isna(value) else f"{mark}{as_printed(float(value), column)}{mark}"


def others(table: Table) -> pd.DataFrame:
    """Published rows of other methods: they enter no statistic."""
    frame = table.others.set_index("method")
    columns = {column.name: column for column in table.columns if column.published}
    for name in frame.columns.intersection(list(columns)):
        frame[name] = [published_cell(value, 0, columns[name]) for value in frame[name]]
    frame = frame.fillna("").astype(str)
    return frame.loc[:, (frame != "").any()]
