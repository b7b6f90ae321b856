"""From the predictions of runs to tables, claims, figures and the report. Does not need torch.

    layout.py    what a table.yaml says          build.py   from runs to a finished Table     table.py   the Table
    collect/     runs, predictions, published rows          stats/     intervals, noise, differences, orderings
    render/      a Table in every format, documents         figures/   drawn from a Table or from runs
    claims/      the ledger of the paper's claims           published/ the paper's numbers

Where p-values come from: stats/compare.py compares each row with the baseline and applies Holm's correction, stats/intervals.py
(`compared`) computes one p-value.

Where to add something new: a statistic of all tables in stats/compare.py (its number) and render/grid.py (its column), a
format in render/__init__.py, a figure in figures/__init__.py, a sentence below tables in render/notes.py. docs/extending.md
has the whole list.

Input that is missing, damaged or does not fit raises ReportError everywhere: one line with file, place, value and fix.
"""
