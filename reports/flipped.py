"""What every cell of a table opens: the images a row reads differently from the baseline."""

from pathlib import Path

import pandas as pd

from reports.collect import read_predictions
from reports.flips import Flips, flips_of, stored_images
from reports.table import Table

SHOWN = 12  # images a side and cell


def flips_of_table(table: Table, runs: pd.DataFrame, results: Path) -> dict[tuple[str, str], Flips]:
    """Flips by row and column name, of the first seed; none for the baseline, for facts and for cells without numbers."""
    baseline = table.layout.baseline
    if baseline is None or runs.reason[baseline]:
        return {}
    images = stored_images(Path(runs.data_root[baseline]))
    first = {row: first_seed(read_predictions(results, run)) for row, run in runs.iterrows() if not run.reason}
    found = {}
    for row in first:
        for column in table.scored:
            pair = [frame[frame.benchmark.isin(column.benchmarks)] for frame in (first[row], first[baseline])]
            if row != baseline and len(pair[0]) and len(pair[0]) == len(pair[1]):
                found[row, column.name] = flips_of(*pair, images, SHOWN)
    return found


def first_seed(scored: pd.DataFrame) -> pd.DataFrame:
    return scored[scored.seed == scored.seed.min()]
