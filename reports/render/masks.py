"""Table I: the decoder's attention masks as the model's code makes them, beside those that the paper prints."""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from core.errors import ReportError
from core.files import ROOT
from reports.collect.stored import damaged, read_json
from reports.render.tex import escaped
from reports.render.write import write_texts

PUBLISHED = ROOT / "reports" / "published" / "table_I.csv"
TITLE = "Table I: attention masks"
ABOUT = "An output (row) may read a context position (column) where the entry is 0, not where it is −∞ (Eq. 4)."
KINDS = {"ar": "left-to-right AR", "cloze": "cloze", "random": "random"}


@dataclass(frozen=True)
class Mask:
    """One mask.

    Args:
        kind: a key of KINDS.
        allowed: whether an output (row) may read a context position (column).
        published: printed in the paper, not made here.
    """

    kind: str
    allowed: pd.DataFrame
    published: bool = False

    @property
    def heading(self) -> tuple[str, str]:
        """Kind and origin; the order of reading, where there is one."""
        order = order_of(self.allowed)
        title = KINDS[self.kind] + (" (as published)" if self.published else "")
        return title, f"order {' '.join(order)}" if order else "no order"

    def entries(self) -> pd.DataFrame:
        """0 and −∞, as printed."""
        return self.allowed.replace({True: "0", False: "−∞"})


def order_of(allowed: pd.DataFrame) -> list[str] | None:
    """The order of reading that a mask stands for; None where it stands for none.

    In an order every output reads [B] and exactly the letters before it, so the outputs sort by how much they read.
    """
    order = list(allowed.sum(axis=1).sort_values(kind="stable").index)
    for place, output in enumerate(order):
        if set(allowed.columns[allowed.loc[output]]) != {"[B]", *order[:place]}:
            return None
    return order


def read_masks(path: Path) -> list[Mask]:
    """The masks that core.figures.masks wrote."""
    fix = f"make it again with python -m core.figures.masks --out {path}"
    if not path.is_file():
        raise ReportError(f"{path} is missing; {fix}")
    content = read_json(path, fix)
    with damaged(path, fix):
        names = [entry["name"] for entry in content["masks"]]
        if names != list(KINDS):
            raise ReportError(
                f"{path}: masks {', '.join(map(str, names)) or 'none'}; expected {', '.join(KINDS)}, in this order"
            )
        outputs, context = content["outputs"], content["context"]
        frames = [pd.DataFrame(entry["allowed"], outputs, context, dtype=bool) for entry in content["masks"]]
    return [Mask(kind, frame) for kind, frame in zip(KINDS, frames, strict=True)]


def published_masks() -> list[Mask]:
    """The masks that the paper prints, of three letters."""
    frame = pd.read_csv(PUBLISHED, index_col=["mask", "output"]).astype(bool)
    return [Mask(kind, frame.loc[kind], published=True) for kind in KINDS]


def gathered(path: Path) -> tuple[list[Mask], str]:
    """The masks to show, those of the paper that ours differ from after them, and a sentence on how they compare."""
    made, printed = read_masks(path), {mask.kind: mask for mask in published_masks()}
    letters = made[0].allowed.shape[1] - 1
    if letters != printed["ar"].allowed.shape[1] - 1:
        return made, f"The paper prints masks of 3 letters; these are of {letters}."
    same = [mask for mask in made if mask.allowed.equals(printed[mask.kind].allowed)]
    others = [mask for mask in made if mask not in same]
    text = f"Equal to the paper's: {', '.join(KINDS[mask.kind] for mask in same) or 'none'}."
    for mask in others:
        text += f" Not equal: {KINDS[mask.kind]}" + (", another order was drawn." if mask.kind == "random" else ".")
    return made + [printed[mask.kind] for mask in others], text


