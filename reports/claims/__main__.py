"""Judge every claim by the printed numbers alone and by what was measured.

    python -m reports.claims --results results

Reads ablations/claims.yaml and every claims.yaml beside a table.yaml; what was not run is listed as such. Writes
claims.md, .html, .tex and .json into the folder of tables, and claims.png and .svg into that of figures.
"""

import argparse
from collections.abc import Sequence

from core.errors import ReportError, user_errors
from reports.options import add_figures, add_study, figures_of, tables_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m reports.claims",
        description="Judge the claims of ablations/claims.yaml, and of any claims.yaml beside a table.yaml, by the printed "
        "numbers alone and by what was measured.",
    )
    add_study(parser)
    add_figures(parser, "for claims.png and .svg")
    options = parser.parse_args(arguments)

    from reports.claims.results import StudyResults
    from reports.claims.shown import write_claims

    with user_errors():
        if not options.results.is_dir():
            raise ReportError(f"--results {options.results}: no such folder; it holds tables/ and runs/ of a study")
        study = StudyResults(options.results, tables_of(options))
        path = write_claims(study, figures_of(options))
        print(path.read_text())
        print(f"written to {path} and beside it as .html, .tex and .json")


if __name__ == "__main__":
    main()
