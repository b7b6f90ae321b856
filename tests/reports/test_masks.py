import csv
import json
import subprocess
import sys
from html.parser import HTMLParser
from itertools import permutations

import pandas as pd
import pytest
import torch

from core.errors import ReportError
from core.figures.masks import main as make_json
from core.figures.masks import masks
from core.model.permutations import query_mask, ranks_of
from reports.masks import main
from reports.render.masks import html, latex, make_masks, markdown, order_of, published_masks, read_masks

SEED_OF_THE_PAPER = 1  # draws the order that the paper prints


def written(tmp_path, letters=3, seed=0):
    path = tmp_path / "masks.json"
    make_json(["--letters", str(letters), "--seed", str(seed), "--out", str(path)])
    return path


def orders(letters):
    """Every order of the letters, with its mask, by the model's own code."""
    for order in permutations(range(1, letters + 1)):
        allowed = query_mask(ranks_of(torch.tensor([[0, *order, letters + 1]])))[0]
        yield [f"y{letter}" for letter in order] + ["[E]"], allowed


def test_left_to_right_and_cloze_are_those_of_the_paper(tmp_path):
    made, printed = read_masks(written(tmp_path)), published_masks()
    assert [mask.kind for mask in made] == ["ar", "cloze", "random"]
    for mine, theirs in zip(made[:2], printed[:2], strict=True):
        pd.testing.assert_frame_equal(mine.allowed, theirs.allowed, check_names=False)


def test_the_random_mask_of_the_paper_is_one_order_and_only_one():
    printed = published_masks()[2].allowed
    found = [order for order, allowed in orders(3) if torch.equal(allowed, torch.tensor(printed.to_numpy()))]
    assert found == [["y2", "y3", "y1", "[E]"]] and order_of(printed) == found[0]


def test_the_random_mask_of_the_paper_follows_from_what_its_scan_kept(tmp_path):
    """The scan lost one entry of each row of the third mask: a single order has what is left."""
    left = ["-00", "0--", "0-0", "000"]  # rows y1 y2 y3 [E]; - is minus infinity

    def kept(row, rest):
        return any(row[:i] + row[i + 1 :] == rest for i in range(4))

    fitting = []
    for order, allowed in orders(3):
        rows = ["".join("0" if may else "-" for may in row) for row in allowed.tolist()]
        if all(map(kept, rows, left)):
            fitting.append(order)
    assert fitting == [["y2", "y3", "y1", "[E]"]]


@pytest.mark.parametrize("letters", [3, 5, 8])
def test_random_masks_are_orders_neither_forward_nor_reverse(letters):
    for seed in range(5):
        made = masks(letters, seed)["masks"]
        order, allowed = made[2]["order"], made[2]["allowed"]
        forward = made[0]["order"]
        assert order != forward and order[:-1] != forward[-2::-1] and sorted(order[:-1]) == forward[:-1]
        assert order_of(pd.DataFrame(allowed, masks(letters, seed)["outputs"], masks(letters, seed)["context"])) == order
    assert masks(letters, 7) == masks(letters, 7)


def test_what_is_no_order_is_seen():
    cloze = published_masks()[1].allowed
    assert order_of(cloze) is None
    blind = cloze & False
    assert order_of(blind) is None


def test_the_comparison_is_made_and_not_claimed(tmp_path):
    path = written(tmp_path)
    assert "Equal to the paper's: left-to-right AR, cloze. Not equal: random, another order was drawn." in markdown(path)
    assert "**random (as published)**, order y2 y3 y1 [E]" in markdown(path)
    assert "Equal to the paper's: left-to-right AR, cloze, random." in markdown(written(tmp_path, seed=SEED_OF_THE_PAPER))
    content = json.loads(path.read_text())
    content["masks"][0]["allowed"][0][1] = True
    path.write_text(json.dumps(content))
    assert "Not equal: left-to-right AR." in markdown(path) and "**left-to-right AR (as published)**" in markdown(path)
    assert "The paper prints masks of 3 letters; these are of 5." in markdown(written(tmp_path, letters=5))


class Headers(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.scopes, self.captions = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.captions += tag == "caption"
        if tag == "th":
            self.scopes.append(dict(attributes)["scope"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_names_every_row_and_column(tmp_path):
    page = Headers()
    page.feed(html(written(tmp_path)))
    assert not page.open and page.captions == 4
    assert page.scopes.count("col") == 4 * 5 and page.scopes.count("row") == 4 * 4


def test_latex_has_the_printed_rows_and_no_argument_after_a_line_break(tmp_path):
    text = latex(written(tmp_path, seed=SEED_OF_THE_PAPER))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert r"$y_{2}$ & 0 & 0 & $-\infty$ & $-\infty$ \\" in text  # AR
    assert r"$y_{1}$ & 0 & $-\infty$ & 0 & 0 \\" in text  # cloze
    assert "\\\\\n[" not in text and "−" not in text


def test_four_files_are_written(tmp_path, capsys):
    main([str(written(tmp_path)), str(tmp_path / "tables")])
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        f"table_I.{k}" for k in ("csv", "html", "md", "tex")
    ]
    with (tmp_path / "tables" / "table_I.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 16
    assert all(line["allowed"] == line["published"] for line in lines if line["mask"] != "random")
    assert any(line["allowed"] != line["published"] for line in lines)
    make_masks(written(tmp_path, letters=4), tmp_path / "four")
    assert pd.read_csv(tmp_path / "four" / "table_I.csv").published.isna().all()


def test_errors_name_file_key_and_fix(tmp_path, capsys):
    with pytest.raises(SystemExit):
        written(tmp_path, letters=2)
    assert "--letters: expected a whole number of at least 3" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none.json"), str(tmp_path)])
    assert "none.json is missing; make it again with python -m core.figures.masks" in capsys.readouterr().err
    path = written(tmp_path)
    content = json.loads(path.read_text())
    for change, message in [
        (content | {"context": ["[B]"]}, "cannot be read .*; make it again with python -m core.figures.masks"),
        (content | {"masks": content["masks"][:2]}, "masks ar, cloze; expected ar, cloze, random"),
        ({"masks": content["masks"], "outputs": []}, "key 'context' is missing; make it again"),
        ([], "cannot be read .expected a JSON object.; make it again"),
    ]:
        path.write_text(json.dumps(change))
        with pytest.raises(ReportError, match=message):
            markdown(path)
    path.write_text("{")
    with pytest.raises(ReportError, match="cannot be read .*; make it again"):
        markdown(path)


def test_table_I_is_made_without_torch():
    program = "import sys, reports.masks, reports.figures.clip_maps; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