def markdown(path: Path) -> str:
    """Table I as Markdown, one small table per mask."""
    masks, compared = gathered(path)
    parts = [f"# {TITLE}", f"{ABOUT} {compared}"]
    for mask in masks:
        title, order = mask.heading
        parts += [f"**{title}**, {order}", mask.entries().rename_axis("output").to_markdown(disable_numparse=True)]
    return "\n\n".join(parts) + "\n"


def latex(path: Path) -> str:
    """Table I as a float, one tabular per mask, for a document that uses booktabs."""
    masks, compared = gathered(path)
    number, _, title = TITLE.removeprefix("Table ").partition(": ")
    lines = [
        r"\begin{table}[htbp]",
        r"\centering\small",
        rf"\renewcommand{{\thetable}}{{{number}}}",
        rf"\caption[{title.capitalize()}]{{\textbf{{{title.capitalize()}.}} {tex(ABOUT)} {tex(compared)}}}\smallskip",
        r"\label{tab:table_I}",
        r"\par\lineskip=8pt\lineskiplimit=8pt",
    ]
    for mask in masks:
        columns = mask.allowed.shape[1]
        lines += [
            rf"\begin{{tabular}}[t]{{@{{}}l*{{{columns}}}{{r}}@{{}}}}",
            *(rf"\multicolumn{{{1 + columns}}}{{@{{}}l@{{}}}}{{{tex(text)}}} \\" for text in mask.heading),
            r"\toprule",
            " & ".join(["", *map(tex, mask.allowed.columns)]) + r" \\",
            r"\midrule",
            *(" & ".join(map(tex, [output, *row])) + r" \\" for output, row in mask.entries().iterrows()),
            r"\bottomrule",
            r"\end{tabular}\hspace{1.5em}",
        ]
    return "\n".join([*lines, r"\end{table}", ""])


def tex(text: str) -> str:
    """Text for LaTeX, its letters y1, y2, ... and −∞ as formulas."""
    words = []
    for word in text.split():
        if re.fullmatch(r"y\d+", word):
            words.append(f"$y_{{{word[1:]}}}$")
        else:
            words.append(r"$-\infty$" if word == "−∞" else escaped(word))
    return " ".join(words)


def html(path: Path) -> str:
    """Table I for a page of any style: one table per mask, with a caption and headers of rows and columns."""
    masks, compared = gathered(path)
    lines = ['<section id="table_I">', f"<h2>{escape(TITLE)}</h2>", f"<p>{escape(f'{ABOUT} {compared}')}</p>"]
    for mask in masks:
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in mask.allowed.columns)
        lines += ["<table>", f"<caption>{escape(', '.join(mask.heading))}</caption>"]
        lines += [f'<thead><tr><th scope="col">output</th>{head}</tr></thead>', "<tbody>"]
        for output, row in mask.entries().iterrows():
            cells = "".join(f"<td>{entry}</td>" for entry in row)
            lines.append(f'<tr><th scope="row">{escape(output)}</th>{cells}</tr>')
        lines += ["</tbody>", "</table>"]
    return "\n".join([*lines, "</section>", ""])


def tidy(path: Path) -> pd.DataFrame:
    """One line per entry: mask, output, context, allowed, published (empty where the paper prints other letters)."""
    printed = {mask.kind: mask.allowed.stack() for mask in published_masks()}
    frames = []
    for mask in read_masks(path):
        frame = mask.allowed.stack().rename("allowed").rename_axis(["output", "context"]).astype(int)
        known = printed[mask.kind].reindex(frame.index) if len(printed[mask.kind]) == len(frame) else None
        frames.append(frame.reset_index().assign(mask=mask.kind, published=None if known is None else known.astype(int).values))
    return pd.concat(frames)[["mask", "output", "context", "allowed", "published"]]


def make_masks(path: Path, folder: Path) -> list[Path]:
    """Write table_I.md, .tex, .html and .csv into `folder`."""
    texts = {"md": markdown(path), "tex": latex(path), "html": html(path), "csv": tidy(path).to_csv(index=False)}
    return write_texts(folder / "table_I", texts)
