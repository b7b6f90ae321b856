"""The note below a table of milliseconds: on which device, on what, and beside what they were measured."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from reports.collect.runs import reading_cost, reading_time, timing_file
from reports.collect.stored import damaged
from reports.render.text import span_of
from reports.table import Table

TIMED = {  # conditions of a timing in reading_time.json, and how the note says them
    "device": "{}",
    "precision": "{}",
    "batch": "batch {}",
    "threads": "CPU threads: {}",
    "images": "{} test words",
    "mean_letters": "{:.1f} letters a word",
}


def timed(table: Table) -> str:
    """On which device, on what, and beside what milliseconds were measured."""
    if not any(column.fact == "milliseconds" for column in table.columns):
        return ""
    ways: dict[str, dict[str, float]] = {}  # for each setting the share of the processor of each row
    for row, run in table.runs.iterrows():
        with damaged(timing_file(table.results, run)):
            if cost := reading_cost(table.results, run):
                time = reading_time(table.results, run)
                way = ", ".join(in_words(time, key, words) for key, words in TIMED.items()) + f"; {beside(time)}"
                ways.setdefault(way, {})[row] = np.nan if (share := cost.get("cpu_share")) is None else float(share)
    if not ways:
        return ""
    measured = [("" if len(ways) == 1 else f"{', '.join(rows)}: ") + f"{way}; {had(rows)}" for way, rows in ways.items()]
    return (
        f"Time: milliseconds per image, median of the repeats ({'. '.join(measured)}). Published: one A100, so compare rows, "
        "not columns."
    )


def in_words(time: dict, key: str, words: str) -> str:
    """A condition of a measurement, as far as its file has it: earlier versions recorded fewer."""
    return words.format(time[key]) if key in time else f"{key.replace('_', ' ')} not recorded"


def beside(time: dict) -> str:
    """The other jobs of the workflow that were at work when something was timed."""
    if "other_jobs" not in time:
        return "other jobs of the workflow at that time: not recorded"
    jobs = time["other_jobs"]
    if jobs is None:
        return "other jobs of the workflow at that time: not known, as none on that machine started it"
    return f"other jobs of the workflow at that time: {jobs or 'none'}"


def had(rows: Mapping[str, float]) -> str:
    """The share of its threads' time for which a processor had worked for the measuring process; the rest was others'."""
    shares = pd.Series(rows)
    unknown = "not recorded" + (f" for {', '.join(shares.index[shares.isna()])}" if shares.notna().any() else "")
    known = f"{span_of(100 * shares, 0)} %" if shares.notna().any() else ""
    texts = [known, unknown if shares.isna().any() else ""]
    return f"share of the processor that the measuring process had, per thread: {', '.join(filter(None, texts))}"
