"""A table as Markdown: measured beside published, then what the numbers are."""

import re
from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from reports.render.grid import Entry, Grid, Head, explanation, measured, others, peers
from reports.render.text import MISSING
from reports.table import Table

EMPHASIS = {0: "{}", 1: "**{}**", 2: "*{}*"}  # best bold, second best in italics


def markdown(table: Table, level: int = 1) -> str:
    """The whole table.

    Args:
        level: level of its heading, 1 for a document of its own.
    """
    hashes = "#" * level
    layout, entries = table.layout, measured(table)
    legend = " ".join(explanation(table, entries)).replace("underlined", "italics")
    title, about, data = map(without_tags, (layout.title, layout.about, table.data))
    parts = [f"{hashes} {title}", about, f"Scale **{table.scale}**, data: {data}, seeds: {table.seeds}."]
    rows = [f"{row} (ours)" if table.rows.ours[row] else row for row in table.rows.index]
    notes = "\n".join(f"- {without_tags(note)}" for note in (*table.notes, legend) if note)
    parts += [grid(as_words(entries, rows, measured_text)), notes]
    paper = as_words({replace(head, note=""): entries[head] for head in entries}, rows, published_text)
    paper = paper.loc[(paper != "").any(axis=1), (paper != "").any()]
    if len(paper):
        parts += [f"{hashes}# Published", grid(paper)]
    for title, apart in (("Published, other methods", others(table)), ("Peer readers, measured here", peers(table))):
        if apart:
            first, *rest = apart
            names = [entry.text for entry in apart[first]]
            frame = as_words({head: apart[head] for head in rest}, names, lambda entry: entry.text or entry.published)
            parts += [f"{hashes}# {title}", grid(frame.rename_axis("method"))]
    return "\n\n".join(parts) + "\n"


def as_words(entries: Grid, rows: list[str], text_of: Callable[[Entry], str]) -> pd.DataFrame:
    """Entries as a frame of ready-made cells.

    Args:
        text_of: a function from an entry to its text.
    """
    words = {heading(head): [text_of(entry) for entry in column] for head, column in entries.items()}
    return pd.DataFrame(words, index=pd.Index(rows, name="row"))


def heading(head: Head) -> str:
    return f"{head.title} ({head.note})" if head.note else head.title


def measured_text(entry: Entry) -> str:
    """A number with its mark and interval, or a dash."""
    if not entry.text:
        return MISSING if entry.reason else ""
    return " ".join(filter(None, [EMPHASIS[entry.rank].format(entry.text), entry.spread]))


def published_text(entry: Entry) -> str:
    return EMPHASIS[entry.published_rank].format(entry.published) if entry.published else ""


def grid(frame: pd.DataFrame) -> str:
    """A frame of ready-made cells; their numbers are left as they are written. A name's | or line break ends no cell."""
    return cells(frame).to_markdown(disable_numparse=True, colalign=["left", *["right"] * len(frame.columns)])


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose every text stays in its cell."""
    return frame.map(one_cell).rename(index=one_cell, columns=one_cell)


def one_cell(text: str) -> str:
    return " ".join(without_tags(text).split("\n")).replace("|", "\\|")


def without_tags(text: str) -> str:
    """Text whose < and & begin no HTML, which renderers would drop or replace; what stands in backticks is code already."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"&(?=#?\w+;)", "&amp;", part) for part in parts[::2]]
    parts[::2] = [re.sub(r"<(?=[A-Za-z/!?])", "&lt;", part) for part in parts[::2]]
    return "`".join(parts)
