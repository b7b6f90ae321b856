"""How numbers are printed, the same in every rendering."""

import numpy as np
import pandas as pd

from reports.layout import Column

MISSING = "–"


def shortened(count: int) -> str:
    """A number of parameters, as the paper prints them."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} K" if count else "0"


def probability(p: float) -> str:
    """A p-value in two digits; what is below the smallest number a computer keeps is said to be so."""
    return f"{p:.2g}" if p > 0 else "< 1e-300"


def number(value: float, column: Column) -> str:
    """A value with the decimals of its column."""
    return MISSING if np.isnan(value) else f"{value:,.{column.decimals}f}"


def half_width(cell: pd.Series) -> float:
    """Half of a cell's interval; nan where there is none."""
    return (cell.high - cell.low) / 2
