"""A table as a grid of formatted entries, shared by LaTeX and HTML: which columns are shown, and the text of each cell."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.columns import Column
from reports.render.text import number, probability, shortened, signed
from reports.stats.intervals import LEVEL
from reports.table import CENTRES, Table

TWO_MODELS = "these two models"  # what an interval over images alone is about
NO_NOISE = "no measure of training noise: one seed, or a run shared with the baseline"
TOO_FEW_IMAGES = "these images cannot show a difference as small as this one, however many seeds there are"
UNCOMPARED = "its images and the baseline's were not both read"
FLAG = {"", "1", "1.0", "True"}
SET = "yes"


@dataclass(frozen=True)
class Head:
    """One column as it is shown.

    Args:
        key: tells columns apart; of a column of the layout its name.
        note: the benchmark that fills it here, if the title does not name it.
        numeric: False for columns of words.
        best_first: True where a larger number is better, or nothing is.
    """

    key: str
    title: str
    note: str = ""
    numeric: bool = True
    best_first: bool = True


@dataclass(frozen=True)
class Entry:
    """The content of one cell of the grid.

    Args:
        text: the number or word; empty where there is none.
        spread: its interval, and in brackets its standard deviation over seeds.
        rank: 1 best, 2 second best, 0 else; so `published_rank`.
        reason: why `text` is empty.
        number: the value to sort by; nan for words and empty cells.
        details: sentences that explain the number.
        interval: ends to be drawn, in points.
        image_interval: the part of it that images make; None where the rest is not known.
        apart: whether it is marked as significant.
    """

    text: str = ""
    spread: str = ""
    rank: int = 0
    published: str = ""
    published_rank: int = 0
    reason: str = ""
    number: float = np.nan
    details: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    image_interval: tuple[float, float] | None = None
    apart: bool = False


Grid = dict[Head, list[Entry]]  # one entry per row of the table


def measured(table: Table) -> Grid:
    """The table's columns in order: what tells rows apart, sizes, cells, mean, the comparison with the baseline."""
    rows, grid = table.rows, {}
    if table.scored:
        for name in ("output", "layers"):
            if rows[name].nunique() > 1:
                grid[Head(name, name, numeric=False)] = [Entry(text=str(word)) for word in rows[name]]
        grid[Head("params", "#Params")] = [size(count) for count in rows.params]
        if table.scale != "paper":
            grid[Head("params_paper", "#Params", "paper scale")] = [size(count) for count in rows.params_paper]
    for column in table.columns:
        note = column.heading.removeprefix(column.name).strip(" ()")
        head = Head(column.name, column.name, note, best_first=column.higher_is_better is not False)
        grid[head] = [cell(table.cell(row, column.name), column) for row in rows.index]
    if len(table.averaged) > 1:
        for name in CENTRES:
            grid[Head(name, name)] = [centre(line, name) for _, line in rows.iterrows()]
    if rows.difference.notna().any():
        for name, (title, note, entry_of, shown) in COMPARISON.items():
            if shown(rows):
                note = TWO_MODELS if name == "difference" and rows.p.isna().all() else note
                head = Head(name, title, note, best_first=name not in ("p", "seeds_needed"))
                grid[head] = [entry_of(table, rows.loc[row]) for row in rows.index]
    return grid


def explanation(table: Table, grid: Grid) -> list[str]:
    """The key to the table's typography (bold, italics, ...), as far as the table uses it; not for published numbers."""
    entries = [entry for column in grid.values() for entry in column]
    sentences = []
    if any(entry.rank or entry.published_rank for entry in entries):
        sentences.append("Bold: best of a column; underlined: second best.")
    if table.cells.seed_sd.notna().any():
        sentences.append("In brackets: standard deviation over seeds.")
    return sentences


def others(table: Table) -> Grid:
    """Published rows of other methods: words first, then the columns that have numbers."""
    columns = {column.name: column for column in table.columns if column.published and column.name in table.others}
    grid: Grid = {}
    words_first = ["method", *table.others.columns.drop(["method", *columns])]
    for name in words_first:
        words = table.others[name].fillna("").astype(str)
        title = str(name).replace("_", " ")
        if set(words) <= FLAG and name != "method":  # a mark rather than a word
            words = words.map(lambda word: "" if word == "" else SET)
        if words.any():
            grid[Head(str(name), title, numeric=False)] = [Entry(text=word) for word in words]
    for name, column in columns.items():
        values = table.others[name].astype(float)
        if values.notna().any():
            head = Head(name, name, best_first=column.higher_is_better is not False)
            grid[head] = [Entry(published=as_printed(value, column), number=value) for value in values]
    return grid


def peers(table: Table) -> Grid:
    """Peer readers that were measured here: who, then accuracy with half of its interval."""
    frame = table.peers
    if frame.empty:
        return {}
    grid: Grid = {Head("method", "method", numeric=False): [Entry(text=name) for name in frame.method]}
    for name in frame.columns.drop("method"):
        grid[Head(name, name)] = [
            Entry(published=f"{value.value:.1f} ±{(value.high - value.low) / 2:.1f}", number=value.value) if value else Entry()
            for value in frame[name]
        ]
    return grid


def size(count: float) -> Entry:
    return Entry(text=shortened(count), number=float(count), details=(f"{int(count):,} learnable parameters",))


