import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from reports.render.grid import measured
from reports.render.html import Pictures, fragment, html, page, span
from reports.table import CENTRES
from tests.support.tables import NO_FAMILY, TOO_LARGE, make_flips, make_table

EMPTY = {"meta", "line", "wbr", "input", "img", "br"}


class Outline(HTMLParser):
    """Elements in order with their text, refusing tags that are not closed in turn."""

    def __init__(self):
        super().__init__()
        self.open: list[int] = []
        self.elements: list[tuple[str, dict, list[str]]] = []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        if tag not in EMPTY:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        assert tag not in EMPTY and self.elements[self.open[-1]][0] == tag, f"</{tag}> closes {self.elements[self.open[-1]]}"
        self.open.pop()

    def handle_data(self, data):
        for place in self.open:
            self.elements[place][2].append(data)

    def all(self, tag, **attributes):
        return [
            (found, "".join(text))
            for name, found, text in self.elements
            if name == tag and all(found.get(key.rstrip("_")) == value for key, value in attributes.items())
        ]


def parsed(text: str) -> Outline:
    outline = Outline()
    outline.feed(text)
    outline.close()
    assert not outline.open
    return outline


@pytest.fixture(scope="module")
def outline():
    return parsed(html(make_table(), make_flips()))


def embedded(outline: Outline, **attributes) -> list:
    return [json.loads(text) for _, text in outline.all("script", type="application/json", **attributes)]


def test_the_page_stands_alone(outline):
    assert outline.all("meta", name="viewport") and outline.all("meta", charset="utf-8")
    assert outline.all("title")[0][1] == "Table VI: freezing options in CLIP4STR-B"
    linked = [found for _, found, _ in outline.elements if {"src", "href"} & found.keys()]
    assert not linked and not outline.all("link")
    assert not re.search(r"https?://|@import|url\(", html(make_table(), make_flips()))


def test_rows_and_columns_are_labelled(outline):
    assert [text.split() for _, text in outline.all("th", scope="row")][:5] == [
        ["cross", "baseline"],
        ["visual"],
        ["frozen", "<half>", "ours"],
        ["my_idea", "50%", "ours"],
        ["huge"],
    ]
    headings = [" ".join(text.split()) for _, text in outline.all("th", scope="col")]
    assert headings[:5] == ["row", "output", "#Params", "#Params paper scale", "IC15 incidental"]
    assert len(outline.all("button", class_="sort")) == len(headings)
    assert len(outline.all("caption")) == len(outline.all("table")) == 3


def test_cells_say_what_they_are(outline):
    opened = {text: found for found, text in outline.all("button", class_="open")}
    assert list(opened) == ["51.0 best ±4.0", "49.5 second best ±4.0"]
    assert opened["51.0 best ±4.0"]["title"] == "95 % interval 47.0 to 55.0; 600 images; one seed"
    published = [text for _, text in outline.all("span", class_="published")]
    assert published[:3] == ["published 90.6 second best", "published 77.5 second best", "published 97.8 second best"]
    missing = [(found["title"], found["tabindex"]) for found, _ in outline.all("span", class_="missing")]
    assert missing.count((NO_FAMILY, "0")) == 4 and missing.count(("not measured", "0")) == 1
    assert missing.count((TOO_LARGE, "0")) == 6 + len(CENTRES)  # four columns, difference, p
    assert all(why for _, why in outline.all("span", class_="why"))


def test_numbers_sort_as_numbers_and_missing_ones_have_none(outline):
    cells = [(found["data-sort"], " ".join(text.split())) for found, text in outline.all("td", class_="number")]
    assert ("51.0", "51.0 best ±4.0 published 90.3") in cells and ("-15.9", "−15.9 [−17.8, −14.0]") in cells
    assert {sort for sort, text in cells if text.startswith("–") or not text} == {""}
    first = {" ".join(text.split()): found["data-first"] for found, text in outline.all("button", class_="sort")}
    assert first["IC15 incidental"] == "descending" and first["Time (ms)"] == first["p Holm"] == "ascending"


def test_other_methods_stand_apart(outline):
    assert [text for _, text in outline.all("summary")] == [
        "Other methods, as published (2)",
        "Peer readers, measured here (1)",
    ]
    assert [text for _, text in outline.all("th", scope="row")][5:] == ["PARSeq-A", "A&B_100%", "reader 1.0"]
    nobody = pd.DataFrame({"method": []})
    without = parsed(html(replace(make_table(), others=nobody, peers=nobody), {}))
    assert not without.all("details") and not without.all("button", class_="open")


