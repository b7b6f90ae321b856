"""Judge every claim by the printed numbers alone and by what was measured.

    python -m reports.claims --results results

Reads ablations/claims.yaml and every claims.yaml beside a table.yaml; what was not run is said to be so. Writes
claims.md, .html, .tex and .json into the folder of tables, and claims.png and .svg into that of figures.
"""

import argparse
import sys
from collections.abc import Sequence
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.claims",
        description="Judge the claims of ablations/claims.yaml, and of any claims.yaml beside a table.yaml, by the printed "
        "numbers alone and by what was measured.",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (default: results)")
    parser.add_argument("--tables", type=Path, help="folder with <table>.runs.csv, written to (default: RESULTS/tables)")
    parser.add_argument("--figures", type=Path, help="folder for claims.png and .svg (default: RESULTS/figures)")
    options = parser.parse_args(arguments)
    study = StudyResults(options.results, options.tables or options.results / "tables")
    try:
        path = write_claims(study, options.figures or options.results / "figures")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(path.read_text())
    print(f"written to {path} and beside it as .html, .tex and .json")


if __name__ == "__main__":
    main()