def cell(line: pd.Series, column: Column) -> Entry:
    """A cell of the layout's columns."""
    rank, published_rank = int(line["rank"]), int(line.published_rank)
    published = as_printed(line.published, column)
    if np.isnan(line.value):
        return Entry(published=published, published_rank=published_rank, reason=line.reason)
    text, spread, details = number(line.value, column), "", []
    if not np.isnan(line.low):
        spread = f"±{(line.high - line.low) / 2:.1f}"
        seeds = "one seed" if line.seeds == 1 else f"mean of {int(line.seeds)} seeds"
        details = [f"95 % interval {line.low:.1f} to {line.high:.1f}", f"{int(line.n):,} images", seeds]
    if not pd.isna(line.seed_sd):
        spread += f" ({line.seed_sd:.1f})"
        details.append(f"standard deviation over seeds {line.seed_sd:.2f}")
    return Entry(text, spread, rank, published, published_rank, number=line.value, details=tuple(details))


def as_printed(value: float, column: Column) -> str:
    """A published number; costs with the digits they are printed with, not with those that are measured here."""
    if pd.isna(value):
        return ""
    return f"{float(value):,.6g}" if column.fact else number(float(value), column)


def centre(line: pd.Series, name: str) -> Entry:
    """One of CENTRES of a row, over the averaged columns."""
    value, published = line[name], line[f"{name}_published"]
    published = "" if np.isnan(published) else f"{published:.1f}"
    if np.isnan(value):
        return Entry(published=published, reason=line.reason or "a column of it is missing")
    return Entry(text=f"{value:.1f}", published=published, number=value)


def difference(table: Table, line: pd.Series) -> Entry:
    """A row's difference to the baseline in points, with its interval; without training noise it is of two models alone."""
    if np.isnan(line.difference):
        return Entry(reason=line.reason or UNCOMPARED)
    if line.name == table.layout.baseline:
        return Entry(text="baseline", number=0.0)
    known = not np.isnan(line.p)
    spread = f"[{signed(line.diff_low)}, {signed(line.diff_high)}]"
    details = [
        f"95 % interval {signed(line.diff_low)} to {signed(line.diff_high)} points",
        f"{int(line.n):,} images",
        f"such a study can show differences of {line.detectable:.1f} points and more",
        f"standard error {line.image_se:.2f} from images and {line.training_se:.2f} from training, df {line.df:.0f}"
        if known
        else f"of {TWO_MODELS}: no measure of training noise",
    ]
    if not known and table.rows.p.notna().any():
        spread += f" {TWO_MODELS}"
    if not np.isnan(line.seed_sd):
        spread += f" ({line.seed_sd:.1f})"
        details.append(f"standard deviation over seeds {line.seed_sd:.2f}")
    return Entry(
        signed(line.difference),
        spread,
        number=line.difference,
        details=tuple(details),
        interval=(line.diff_low, line.diff_high),
        image_interval=image_interval(line) if known else None,
        apart=bool(line.p_holm < LEVEL),
    )


def image_interval(line: pd.Series) -> tuple[float, float]:
    """The part of a difference's interval that images alone make, in points."""
    reach = (line.diff_high - line.diff_low) / 2 * line.image_se / np.hypot(line.image_se, line.training_se)
    return line.difference - reach, line.difference + reach


def p_value(table: Table, line: pd.Series) -> Entry:
    """Holm's p of a row; below a thousandth only that, the number among the details."""
    if np.isnan(line.p_holm):
        if line.name == table.layout.baseline:
            return Entry()
        return Entry(reason=line.reason or (UNCOMPARED if np.isnan(line.difference) else NO_NOISE))
    text = "< 0.001" if line.p_holm < 0.001 else probability(line.p_holm)
    details = (f"two-sided, {line.df:.0f} df: {probability(line.p)}", f"after Holm's correction {probability(line.p_holm)}")
    return Entry(text=text, number=line.p_holm, details=details)


def seeds(table: Table, line: pd.Series) -> Entry:
    """The seeds per row that would decide an undecided difference."""
    if np.isnan(line.seeds_needed):
        return Entry()
    if np.isinf(line.seeds_needed):
        return Entry(reason=TOO_FEW_IMAGES)
    details = ("80 % power for a true difference as large as this one",)
    return Entry(f"{line.seeds_needed:.0f}", number=line.seeds_needed, details=details)


def pooled(table: Table, line: pd.Series) -> Entry:
    """The difference on all images together, in points."""
    if np.isnan(line.pooled) or line.name == table.layout.baseline:
        return Entry()
    return Entry(signed(line.pooled), number=line.pooled, details=("difference on all images together, weighted by images",))


COMPARISON: dict[str, tuple[str, str, Callable[[Table, pd.Series], Entry], Callable[[pd.DataFrame], bool]]] = {
    # a column for each statistic of stats.compare that tables show: title, note, entry of a row, and whether it has any
    "difference": ("difference", "", difference, lambda rows: True),
    "p": ("p", "Holm", p_value, lambda rows: rows.p.notna().any()),
    "seeds_needed": ("seeds", "to decide", seeds, lambda rows: rows.seeds_needed.notna().any()),
    "pooled": ("pooled", "", pooled, lambda rows: ((rows.pooled - rows.difference).abs() >= 0.05).any()),
}
