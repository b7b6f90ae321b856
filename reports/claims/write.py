"""The ledgers of claims, judged and written: Markdown, HTML, LaTeX, JSON and a figure."""

from pathlib import Path

from core.files import atomic_file, write_json
from reports.claims.judged import judged_ledgers
from reports.claims.results import StudyResults
from reports.claims.shown import claim_blocks
from reports.document import Heading, to_html, to_latex, to_markdown
from reports.figures import style
from reports.figures.claims import claims_figure

TITLE = "Claims"


def write_claims(study: StudyResults, figures: Path) -> Path:
    """Write the ledgers and their figure; returns the Markdown file.

    Raises:
        ReportError: there is no ledger, one cannot be used, or results do not fit together.
    """
    judged = judged_ledgers(study)
    drawing = figures / "claims"
    style.save(claims_figure([claim for _, claims in judged for claim in claims]), drawing)
    blocks = [Heading(TITLE, 1), *claim_blocks(judged, study.scale, drawing)]
    texts = {
        "md": to_markdown(blocks, study.tables),
        "tex": to_latex(blocks, study.tables),
        "html": to_html(blocks, TITLE),
    }
    for suffix, text in texts.items():
        with atomic_file(study.tables / f"claims.{suffix}") as partial:
            partial.write_text(text)
    records = [{"title": ledger.title, "claims": [claim.record() for claim in claims]} for ledger, claims in judged]
    write_json(study.tables / "claims.json", {"scale": study.scale, "ledgers": records})
    return study.tables / "claims.md"