def test_the_cells_images_are_embedded_once(outline):
    (pictures,), (cells,) = embedded(outline, id="pictures"), embedded(outline, class_="flip-data")
    visual, idea = cells
    assert (visual["won"], visual["lost"], visual["n"]) == (2, 1, 6) and (idea["won"], idea["lost"]) == (2, 0)
    assert [flip["picture"] for flip in visual["won_shown"]] == [flip["picture"] for flip in idea["won_shown"]]
    assert len(pictures) == 3 and all(base64.b64decode(uri.split(",")[1])[8:12] == b"WEBP" for uri in pictures.values())
    text = html(make_table(), make_flips())
    assert all(text.count(uri) == 1 for uri in pictures.values()) and text.count("data:image") == 3
    assert visual["value"] == "51.0 ±4.0; 95 % interval 47.0 to 55.0; 600 images; one seed; published 90.3"


def test_no_label_breaks_out_of_the_page(outline):
    (cells,) = embedded(outline, class_="flip-data")
    assert cells[0]["won_shown"][1]["label"] == "</script><b>&"
    text = html(make_table(), make_flips())
    assert "</script><b>" not in text and "<half>" not in text
    assert len(outline.all("script")) == 3 and not outline.all("b")


def test_a_page_holds_many_tables_with_style_and_images_once():
    pictures, flips = Pictures(), make_flips()
    other = make_table()
    other = replace(other, layout=replace(other.layout, table="table_IX"))
    body = fragment(make_table(), flips, pictures) + "<p>between</p>" + fragment(other, flips, pictures)
    outline = parsed(page("All <tables>", body, pictures))
    assert outline.all("title")[0][1] == "All <tables>" and outline.all("p")[-1]
    assert len(outline.all("style")) == len(outline.all("dialog")) == len(embedded(outline, id="pictures")) == 1
    assert len(embedded(outline, class_="flip-data")) == 2 and len(embedded(outline, id="pictures")[0]) == 3
    names = [found["id"] for _, found, _ in outline.elements if "id" in found]
    assert len(names) == len(set(names)) and {"table_VI", "table_IX"} <= set(names)
    assert len(outline.all("h2")) == 2 and not outline.all("h1")


def test_intervals_are_drawn_to_one_scale(outline):
    low, high = span(measured(make_table()))
    assert (low, high) == (-17.8, 2.7)
    reach = [(float(found["x1"]), float(found["x2"])) for found, _ in outline.all("line", class_="reach")]
    assert reach[1] == pytest.approx((0, 100 * 3.8 / 20.5), abs=0.01)
    images = [float(found["x2"]) - float(found["x1"]) for found, _ in outline.all("line", class_="images")]
    assert images[1] == pytest.approx(0.6 * 100 * 3.8 / 20.5, abs=0.01) and len(images) == 3
    zeros = [float(found["x1"]) for found, _ in outline.all("line", class_="zero")]
    assert zeros == pytest.approx([100 * 17.8 / 20.5] * 3, abs=0.01)
    assert len(outline.all("svg", class_="bar apart")) == 2 and len(outline.all("svg", class_="bar")) == 1


def test_one_training_each_is_named_and_never_marked():
    """Without a measure of training noise there is no p, and an interval that excludes zero is no finding."""
    table = make_table()
    outline = parsed(html(replace(table, rows=table.rows.assign(p=np.nan, p_holm=np.nan, seeds_needed=np.nan)), {}))
    headings = [" ".join(text.split()) for _, text in outline.all("th", scope="col")]
    assert "difference these two models" in headings and not any(text.startswith("p ") for text in headings)
    assert not outline.all("svg", class_="bar apart") and not outline.all("line", class_="images")
    titles = [found.get("title", "") for found, _ in outline.all("span", class_="value")]
    assert sum("these two models: no measure of training noise" in title for title in titles) == 3


def test_a_pooled_difference_stands_beside_another():
    table = make_table()
    outline = parsed(html(replace(table, rows=table.rows.assign(pooled=table.rows.difference - 0.3)), {}))
    assert "pooled" in [" ".join(text.split()) for _, text in outline.all("th", scope="col")]
    assert "−16.2" in [" ".join(text.split()) for _, text in outline.all("td", class_="number")]
