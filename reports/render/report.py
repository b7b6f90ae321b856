"""The parts of the report, and its three files: every table and figure in one document."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import ReportError
from reports.build import build
from reports.claims.claim import ledger_paths
from reports.claims.judged import judged_ledgers
from reports.claims.results import StudyResults
from reports.claims.shown import claim_blocks
from reports.figures import FIGURES
from reports.layout import drawable
from reports.render.appendix import appendix
from reports.render.document import Block, Drawing, Heading, Items, Listing, Masks, Study, Text
from reports.table import Table


def overview(tables: list[Table]) -> Listing:
    """One line per table: rows, those with numbers, baseline, agreement with the paper's ordering."""
    lines = {}
    for table in tables:
        agreement = table.agreement
        interval = "" if agreement is None or np.isnan(agreement.low) else f" [{agreement.low:.2f}, {agreement.high:.2f}]"
        tau = "" if agreement is None else f"{agreement.tau:.2f}{interval} (p {agreement.p:.2g}, {agreement.n} rows)"
        measured = set(table.cells.row[table.cells.value.notna()])
        lines[table.layout.title] = {
            "rows": str(len(table.rows)),
            "measured": str(len(measured)),
            "baseline": table.layout.baseline or "",
            "Kendall's tau with the paper": tau,
        }
    return Listing(pd.DataFrame.from_dict(lines, orient="index").rename_axis("table"))


def not_run(tables: list[Table]) -> Items:
    """The rows and columns without numbers, and why: rows first, then columns that no row fills."""
    lines = []
    for table in tables:
        name = table.layout.title.partition(":")[0]
        lines += [f"{name}, row {row}: {reason}" for row, reason in table.rows.reason.items() if reason]
        for figure in table.layout.figures:
            if figure not in drawable(table.layout, measured_rows(table)):
                lines.append(f"{name}, figure {figure}: too few rows have numbers")
        empty = table.cells.groupby("column", sort=False).filter(lambda cells: cells.value.isna().all())
        for reason, cells in empty[~empty.row.isin(table.rows.index[table.rows.reason != ""])].groupby("reason", sort=False):
            lines.append(f"{name}, {', '.join(dict.fromkeys(cells.column))}: {reason}")
    first = tables[0]
    if first.scale != "paper":
        lines.append(f"paper scale: none of it; every number here is of scale {first.scale}")
    if len(first.seeds.split()) == 1:
        lines.append("more seeds than one: intervals of cells are over images only and do not show how training varies")
    return Items(tuple(lines))


def introduction(tables: list[Table]) -> list[Block]:
    first = tables[0]
    text = (
        f"Scale {first.scale}, data: {first.data}, seeds: {first.seeds}. Every number is counted from the predictions of "
        "single images; published values stand beside and enter no statistic but Kendall's tau."
    )
    if first.scale != "paper":
        long = "" if first.scale == "small" else " in minutes"
        text += (
            f" At this scale small towers, pretrained on rendered words, learn to read rendered words{long}: compare the "
            "order of rows with the paper, never a number."
        )
    return [Text(text), overview(tables), Heading("What was not run"), not_run(tables)]


def blocks_of(names: Sequence[str], results: Path, tables: Path, figures: Path) -> list[Block]:
    """The whole document."""
    built = [build(name, results, tables) for name in names]
    blocks: list[Block] = [Heading(f"CLIP4STR, ablated: {built[0].scale} scale", 1)]
    blocks += claims(StudyResults(results, tables), figures) + introduction(built)
    blocks += [drawing(figures / "figure_1", "A picture with a word sticker, classified zero-shot, with Grad-CAM (Figure 1)")]
    blocks += [drawing(figures / "figure_2", "Attention of the image tower on test words (Figure 2)")]
    blocks += [Masks(results / "maps" / "masks.json")]
    for table in built:
        name = table.layout.table
        blocks.append(Study(table))
        for figure in drawable(table.layout, measured_rows(table)):
            blocks.append(drawing(figures / f"{figure}_{name}", FIGURES[figure].caption.format(title=table.layout.title)))
    everything = pd.concat([table.runs.assign(table=table.layout.table) for table in built])
    return [*blocks, *appendix(everything, results)]


def claims(study: StudyResults, figures: Path) -> list[Block]:
    """The ledgers, which head the report; nothing where no claims.yaml is."""
    if not ledger_paths():
        return []
    stem = drawing(figures / "claims", "").stem
    return claim_blocks(judged_ledgers(study), study.scale, stem)


def measured_rows(table: Table) -> list[str]:
    return list(table.rows.index[table.rows.reason == ""])


def drawing(stem: Path, caption: str) -> Drawing:
    """A figure that was drawn before."""
    if not stem.with_suffix(".png").is_file():
        raise ReportError(f"{stem}.png is missing; `snakemake figures` draws it")
    return Drawing(stem, caption)
