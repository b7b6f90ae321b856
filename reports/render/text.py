"""Formatting of numbers, the same in every table format."""

import numpy as np
import pandas as pd

from reports.columns import Column

MISSING = "–"


def shortened(count: int) -> str:
    """A number of parameters, as the paper prints them."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} K" if count else "0"


def probability(p: float) -> str:
    """A p-value in two digits, or that it is below the smallest number a computer keeps."""
    return f"{p:.2g}" if p > 0 else "< 1e-300"


def number(value: float, column: Column) -> str:
    """A value with the decimals of its column."""
    return MISSING if np.isnan(value) else f"{value:,.{column.decimals}f}"


def signed(points: float, decimals: int = 1) -> str:
    """A number with a sign; nothing before a zero."""
    text = f"{points:+.{decimals}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def span_of(values: pd.Series, decimals: int) -> str:
    """The smallest and the largest of some numbers, or the one."""
    least, most = (f"{value:.{decimals}f}" for value in (values.min(), values.max()))
    return least if least == most else f"{least} to {most}"
