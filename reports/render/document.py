"""A document of blocks, written as Markdown, LaTeX and HTML: the same words and numbers in each."""

import base64
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from reports.collect.flips import flips_of_table
from reports.render import masks
from reports.render.html import Pictures, fragment, page
from reports.render.latex import latex
from reports.render.markdown import cells, grid, markdown, without_tags
from reports.render.tex import escaped
from reports.render.write import write_texts
from reports.table import Table

PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper,margin=20mm]{geometry}
\usepackage{array,booktabs,graphicx,xcolor,rotating,longtable}
\setlength{\parindent}{0pt}\setlength{\parskip}{4pt}
\begin{document}
"""


class Heading(NamedTuple):
    text: str
    level: int = 2


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Items(NamedTuple):
    """A list."""

    items: Sequence[str]


class Commands(NamedTuple):
    """Lines of a shell, set as code."""

    lines: Sequence[str]


class Listing(NamedTuple):
    """A small table of ready-made words; its index is the first column.

    Args:
        widths: column widths as shares of the page, for cells that hold sentences; empty for short cells.
    """

    frame: pd.DataFrame
    widths: tuple[float, ...] = ()


class Drawing(NamedTuple):
    """A figure: `stem` with .png and .svg."""

    stem: Path
    caption: str


class Study(NamedTuple):
    """A table of the study; in HTML its cells open images."""

    table: Table


class Masks(NamedTuple):
    """Table I, from what core.figures.masks wrote."""

    path: Path


Block = Heading | Text | Items | Commands | Listing | Drawing | Study | Masks


def write_document(blocks: Sequence[Block], stem: Path) -> list[Path]:
    """Write <stem>.md, .tex and .html; the first block is the heading that names the page. Returns the paths."""
    texts = {"md": to_markdown(blocks, stem.parent), "tex": to_latex(blocks, stem.parent)}
    return write_texts(stem, texts | {"html": to_html(blocks, blocks[0].text)})


def to_markdown(blocks: Sequence[Block], folder: Path) -> str:
    """Markdown; figures are linked from `folder`, where the document goes."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text, level):
                parts.append(f"{'#' * level} {without_tags(text)}")
            case Text(text):
                parts.append(without_tags(text))
            case Items(items):
                parts.append("\n".join(f"- {without_tags(item)}" for item in items))
            case Commands(lines):
                parts.append("\n".join(["```sh", *lines, "```"]))
            case Listing(frame, widths):
                parts.append(cells(frame).to_markdown(disable_numparse=True) if widths else grid(frame))
            case Drawing(stem, caption):
                shown = without_tags(caption)
                parts.append(f"![{shown}]({linked(stem, folder)}.png)\n\n*{shown}*")
            case Study(table):
                parts.append(markdown(table, level=2).strip())
            case Masks(path):
                parts.append("#" + masks.markdown(path).strip())
    return "\n\n".join(parts) + "\n"


