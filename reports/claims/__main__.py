"""Judge every claim by the printed numbers alone and by what was measured.

    python -m reports.claims --results results

Reads ablations/claims.yaml and every claims.yaml beside a table.yaml; what was not run is said to be so. Writes
claims.md, .html, .tex and .json into the folder of tables, and claims.png and .svg into that of figures.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from core.errors import user_errors
from reports.options import add_results, add_tables, tables_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.claims",
        description="Judge the claims of ablations/claims.yaml, and of any claims.yaml beside a table.yaml, by the printed "
        "numbers alone and by what was measured.",
    )
    add_results(parser)
    add_tables(parser)
    parser.add_argument("--figures", type=Path, help="folder for claims.png and .svg (default: RESULTS/figures)")
    options = parser.parse_args(arguments)

    from reports.claims.results import StudyResults
    from reports.claims.write import write_claims

    with user_errors():
        study = StudyResults(options.results, tables_of(options))
        path = write_claims(study, options.figures or options.results / "figures")
        print(path.read_text())
        print(f"written to {path} and beside it as .html, .tex and .json")


if __name__ == "__main__":
    main()
