"""A table made by hand, for tests of renderings: every kind of row, column and cell that a study can leave behind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from reports.build import centres, ranks
from reports.collect.flips import Flips, flips_of
from reports.columns import Column
from reports.layout import Layout, read_layout
from reports.stats import intervals
from reports.stats.intervals import Interval
from reports.stats.orderings import Agreement
from reports.table import Table

IMAGES = 600
NO_FAMILY = "no family of the rendered world stands for it"
TOO_LARGE = "needs a tower that micro has none of"

COLUMNS = (
    Column("IC15", ("incidental",)),
    Column("HOST", ("heavily_occluded",)),
    Column("SVT"),
    Column("Time (ms)", fact="milliseconds", higher_is_better=False),
)
CORRECT = {  # of 600 images a benchmark, and milliseconds an image
    "cross": (294, 106, 1.5),
    "visual": (306, 106, 0.75),
    "frozen <half>": (158, 51, 1.2512),
    "my_idea 50%": (297, 119, np.nan),
    "huge": None,
}
PUBLISHED = {"cross": (90.6, 77.5, 97.8, 1.3), "visual": (90.3, 76.3, np.nan, 0.9), "huge": (91.2, 78.0, 99.1, np.nan)}
DIFFERENCES = {  # difference, interval, p, p after Holm
    "visual": (1.0, -0.75, 2.7, 0.38, 0.76),
    "frozen <half>": (-15.9, -17.8, -14.0, 1.6e-80, 4.8e-80),
    "my_idea 50%": (1.3, 0.1, 2.5, 0.021, 0.042),
}


def make_layout() -> Layout:
    """A layout as of a file, for rows and columns that have none."""
    return replace(
        read_layout("table_VI"),
        about="What is frozen, as a fraction of 100 % of the blocks; a_b & c are names.",
        baseline="cross",
        columns=(),
        order=(),
        not_at_micro={"huge": TOO_LARGE},
    )


def make_table() -> Table:
    """Five rows: a baseline, better and worse ones, one of ours, one without numbers; published rows of two others."""
    cells = make_cells()
    rows = pd.DataFrame(index=pd.Index(list(CORRECT), name="row"))
    rows = rows.assign(gin=[f"ablations/table_VI/{row}.gin" for row in rows.index], run="micro-02804c23", output="cross")
    rows.loc["visual", "output"] = "visual"
    rows = rows.assign(layers="4/4", params=[1_111_000, 830_000, 667_000, 1_111_000, 2_000_000], params_paper=105_218_048)
    rows = rows.assign(ours=[row not in PUBLISHED for row in rows.index], reason="")
    rows.loc["huge", ["run", "reason"]] = "", TOO_LARGE
    rows = rows.join(centres(cells, [column for column in COLUMNS if column.name in ("IC15", "HOST")]))
    names = ["difference", "diff_low", "diff_high", "p", "p_holm"]
    rows[names] = pd.DataFrame.from_dict(DIFFERENCES, orient="index", columns=names).reindex(rows.index)
    rows.loc["cross", "difference"] = 0.0
    rows["n"] = np.where(rows.difference.notna(), 2 * IMAGES, np.nan)
    rows["detectable"] = rows.p.notna().map({True: 1.6, False: np.nan})
    error = (rows.diff_high - rows.diff_low) / 2 / 1.96
    rows = rows.assign(seed_sd=np.nan, df=120.0, image_se=0.6 * error, training_se=0.8 * error, noise_sd=0.4)
    rows = rows.assign(pooled=rows.difference, noise="5 trainings of the baseline", seeds_needed=np.nan)
    rows.loc["visual", "seeds_needed"] = 12
    others = pd.DataFrame({"method": ["PARSeq-A", "A&B_100%"], "training": ["Real(3.3M)", "MJ+ST"]})
    others = others.assign(IC15=[89.6, np.nan], HOST=[74.4, 50.3], SVT=[97.5, 91.5], **{"Time (ms)": [np.nan, 1.32]})
    notes = (
        f"Word accuracy in per cent, ± half of Wilson's 95 % interval over images ({IMAGES} a benchmark).",
        "Difference: in points to cross on the pooled images; the smallest that shows is 1.6 − smaller ones may be missed.",
    )
    return Table(
        layout=make_layout(),
        scale="micro",
        data="rendered micro world",
        seeds="0",
        columns=COLUMNS,
        rows=rows,
        cells=cells,
        others=others,
        peers=pd.DataFrame({"method": ["reader 1.0"], "IC15": [Interval(81.2, 80.0, 82.4)], "HOST": [None], "SVT": [None]}),
        averaged=("IC15", "HOST"),
        notes=notes,
        agreement=Agreement(1.0, 1.0, 2),
        runs=pd.DataFrame(),
        results=Path("nowhere"),
    )


def make_cells() -> pd.DataFrame:
    """Intervals are Wilson's of the counts; SVT has no stand-in, one time was not measured."""
    lines = []
    for row, counted in CORRECT.items():
        for place, column in enumerate(COLUMNS):
            line = {"row": row, "column": column.name, "value": np.nan, "reason": TOO_LARGE if counted is None else ""}
            line["published"] = PUBLISHED[row][place] if row in PUBLISHED else np.nan
            if counted and column.name == "SVT":
                line["reason"] = NO_FAMILY
            elif counted and column.fact:
                line |= {"value": counted[2], "reason": "not measured" if np.isnan(counted[2]) else ""}
            elif counted:
                found = intervals.accuracy(counted[place], IMAGES)
                line |= {"value": found.value, "low": found.low, "high": found.high, "n": IMAGES, "seeds": 1}
            lines.append(line)
    cells = pd.DataFrame(lines).assign(seed_sd=np.nan)
    cells["rank"] = ranks(cells, list(COLUMNS), "value")
    return cells.assign(published_rank=ranks(cells, list(COLUMNS), "published"))


def readings(correct: list[int], wrong: str = "wrong") -> pd.DataFrame:
    """Readings of the images 1, 2, ... of the benchmark `incidental`; label and reading of the last one try to end a script."""
    labels = [f"word{number}" for number in range(1, len(correct))] + ["</script><b>&"]
    frame = pd.DataFrame({"benchmark": "incidental", "lmdb": ".", "index": range(1, len(correct) + 1), "label": labels})
    said = [label if good else wrong for label, good in zip(labels, correct, strict=True)]
    return frame.assign(reading=said, correct=[bool(good) for good in correct])


def coloured(benchmark: str, lmdb: str, index: int) -> Image.Image:
    """A wide image whose colour tells which it is."""
    return Image.new("RGB", (256, 64), (20 * index, 100, 250 - 20 * index))


def make_flips() -> dict[tuple[str, str], Flips]:
    """Two rows that win images 1 and 6; one of them loses image 2. The last one is named to break out of a page."""
    baseline = readings([0, 1, 1, 0, 1, 0])
    visual, idea = readings([1, 0, 1, 0, 1, 1]), readings([1, 1, 1, 0, 1, 1])
    return {
        ("visual", "IC15"): flips_of(visual, baseline, coloured, 4),
        ("my_idea 50%", "IC15"): flips_of(idea, baseline, coloured, 4),
    }
