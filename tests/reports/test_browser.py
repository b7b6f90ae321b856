"""The page as a reader uses it, in a headless Chromium; skipped where none is installed."""

import html as entities
import json
import re
import shutil
import subprocess

import pytest

from reports.render.html import html
from tests.support.tables import make_flips, make_table

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
    "--dump-dom",
)
HELPERS = """
const heading = (name) => [...document.querySelectorAll(".sort")].find((b) => b.textContent.trim().startsWith(name));
const rows = () => [...document.querySelector("tbody").rows].map((row) => row.cells[0].firstChild.textContent.trim());
const sorted = () => [...document.querySelectorAll("[aria-sort]")].map((th) => th.getAttribute("aria-sort"));
const seen = (selector) => getComputedStyle(document.querySelector(selector)).display !== "none";
const click = (name) => { heading(name).click(); return [rows(), sorted()]; };
"""


def in_browser(folder, text: str, script: str) -> dict:
    """What `script`, the body of an async function, returns in the page."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed: make test-all does it")
    runs = f"(async () => {{ {HELPERS} {script} }})().catch((error) => ({{ error: String(error) }}))"
    writes = "(found) => { const held = document.createElement('output'); held.textContent = JSON.stringify(found);"
    appended = f"<script>{runs}.then({writes} document.body.append(held); }});</script></body>"
    (folder / "page.html").write_text(text.replace("</body>", appended))
    command = [program, *OPTIONS, f"--user-data-dir={folder / 'profile'}", (folder / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"<output>(.*?)</output>", done.stdout, re.DOTALL)
    assert found, f"the page wrote nothing: {done.stderr[-1000:]}"
    return json.loads(entities.unescape(found.group(1)))


@pytest.fixture(scope="module")
def text():
    return html(make_table(), make_flips())


def test_columns_sort(tmp_path, text):
    found = in_browser(
        tmp_path,
        text,
        """return {
          best: click("IC15"), worst: click("IC15"), back: click("IC15"),
          fast: click("Time"), p: click("p"), name: click("row"),
        };""",
    )
    table, by_value = ["cross", "visual", "frozen <half>", "my_idea 50%", "huge"], ["visual", "my_idea 50%", "cross"]
    assert found["best"] == [[*by_value, "frozen <half>", "huge"], ["descending"]]
    assert found["worst"] == [["frozen <half>", *by_value[::-1], "huge"], ["ascending"]]
    assert found["back"] == [table, []]
    assert found["fast"] == [["visual", "frozen <half>", "cross", "my_idea 50%", "huge"], ["ascending"]]
    assert found["p"] == [["frozen <half>", "my_idea 50%", "visual", "cross", "huge"], ["ascending"]]
    assert found["name"] == [sorted(table), ["ascending"]]


def test_a_cell_opens_its_flipped_images(tmp_path, text):
    found = in_browser(
        tmp_path,
        text,
        """const dialog = document.querySelector("dialog");
        const before = dialog.open;
        document.querySelector(".open").click();
        const images = [...dialog.querySelectorAll("img")];
        await Promise.all(images.map((image) => image.decode()));
        const result = {
          before, modal: dialog.matches(":modal"), title: dialog.querySelector("h2").textContent, text: dialog.textContent,
          sizes: images.map((image) => [image.naturalWidth, image.naturalHeight]), alts: images.map((image) => image.alt),
          right: [...dialog.querySelectorAll(".right")].map((each) => each.textContent),
          wrong: [...dialog.querySelectorAll(".wrong")].map((each) => each.textContent),
          lists: [...dialog.querySelectorAll("ul")].map((list) => list.children.length),
        };
        dialog.querySelector(".close").click();
        return { ...result, after: dialog.open };""",
    )
    assert (found["before"], found["modal"], found["after"]) == (False, True, False)
    assert found["title"] == "visual, IC15 (incidental)" and found["lists"] == [2, 1]
    assert "Of 6 images of one seed, 2 are won, 1 lost, and 3 end the same." in found["text"]
    assert found["sizes"] == [[128, 32]] * 3
    assert found["alts"] == ["incidental 1: word1", "incidental 6: </script><b>&", "incidental 2: word2"]
    assert found["right"] == ["word1", "</script><b>&", "word2"] and found["wrong"] == ["wrong"] * 3


def test_published_values_hide_and_reasons_show(tmp_path, text):
    """A headless window may have no focus to give (":focus" matches nothing then): the rule itself is looked up."""
    found = in_browser(
        tmp_path,
        text,
        """const shown = seen(".published");
        document.querySelector(".show-published").click();
        const why = seen(".why");
        const missing = document.querySelector(".missing");
        missing.focus();
        const rule = [...document.styleSheets[0].cssRules].find((each) => each.selectorText === ".missing:focus .why");
        return {
          shown, hidden: !seen(".published"), why, reached: document.activeElement === missing,
          focused: missing.matches(":focus") ? seen(".missing:focus .why") : rule.style.display === "block",
        };""",
    )
    assert found == {"shown": True, "hidden": True, "why": False, "reached": True, "focused": True}


def test_it_fits_a_phone(tmp_path, text):
    """At 390 pixels the table scrolls and not the page, its first column stays, and the dialog fits."""
    page = json.dumps(text).replace("<", "\\u003c")
    found = in_browser(
        tmp_path,
        "<!doctype html><html><body></body></html>",
        f"""const phone = document.createElement("iframe");
        phone.width = 390; phone.height = 844; phone.srcdoc = {page};
        const loaded = new Promise((done) => phone.addEventListener("load", done));
        document.body.append(phone);
        await loaded;
        const inside = phone.contentDocument;
        const scroll = inside.querySelector(".scroll");
        scroll.scrollLeft = 200;
        await new Promise((done) => setTimeout(done, 100));
        const name = inside.querySelector("tbody th").getBoundingClientRect();
        inside.querySelector(".open").click();
        const box = inside.querySelector("dialog").getBoundingClientRect();
        return {{
          page: inside.documentElement.scrollWidth, script: inside.querySelector(".flip-data").getClientRects().length,
          table: scroll.scrollWidth - scroll.clientWidth,
          left: name.left - scroll.getBoundingClientRect().left, box: [box.left, box.right],
        }};""",
    )
    assert found["page"] <= 390 and found["table"] > 200 and found["script"] == 0
    assert found["left"] == 0 and found["box"][0] >= 0 and found["box"][1] <= 390
