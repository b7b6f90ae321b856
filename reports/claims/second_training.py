"""How far one training of the paper's models is from another, as the authors' own second training of four of them shows."""

from functools import cache

import pandas as pd

from core.data.benchmarks import PUBLISHED as SIZES
from reports.collect import PUBLISHED, read_csv
from reports.layout import Column
from reports.noise import Noise

SECOND = PUBLISHED / "second_training.csv"
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
    first = pd.concat([read_csv(PUBLISHED / name).set_index("row") for name in FIRST], axis=1)
    both = (frame.loc[second.index, list(BENCHMARKS)].astype(float) for frame in (first, second))
    return tuple(frame.rename(columns=BENCHMARKS) for frame in both)


def mean_of(scores: pd.DataFrame, columns: list[Column]) -> pd.Series:
    """Plain mean over columns of what each column's benchmarks pool to, image by image; one value per model."""
    pooled = []
    for column in columns:
        sizes = pd.Series({name: SIZES[name] for name in column.benchmarks})
        pooled.append((scores[list(column.benchmarks)] * sizes).sum(axis=1, skipna=False) / sizes.sum())
    return pd.concat(pooled, axis=1).mean(axis=1)
