"""The effects of a claim's contrasts by the printed numbers alone, before anything is trained here.

Nobody published which images two rows read differently, nor a second training of the rows themselves, so both parts of the
error are taken as large as they can be: rows misread their images independently of each other (in truth hard images are hard
for both, which makes a difference more certain), and every row is a training of its own, also where the paper decodes one
model in two ways.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from core.data.benchmarks import PUBLISHED_SIZES, distinct
from reports.claims.claim import Contrast, layout_of
from reports.claims.verdict import Effect
from reports.collect.published import fill_averages, read_published
from reports.columns import Column, columns_of
from reports.stats.intervals import effective_images
from reports.stats.second_training import published_noise, unscored

STEP = 0.1  # points: accuracies are printed to a tenth


def printed_effect(contrast: Contrast) -> Effect:
    """The difference of the printed numbers, with training noise from the authors' second trainings."""
    columns = contrast.compared(columns_of(contrast.layout, False, []))
    value = weighted(contrast.weights, columns)
    if np.isnan(value):
        return Effect(reason="the paper does not print all of these numbers")
    if contrast.of_time:
        return Effect(value, reason="the paper gives no spread of its times")
    if unknown := unscored(columns):
        return Effect(value, reason=f"no second training was scored on {', '.join(unknown)}")
    noise, images = published_noise(columns), image_variance(contrast, columns)
    training = noise.variance * sum(weight**2 for weight in contrast.weights.values())
    return Effect(
        value=value,
        image_se=float(np.sqrt(images)),
        training_se=float(np.sqrt(training)),
        df=noise.df * ((images + training) / training) ** 2,  # Satterthwaite; images count as known without end
        seeds=1,
        seed_variance=training,
        seed_df=noise.df,
    )


def without_images(effect: Effect) -> Effect:
    """The effect if no image were read differently for another reason than training: the other end of what is not published."""
    return replace(effect, image_se=0.0, df=effect.seed_df)


def printed(table: str, row: str, columns: list[Column]) -> pd.Series:
    """A row's printed numbers by column; nan where the paper prints none."""
    rows, names = printed_rows(table), [column.name for column in columns]
    return rows.loc[row, names].astype(float) if row in rows.index else pd.Series(np.nan, index=names)


@cache
def printed_rows(table: str) -> pd.DataFrame:
    layout = layout_of(table)
    return fill_averages(layout, read_published(layout, layout.rows))


def weighted(weights: dict[tuple[str, str], int], columns: list[Column]) -> float:
    """The weighted sum of rows' plain means over columns."""
    return float(sum(weight * printed(*key, columns).mean(skipna=False) for key, weight in weights.items()))


def printed_margin(contrast: Contrast) -> float | None:
    """The margin in the unit of the printed numbers; None where the claim has none."""
    if contrast.margin_percent is None:
        return contrast.margin
    columns = contrast.compared(columns_of(contrast.layout, False, []))
    subtracted = {key: weight for key, weight in contrast.weights.items() if weight < 0}
    return -contrast.margin_percent / 100 * weighted(subtracted, columns)


def image_variance(contrast: Contrast, columns: list[Column]) -> float:
    """Variance of a sum of rows that err independently, from images and rounding, in points squared."""
    variance = 0.0
    for (table, row), weight in contrast.weights.items():
        accuracies = printed(table, row, columns)
        for column in columns:
            share = accuracies[column.name] / 100
            images = sum(PUBLISHED_SIZES[name] for name in column.benchmarks)
            twice = sum(PUBLISHED_SIZES[name] for name in set(column.benchmarks) - distinct(column.benchmarks))
            single = 100**2 * share * (1 - share) / effective_images(images, twice) + STEP**2 / 12
            variance += (weight / len(columns)) ** 2 * single
    return variance
