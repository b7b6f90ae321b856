"""Writes a finished table in every format, and documents of many tables.

A new table format is a function from a Table to text in a module of this folder, and its line in FORMATS, from which the
workflow also takes the names of its files. Imports nothing, because the workflow imports it at every start.
"""

FORMATS = {  # suffix of a table's file: the function that makes its text
    "md": "markdown.markdown",
    "tex": "latex.latex",
    "html": "html.html_with_images",
    "csv": "frames.tidy_csv",
    "wide.csv": "frames.wide_csv",
    "json": "frames.summary_json",
}
