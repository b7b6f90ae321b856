"""From a finished table to files, and documents of many tables.

A new format of tables is a function from a Table to text in a module of this folder, and its line below; the workflow asks
for its files by this list. Imports nothing, because the workflow reads it whenever it starts.
"""

FORMATS = {  # by the suffix of a table's file: what makes its text
    "md": "markdown.markdown",
    "tex": "latex.latex",
    "html": "html.html_with_images",
    "csv": "frames.tidy_csv",
    "wide.csv": "frames.wide_csv",
    "json": "frames.summary_json",
}
