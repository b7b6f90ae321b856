import re
import shutil
import subprocess
from dataclasses import replace

import pandas as pd
import pytest

from reports.render.document import Heading, Items, Listing, Text, to_latex
from reports.render.latex import Footnotes, latex
from reports.render.tex import COMMANDS, escaped
from reports.table import CENTRES
from tests.support.tables import NO_FAMILY, TOO_LARGE, make_cells, make_table

PROBLEMS = re.compile(r"Overfull.*|Float too large.*|Missing character.*")


def body(text: str) -> list[str]:
    """The lines of the table, without rules and line ends."""
    inside = text.split("\\toprule\n")[1].split("\n\\bottomrule")[0]
    return [re.sub(r" ?\\\\(\[\d+pt\])?$", "", line) for line in inside.splitlines() if not line.endswith("rule")]


def width(line: str) -> int:
    spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
    return len(re.split(r"(?<!\\)&", line)) + sum(spans) - len(spans)


def test_environments_are_balanced_and_lines_are_equally_wide():
    text = latex(make_table())
    assert sorted(re.findall(r"\\begin\{(\w+)\}", text)) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    spec = re.search(r"\\begin\{tabular\}\{@\{\}(.*)@\{\}\}\n", text).group(1)
    assert {width(line) for line in body(text)} == {len(re.sub(r"@\{.*?\}", "", spec))}


def test_marks_intervals_and_published_values():
    lines = {line.split(" & ")[0]: line for line in body(latex(make_table()))}
    assert r"\textbf{51.0} & \scriptsize $\pm$4.0" in lines["visual"] and r"\underline{17.7} &" in lines["visual"]
    assert r"+1.0 & \scriptsize {[}$-$0.8, +2.7]" in lines["visual"] and lines["visual"].endswith("& 0.76 & 12")
    assert lines[r"frozen $<$half$>$ (ours)"].endswith("& $<$ 0.001 & ")
    published = body(latex(make_table()))[3]
    assert published.startswith(r"\scriptsize\color{black!60}published") and r"\underline{90.6}" in published
    apart = body(latex(make_table()))[-5:]
    assert r"\emph{peer readers, measured here}" in apart[3] and r"reader 1.0" in apart[4] and r"81.2 $\pm$1.2" in apart[4]
    assert r"\emph{published only}" in apart[0] and r"{A\&B\_100\% {\scriptsize MJ+ST}}" in apart[2] and "1.32" in apart[2]
    alone = latex(replace(make_table(), others=pd.DataFrame(columns=["method"]), peers=pd.DataFrame(columns=["method"])))
    assert "published only" not in alone


def test_every_missing_cell_says_why():
    table = make_table()
    text = latex(table)
    letters = dict(re.findall(r"\\textsuperscript\{(\w)\} (.*?)\.(?:\\par)?\n", text))
    assert letters == {"a": NO_FAMILY, "b": "not measured", "c": TOO_LARGE}
    dashes = re.findall(r"--\\textsuperscript\{(\w)\}", text)
    nowhere = table.cells[table.cells.value.isna()].reason
    assert dashes.count("a") == (nowhere == NO_FAMILY).sum() and dashes.count("b") == 1
    assert dashes.count("c") == (nowhere == TOO_LARGE).sum() + 2 + len(CENTRES)  # its mean, difference and p too
    footnotes = Footnotes()
    assert [footnotes.letter(str(number)) for number in range(54)][24:28] == ["y", "z", "aa", "ab"]


def test_tables_of_the_paper_keep_their_number():
    table = make_table()
    text = latex(table, standalone=False)
    assert r"\renewcommand{\thetable}{VI}" in text and r"\textbf{Freezing options in CLIP4STR-B.}" in text
    assert "documentclass" not in text and r"\begin{sidewaystable}" in text and r"\label{tab:table_VI}" in text
    other = latex(replace(table, layout=replace(table.layout, table="dropout", title="Dropout")))
    assert r"\thetable" not in other and r"\textbf{Dropout.}" in other


def test_escapes():
    assert escaped(r"50% of a_b & #1 {x} $y \z") == r"50\% of a\_b \& \#1 \{x\} \$y \textbackslash{}z"
    assert escaped("a--b ''") == "a-{}-b '{}'"
    assert escaped("−1 ± é ﬁ 漢") == r"$-$1 $\pm$ \'{e} fi {[}U+6F22]"
    assert escaped("a\nb") == "a b"


def compiled(folder, text: str) -> str:
    """What TeX says of a document; skips where no TeX is installed."""
    engine = shutil.which("pdflatex") or shutil.which("tectonic")
    if not engine:
        pytest.skip("neither pdflatex nor tectonic is installed: make test-all does it")
    (folder / "table.tex").write_text(text)
    options = ["-interaction=nonstopmode", "-halt-on-error"] if engine.endswith("pdflatex") else ["--keep-logs"]
    done = subprocess.run([engine, *options, "table.tex"], cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (folder / "table.pdf").stat().st_size > 5000
    return (folder / "table.log").read_text(errors="replace")


def test_it_compiles_and_fits_the_page(tmp_path):
    table = make_table()
    cells = [make_cells().replace({"column": {"IC15": f"C{number}"}}) for number in range(9)]
    columns = [replace(table.columns[0], name=f"C{number}") for number in range(9)]
    wide = replace(
        table,
        columns=(*table.columns, *columns),
        cells=pd.concat([table.cells, *cells], ignore_index=True),
        others=pd.concat([table.others] * 30, ignore_index=True),
        notes=(*table.notes, " ".join(COMMANDS), " ".join(map(chr, range(32, 384)))),
    )
    long = replace(table, others=pd.concat([table.others] * 60, ignore_index=True))
    for text in (latex(table), latex(wide), latex(long)):
        assert not PROBLEMS.findall(compiled(tmp_path, text))


def test_a_line_of_a_document_may_begin_with_a_bracket_or_a_star(tmp_path):
    words = ["[draft] Which K?", "* starred", "街景"]
    frame = pd.DataFrame({"b": words}, index=pd.Index(words, name="[a]"))
    blocks = [Heading("[T]", 1), Text(words[0]), Items(words), Listing(frame), Listing(frame, (1, 2))]
    assert not PROBLEMS.findall(compiled(tmp_path, to_latex(blocks, tmp_path)))
    assert to_latex(blocks, tmp_path).count("{*} starred") == 5


def test_the_float_fits_a_narrower_page_with_others(tmp_path):
    float_ = latex(make_table(), standalone=False)
    packages = r"\usepackage{booktabs,graphicx,xcolor,rotating}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}\listoftables {float_}{float_}\end{{document}}"
    assert not PROBLEMS.findall(compiled(tmp_path, document))
