"""Training noise that is known without training anything: as table.yaml states it, and from the authors' second trainings."""

from functools import cache

import pandas as pd

from core.data.benchmarks import PUBLISHED_SIZES
from reports.collect.published import PUBLISHED_FOLDER, read_csv
from reports.columns import Column, columns_of, mean_columns
from reports.layout import Layout
from reports.stats.noise import Noise

SECOND = PUBLISHED_FOLDER / "second_training.csv"
FIRST = ("table_III.csv", "table_IV.csv")  # where the paper prints the first training of the same models
BENCHMARKS = {  # by the columns of these files
    "IIIT5K": "IIIT5k",
    "SVT": "SVT",
    "IC13": "IC13_1015",
    "IC15 (1811)": "IC15_1811",
    "IC15": "IC15_2077",
    "SVTP": "SVTP",
    "CUTE": "CUTE80",
    "HOST": "HOST",
    "WOST": "WOST",
    "COCO": "COCO",
    "ArT": "ArT",
    "Uber": "Uber",
}


def stated_noise(layout: Layout, scale: str, rendered: bool, columns: list[Column]) -> Noise | None:
    """Training noise of the mean over `columns` without a training of this study; None where nobody knows it.

    What table.yaml states is of the mean over all columns of the table. Where only some of them have images, or a claim names
    some, it says nothing; in the paper's tables the authors' second trainings then do, if they were scored on all of these.

    Args:
        scale: the scale of the study; noise is stated for one scale.
        rendered: see `columns_of`.
    """
    stated = layout.noise_sd
    if not stated or stated.scale != scale:
        return None
    if {column.name for column in columns} == {column.name for column in whole_mean(layout, rendered)}:
        return Noise(stated.points**2, stated.df, stated.source)
    printed = (PUBLISHED_FOLDER / f"{layout.table}.csv").is_file()
    return published_noise(columns) if printed and scale == "paper" and not unscored(columns) else None


def whole_mean(layout: Layout, rendered: bool) -> list[Column]:
    """The columns of a table's mean where every one that can be filled has images."""
    columns = columns_of(layout, rendered, [])
    return mean_columns(columns, {name for column in columns for name in column.benchmarks})


def unscored(columns: list[Column]) -> list[str]:
    """Benchmarks of `columns` on which no model's second training was scored."""
    return sorted({name for column in columns for name in column.benchmarks} - set(trainings()[1].columns))


def published_noise(columns: list[Column]) -> Noise:
    """Noise of the mean of `columns` at paper scale, in points squared.

    Two trainings of one configuration differ by d, whose variance is twice that of one training. The mean of d is known to be
    zero, so m models give m degrees of freedom: variance = sum of d^2 / 2m.

    Args:
        columns: whose benchmarks were all scored (`unscored`).
    """
    first, second = trainings()
    apart = mean_of(second, columns) - mean_of(first, columns)
    return Noise(float((apart**2).mean() / 2), len(apart), f"a second training of {len(apart)} models by the authors")


@cache
def trainings() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Word accuracies as first and second training: one row per model trained twice, one column per benchmark."""
    second = read_csv(SECOND).set_index("row")
    first = pd.concat([read_csv(PUBLISHED_FOLDER / name).set_index("row") for name in FIRST], axis=1)
    both = (frame.loc[second.index, list(BENCHMARKS)].astype(float) for frame in (first, second))
    return tuple(frame.rename(columns=BENCHMARKS) for frame in both)


def mean_of(scores: pd.DataFrame, columns: list[Column]) -> pd.Series:
    """Plain mean over columns of what each column's benchmarks pool to, image by image; one value per model."""
    pooled = []
    for column in columns:
        sizes = pd.Series({name: PUBLISHED_SIZES[name] for name in column.benchmarks})
        pooled.append((scores[list(column.benchmarks)] * sizes).sum(axis=1, skipna=False) / sizes.sum())
    return pd.concat(pooled, axis=1).mean(axis=1)
