"""Functions of mean moments over rows, with the error that leaving out rows shows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def leave_one_out(
    moments: NDArray[np.float64], function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[float, float]:
    """A function of the mean of (m, p) moments, and its jackknife standard error over the rows."""
    m = len(moments)
    total = moments.sum(axis=0)
    value = float(function(total / m))
    if m < 2 or not math.isfinite(value):
        return value, math.nan
    without = function((total - moments) / (m - 1))
    return value, float(without.std()) * math.sqrt(m - 1)


def correlation(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation from (..., 5) mean first, second, squares of both, product; NaN without spread.

    Spread below 1e-12 of the mean square is rounding.
    """
    one, two, square_one, square_two, product = np.moveaxis(moments, -1, 0)
    first, second = square_one - one**2, square_two - two**2
    spread = (first > 1e-12 * square_one) & (second > 1e-12 * square_two)
    scale = np.sqrt(np.where(spread, first * second, 1.0))
    return np.where(spread, (product - one * two) / scale, math.nan)
