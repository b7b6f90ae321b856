"""Numbers and commands of README.md and docs/*.md are those of the code, as far as that takes seconds.

The pages that commands write (docs/recipe.md, docs/statistics.md) have tests of their own, and so have the figures of
docs/paper-scale.md on memory (tests/method/test_device_memory.py) and word lengths (tests/workflow/test_price.py).
"""

import re

import pandas as pd
import pytest
import yaml

from ablations.assumptions import read_assumptions
from ablations.calibration import utilisation
from ablations.plan import plan_cache
from ablations.show import against_table_II
from core.bench import __main__ as bench
from core.bench import gpu_day
from core.choices import MOST_WORKERS
from core.data.benchmarks import AVERAGES, PUBLISHED_SIZES, ROUNDING, TRAINING, distinct
from core.data.convert.parts import PART
from core.data.doctor import duplicates, report, scan
from core.files import ROOT
from core.model.captions import REMEMBERED
from core.read.run import TALL
from core.runtime.tracking.client import MARGIN, PATIENCE, STOPPED_PATIENCE
from core.train.loss_monitor import WINDOW

PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
IMAGES = sum(
    PUBLISHED_SIZES[name] for name in distinct(set(PUBLISHED_SIZES) - {"IC13_1095"})
)  # of all benchmarks of the paper's tables
(STEPS,) = re.findall(r"^STEPS = (\d+)", (ROOT / "tests" / "slurm" / "test_table.py").read_text(), re.MULTILINE)


def plain(page: str) -> str:
    """A page without line breaks."""
    return " ".join(PAGES[page].split())


def table(page: str, heading: str, number: int = 0) -> pd.DataFrame:
    """One of the tables below a heading, as text."""
    section = PAGES[page].split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[number].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return pd.DataFrame(rows, columns=head)


def numbers(column: pd.Series) -> pd.Series:
    return column.str.replace(",", "").str.extract(r"^([\d.]+)")[0].astype(float)


SENTENCES = {
    "README.md": [
        f"{sum(map(PUBLISHED_SIZES.get, AVERAGES['nine sets'])):,} images, with the {PUBLISHED_SIZES['IC15_1811']:,} of IC15 "
        "counted twice",
        f"the {sum(map(PUBLISHED_SIZES.get, AVERAGES['six sets'])):,} images of the common six",
        f"Images higher than {TALL} times their width",
        f"only the end of a training may, for at most {PATIENCE + MARGIN:g} s",
    ],
    "data.md": [
        f"against 3000, 647, 857/1015/1095, 1811/2077, {', '.join(map(str, list(PUBLISHED_SIZES.values())[7:]))}; it",
        f"within {ROUNDING:.0%} of".replace("%", " %"),
        ", ".join(f"{images / 1e6:.1f} M ({name})" for name, images in TRAINING.items()),
        f"images lower than {scan.SMALL} pixels",
        f"at most {duplicates.FAR} bits apart",
        f"that correlate by {duplicates.ALIKE} or more",
        f"more than {duplicates.CROWD:,} of its samples",
        f"at most {report.MOST} of each",
    ],
    "data-formats.md": [f"Parts of {PART} words"],
    "paper-scale.md": [f"{IMAGES:,} test images, each once", f"{read_assumptions().utilisation} of the peak"],
    "performance.md": [
        f"for the {IMAGES:,} test images",
        f"a memory of {REMEMBERED:,}",
        f"at most {MOST_WORKERS}, beside a GPU",
    ],
    "running.md": [f"steps of the last {WINDOW}"],
    "slurm.md": [f"trainings of {STEPS} steps"],
    "tracking.md": [
        f"for up to {PATIENCE + MARGIN:g} seconds",
        f"after a signal to stop for up to {STOPPED_PATIENCE:g}",
    ],
}


@pytest.mark.parametrize(("page", "sentence"), [(page, text) for page, texts in SENTENCES.items() for text in texts])
def test_a_sentence_has_the_code_s_number(page, sentence):
    assert sentence in plain(page)


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_a_page_calls_exists(page):
    for module in set(re.findall(r"python -m ((?:core|reports|ablations|tests)[\w.]*)", PAGES[page])):
        place = ROOT / module.rstrip(".").replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module