def to_latex(blocks: Sequence[Block], folder: Path) -> str:
    """A LaTeX document that compiles from `folder` with standard packages."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text, level):
                command = ("section*", "section", "subsection")[level - 1]
                parts.append(rf"\{command}{{{escaped(text)}}}")
            case Text(text):
                parts.append(escaped(text) + "\n")
            case Items(items):
                lines = "\n".join(rf"\item {escaped(item)}" for item in items)
                parts.append(f"\\begin{{itemize}}\n{lines}\n\\end{{itemize}}")
            case Commands(lines):
                parts.append("\n\n".join(rf"{{\ttfamily\raggedright {escaped(line)}\par}}" for line in lines))
            case Listing(frame, widths):
                parts.append(long_table(frame, widths))
            case Drawing(stem, caption):
                size = r"width=\linewidth,height=0.8\textheight,keepaspectratio"
                picture = rf"\includegraphics[{size}]{{{linked(stem, folder)}.png}}"
                parts.append(f"\\begin{{figure}}[htbp]\\centering\n{picture}\n\\caption{{{escaped(caption)}}}\n\\end{{figure}}")
            case Study(table):
                title = rf"\section{{{escaped(table.layout.title)}}}"
                parts.append(f"{title}\n{latex(table, standalone=False)}\\clearpage")
            case Masks(path):
                parts.append(masks.latex(path))
    return PREAMBLE + "\n\n".join(parts) + "\n\\end{document}\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """One page that needs no other file."""
    pictures, parts, contents = Pictures(), [], []
    for block in blocks:
        match block:
            case Heading(text, level):
                anchor = "-".join(text.lower().split())
                contents += [(anchor, text)] if level == 2 else []
                parts.append(Markup('<h{} id="{}">{}</h{}>').format(level, anchor, text, level))
            case Text(text):
                parts.append(Markup("<p>{}</p>").format(text))
            case Items(items):
                parts.append(Markup("<ul>{}</ul>").format(joined("<li>{}</li>", zip(items))))
            case Commands(lines):
                parts.append(Markup("<pre>{}</pre>").format("\n".join(lines)))
            case Listing(frame, widths):
                parts.append(plain_table(frame, bool(widths)))
            case Drawing(stem, caption):
                picture = base64.b64encode(stem.with_suffix(".png").read_bytes()).decode()
                shape = Markup('<figure><img src="data:image/png;base64,{}" alt="{}"><figcaption>{}</figcaption></figure>')
                parts.append(shape.format(picture, caption, caption))
            case Study(table):
                contents.append((table.layout.table, table.layout.title))
                parts.append(Markup(fragment(table, flips_of_table(table), pictures)))
            case Masks(path):
                contents.append(("table_I", "Table I"))
                parts.append(Markup(masks.html(path)))
    links = joined('<li><a href="#{}">{}</a></li>', contents)
    parts.insert(1, Markup("<nav><ul>{}</ul></nav>").format(links))
    return page(title, Markup("\n").join(parts), pictures)


def joined(shape: str, entries: Iterable[tuple]) -> Markup:
    """`shape` filled with each entry, escaped."""
    return Markup("").join(Markup(shape).format(*entry) for entry in entries)


def linked(stem: Path, folder: Path) -> str:
    """A figure's path as seen from the document's folder, without its suffix."""
    return Path(os.path.relpath(stem, folder)).as_posix()


def plain_table(frame: pd.DataFrame, wrapped: bool) -> Markup:
    """A frame as an HTML table that scrolls on a phone; cells keep to one line, or wrap."""
    head = joined('<th scope="col" class="word">{}</th>', ((name,) for name in (frame.index.name or "", *frame.columns)))
    lines = (
        (first, joined('<td class="word">{}</td>', ((cell,) for cell in rest))) for first, *rest in frame.itertuples(name=None)
    )
    rows = joined('<tr><th scope="row">{}</th>{}</tr>', lines)
    shape = '<div class="scroll" tabindex="0"><table{}><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    return Markup(shape).format(Markup(' class="wrapped"' if wrapped else ""), head, rows)


def long_table(frame: pd.DataFrame, widths: Sequence[float] = ()) -> str:
    """A frame as LaTeX that may break over pages; cells wrap, in columns of `widths` or all alike."""
    shares = widths or [1 / (1 + len(frame.columns))] * (1 + len(frame.columns))
    room = 1 - 0.012 * len(shares)  # the rest is space between columns
    spec = "".join(rf">{{\raggedright\arraybackslash}}p{{{room * share / sum(shares):.5f}\linewidth}}" for share in shares)
    names = " & ".join(escaped(str(name)) for name in (frame.index.name or "", *frame.columns))
    rows = [" & ".join(escaped(str(cell)) for cell in line) + r" \\" for line in frame.itertuples(name=None)]
    start = [r"{\scriptsize\setlength{\tabcolsep}{0.006\linewidth}", rf"\begin{{longtable}}{{{spec}}}", r"\toprule"]
    return "\n".join([*start, names + r" \\", r"\midrule\endhead", *rows, r"\bottomrule", r"\end{longtable}}"])
