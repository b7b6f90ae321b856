"""A table as LaTeX: booktabs, what the paper prints in grey below what was measured, other methods set apart."""

from string import ascii_lowercase

from reports.render.grid import SET, Entry, Grid, Head, explanation, measured, others, peers
from reports.render.tex import escaped
from reports.table import Table

MARKS = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}  # as the paper marks best and second best
FILL = 0.62  # of the text's height for the rows, the rest for caption and notes
LONG, SHORT = 750, 510  # points of a page with narrow margins
LETTER, GAP, LINE = 4.6, 12, 10.5  # points, at the size the rows are set in

DOCUMENT = r"""\documentclass{article}
\usepackage[a4paper,%s,margin=15mm]{geometry}
\usepackage{booktabs,graphicx,xcolor}
\setlength{\parindent}{0pt}
\pagestyle{empty}
\begin{document}
%s
\end{document}
"""


class Footnotes:
    """Letters for the reasons why cells are empty, in order of appearance."""

    def __init__(self):
        self.letters: dict[str, str] = {}

    def letter(self, reason: str) -> str:
        """The letter of a reason, the same wherever it is given: a to z, then aa."""
        if reason not in self.letters:
            more, last = divmod(len(self.letters), 26)
            self.letters[reason] = (ascii_lowercase[more - 1] if more else "") + ascii_lowercase[last]
        return self.letters[reason]

    def lines(self) -> list[str]:
        return [rf"\textsuperscript{{{letter}}} {escaped(reason)}." for reason, letter in self.letters.items()]


def latex(table: Table, standalone: bool = True) -> str:
    """The table as a document that compiles by itself, or as a float for one that uses booktabs, graphicx, xcolor, rotating.

    Best is bold and second best underlined; a missing cell has a letter whose footnote says why. A wide table lies on its
    side; what is still wider or higher than the page is scaled to fit.
    """
    grid, apart = measured(table), {"published only": others(table), "peer readers, measured here": peers(table)}
    body, footnotes = rows(table, grid)
    lines = [r"\toprule", *heading(grid), r"\midrule", *body]
    for title, rows_apart in apart.items():
        if rows_apart:
            lines += [r"\midrule", *set_apart(grid, rows_apart, title)]
    spec = "l" + "".join(r"r@{\,}l" if wide(entries) else "r" if head.numeric else "l" for head, entries in grid.items())
    notes = [escaped(note) for note in (about(table, grid), *table.notes)] + footnotes.lines()
    lies = on_its_side(table, grid, len(lines))
    sideways = lies and not standalone
    name, height = ("sidewaystable", "width") if sideways else ("table", "height")
    result = "\n".join(
        [
            rf"\edef\heightofrows{{\the\dimexpr{FILL}\text{height}\relax}}",
            rf"\begin{{{name}}}[htbp]",
            r"\centering\setlength{\belowcaptionskip}{6pt}",
            *caption(table),
            r"\small",
            rf"\sbox0{{\begin{{tabular}}{{@{{}}{spec}@{{}}}}",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}%",
            r"\ifdim\wd0>\linewidth\sbox0{\resizebox{\linewidth}{!}{\usebox0}}\fi",
            r"\ifdim\dimexpr\ht0+\dp0>\heightofrows\sbox0{\resizebox*{!}{\heightofrows}{\usebox0}}\fi",
            r"\usebox0\par\medskip",
            r"\begin{minipage}{\linewidth}\scriptsize\raggedright",
            "\\par\n".join(notes),
            r"\end{minipage}",
            rf"\end{{{name}}}",
        ]
    )
    return DOCUMENT % ("landscape" if lies else "portrait", result) if standalone else result + "\n"


def on_its_side(table: Table, grid: Grid, lines: int) -> bool:
    """Whether the rows would have to shrink less on a page that lies on its side, by an estimate of their size."""
    letters = max(map(len, table.rows.index), default=0)
    width = letters * LETTER + GAP
    for head, entries in grid.items():
        texts = max(len(entry.text) + 0.8 * len(entry.spread) for entry in entries)
        width += max(texts, len(head.title), 0.8 * len(head.note)) * LETTER + GAP
    upright = min(1, SHORT / width, FILL * LONG / (lines * LINE))
    return min(1, LONG / width, FILL * SHORT / (lines * LINE)) > upright


def about(table: Table, grid: Grid) -> str:
    """The text above the table: what the numbers are, and the key to its typography."""
    text = [f"Scale {table.scale}, data: {table.data}, seeds: {table.seeds}.", *explanation(table, grid)]
    return " ".join([*text, "Grey: as published."] if table.cells.published.notna().any() else text)