BENCH = sorted({" ".join(found.split()) for text in PAGES.values() for found in re.findall(r"core\.bench (\w[^`\n]*)", text)})


@pytest.mark.parametrize("command", BENCH)
def test_every_measurement_that_a_page_names_can_be_asked_for(command):
    assert bench.parsed(command.split("  ")[0].replace(" ROW", " ablations/table_IX/cross-ar.gin --out o").split()).verb


def test_the_claims_of_the_readme_are_counted():
    """Which of them the printed numbers support is a test of tests/reports/test_claims.py."""
    stated = yaml.safe_load((ROOT / "ablations" / "claims.yaml").read_text())["claims"]
    (count,) = re.findall(r"states the paper's (\d+) claims", plain("README.md"))
    ((supported, undecided),) = re.findall(r"support (\d+) claims and leave (\d+) undecided", plain("README.md"))
    assert int(count) == len(stated) == int(supported) + int(undecided) and int(supported) == 6


def test_a_gpu_day_is_as_long_as_is_said():
    assert "takes nine minutes at most" in plain("gpu.md") and "in nine minutes at most" in gpu_day.__doc__


def test_table_II_s_check_is_what_the_plan_prints(tmp_path):
    """Operations counted anew, hours over what eight devices achieve."""
    page, assumptions = table("paper-scale.md", "Against Table II"), read_assumptions()
    settings = {"seeds": [0], "threads": 1, "peers": [], "results": str(tmp_path)}
    checks = against_table_II(settings, plan_cache(tmp_path), assumptions)
    for (_, row), check in zip(page.iterrows(), checks, strict=True):
        printed = f"{check.images / 1e6:.1f} M", f"{check.work.released / 1e9:,.0f}", f"{check.printed:.1f}"
        estimated = f"{check.estimated:.1f}", f"{check.ratio:.2f}", f"{check.utilisation:.3f}", f"{check.ours:.1f}"
        assert row.tolist()[1:] == [*printed, *estimated] and row.model.lower() == check.row
    assert utilisation(checks) == pytest.approx(assumptions.utilisation, abs=0.0005)


def test_what_all_tables_cost_adds_up():
    found = table("paper-scale.md", "All tables").set_index("table")
    parts, whole = found.drop("all"), found.loc["all"]
    for column in ("rows", "runs", "steps", "images", "training GPU-h", "reading GPU-h", "disk kept"):
        whole_number = float(re.match(r"[\d.]+", whole[column].replace(",", ""))[0])
        assert numbers(parts[column]).sum() == pytest.approx(whole_number, rel=0.005), column
    for name, rows in numbers(parts["rows"]).items():
        files = sum(len(list((ROOT / "ablations" / f"table_{numeral}").glob("*.gin"))) for numeral in name.split(", "))
        assert files == rows, name


def test_estimates_follow_from_the_table_of_parts():
    """Batch 8, 26 letters: milliseconds an image, and hours for all test images."""
    parts = table("performance.md", "What is left above the floor").set_index("part")
    estimates = table("performance.md", "Evaluation at scale")
    each = round(float(parts.loc["all of it", "read, batch 8"].split(" ms")[0]) / 8)
    assert estimates.basis[0].startswith(f"{each} ms per image")
    assert numbers(estimates.estimate)[0] == round(each * IMAGES / 3.6e6, 1)
    rate = float(re.search(r"([\d,]+) images/s", estimates.basis[1])[1].replace(",", ""))
    assert numbers(estimates.estimate)[1] == round(IMAGES / rate)
    for column in parts.columns:
        shares = parts[column].drop(["the image tower alone", "all of it"]).str.extract(r"([\d.]+) %")[0].astype(float)
        whole = float(parts.loc["all of it", column].split(", ")[1].split(" ")[0])
        assert shares.sum() == pytest.approx(whole, abs=1)  # medians need not add up
