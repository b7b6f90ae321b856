"""From the predictions of runs to tables, claims, figures and the report; without torch.

    layout.py    what a table.yaml says          build.py   from runs to a finished Table     table.py   the Table
    collect/     runs, predictions, published rows          stats/     intervals, noise, differences, orderings
    render/      a Table in every format, documents         figures/   drawn from a Table or from runs
    claims/      the ledger of the paper's claims           published/ the paper's numbers

What is new goes to one place: a statistic of all tables to stats/compare.py (its number) and render/grid.py (its column), a
format to render/__init__.py, a figure to figures/__init__.py, a sentence below tables to render/notes.py.

Input that is missing, damaged or does not fit raises ReportError everywhere: one line with file, place, value and fix.
"""