def caption(table: Table) -> list[str]:
    """Title and subject; a table of the paper keeps its number."""
    title, number = table.layout.title, table.layout.table.removeprefix("table_")
    kept = []
    if title.startswith(f"Table {number}: "):
        title = title.removeprefix(f"Table {number}: ")
        kept = [rf"\renewcommand{{\thetable}}{{{escaped(number)}}}"]
    title = escaped(title[:1].upper() + title[1:])
    full = rf"\caption[{{{title}}}]{{\textbf{{{title}.}} {escaped(table.layout.about)}}}\smallskip"
    return [*kept, full, rf"\label{{tab:{table.layout.table}}}"]


def wide(entries: list[Entry]) -> bool:
    """Whether a column has intervals: they have a column of their own, so that numbers stand below each other."""
    return any(entry.spread for entry in entries)


def heading(grid: Grid) -> list[str]:
    """Titles, and on a second line what fills the columns here."""
    lines = [" & ".join(["row", *(over(escaped(head.title), entries) for head, entries in grid.items())]) + r" \\"]
    if any(head.note for head in grid):
        notes = [rf"\scriptsize {escaped(head.note)}" if head.note else "" for head in grid]
        lines.append(" & ".join(["", *(over(note, grid[head]) for note, head in zip(notes, grid, strict=True))]) + r" \\")
    return lines


def over(text: str, entries: list[Entry]) -> str:
    return rf"\multicolumn{{2}}{{c}}{{{text}}}" if wide(entries) else text


def rows(table: Table, grid: Grid) -> tuple[list[str], Footnotes]:
    """Two lines per row: what was measured, and in grey what the paper prints."""
    footnotes, lines = Footnotes(), []
    for place, row in enumerate(table.rows.index):
        name = escaped(f"{row} (ours)" if table.rows.ours[row] else row)
        above = [name, *(measured_text(entries[place], wide(entries), footnotes) for entries in grid.values())]
        below = [grey("published"), *(published_text(entries[place], wide(entries)) for entries in grid.values())]
        lines.append(" & ".join(above))
        if any(entries[place].published for entries in grid.values()):
            lines[-1] += r" \\"
            lines.append(" & ".join(below))
        lines[-1] += r" \\[2pt]"
    return lines, footnotes


def measured_text(entry: Entry, paired: bool, footnotes: Footnotes) -> str:
    """A number and its interval in small, or a dash with a letter."""
    text = MARKS[entry.rank].format(escaped(entry.text)) if entry.text else ""
    if entry.reason:
        text = rf"--\textsuperscript{{{footnotes.letter(entry.reason)}}}"
    return f"{text} & " + (rf"\scriptsize {escaped(entry.spread)}" if entry.spread else "") if paired else text


def published_text(entry: Entry, paired: bool) -> str:
    text = grey(MARKS[entry.published_rank].format(escaped(entry.published))) if entry.published else ""
    return f"{text} & " if paired else text


def grey(text: str) -> str:
    return rf"\scriptsize\color{{black!60}}{text}"


def set_apart(grid: Grid, apart: Grid, title: str) -> list[str]:
    """Rows of other methods: who, in the room of the columns that only our rows have, then their numbers."""
    heads = list(grid)
    keys = [head.key for head in heads]
    first = min((keys.index(head.key) for head in apart if head.key in keys), default=len(keys))
    before, after = (sum(1 + wide(grid[head]) for head in part) for part in (heads[:first], heads[first:]))
    words = [(head, entries) for head, entries in apart.items() if not head.numeric]
    numbers = {head.key: entries for head, entries in apart.items() if head.numeric}
    lines = [rf"\multicolumn{{{1 + before + after}}}{{@{{}}l}}{{\emph{{{title}}}}} \\"]
    for place in range(len(next(iter(apart.values())))):
        name, *details = filter(None, (word(head, entries[place]) for head, entries in words))
        who = rf"{escaped(name)} {{\scriptsize {escaped(', '.join(details))}}}" if details else escaped(name)
        values = [
            published_text(numbers[head.key][place] if head.key in numbers else Entry(), wide(grid[head]))
            for head in heads[first:]
        ]
        lines.append(" & ".join([rf"\multicolumn{{{1 + before}}}{{@{{}}l}}{{{who}}}", *values]) + r" \\")
    return lines


def word(head: Head, entry: Entry) -> str:
    """The entry of a method in a column of words; for a column of marks, what is marked."""
    return head.title if entry.text == SET else entry.text
