"""Documents of blocks: what stands in a block comes out of every format as it is."""

import re
from dataclasses import replace

import pandas as pd

from reports.render.appendix import commands
from reports.render.document import Commands, Drawing, Heading, Items, Listing, Study, Text, to_html, to_latex, to_markdown
from tests.support.tables import make_table

CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def test_markdown_holds_no_tags_outside_code(tmp_path):
    """Renderers drop tags that they do not know."""
    texts = ["<run> of a&b &amp; p < 0.05", "`<run>` and <run>"]
    frame = pd.DataFrame({"a <b>": texts}, index=pd.Index(["<row>", "x"], name="row"))
    blocks = [Heading("<table>", 1), Text(texts[0]), Items(texts), Listing(frame), Listing(frame, (1, 2))]
    table = make_table()
    told = replace(
        table, layout=replace(table.layout, title="Do <eos> tokens help?", about="Is <unk> read?"), notes=["<b> is not"]
    )
    blocks = [*blocks, Study(told), Drawing(tmp_path / "a", "of <pad>")]
    text = to_markdown([*blocks, Commands(["python <run>"])], tmp_path)
    assert not re.search("<[A-Za-z/!?]", CODE.sub("", text)) and text.count("`<run>`") == 3
    assert "&lt;run> of a&b &amp;amp; p < 0.05" in text and "```sh\npython <run>\n```" in text


def test_commands_can_be_copied_from_every_format(tmp_path):
    frame = pd.DataFrame({"command": [["train.py", "a b.gin", "--set", "x = '*a*'"]], "data": ["my data"]})
    trained, read = lines = commands(frame)
    assert trained == """python -m core.train 'a b.gin' --set 'x = '"'"'*a*'"'"''"""
    assert "--data 'my data' --out <run>/evaluations" in read
    blocks = [Heading("T", 1), Commands(lines)]
    assert f"```sh\n{trained}\n{read}\n```" in to_markdown(blocks, tmp_path)
    assert "<pre>python -m core.train" in to_html(blocks, "T") and "&lt;run&gt;/evaluations</pre>" in to_html(blocks, "T")
    assert to_latex(blocks, tmp_path).count(r"{\ttfamily\raggedright python -m core.") == 2


def test_a_bar_or_a_line_break_ends_no_cell(tmp_path):
    frame = pd.DataFrame({"a|b": ["1|2", "3\n4"]}, index=pd.Index(["r|s", "t"], name="row"))
    for widths in ((), (1, 2)):
        lines = [line for line in to_markdown([Listing(frame, widths)], tmp_path).splitlines() if line.startswith("|")]
        assert len(lines) == 4 and {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}
