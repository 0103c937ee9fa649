"""One implicit step of the heat equation on a graph, right in every digit far from the source."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def heat(
    starts: NDArray[np.int64],
    indices: NDArray[np.int32],
    rate: NDArray[np.float64],
    sources: NDArray[np.int64],
    tolerance: float,
    heat: NDArray[np.float64],
) -> int:
    """Solve u_i = (source_i + rate_i mean_j u_j) / (1 + rate_i) for each source; return the sweeps.

    Symmetric Gauss-Seidel from zero: all terms are positive and u only grows, so that even
    u = 1e-200 keeps its relative accuracy, on which the logarithm depends; conjugate gradients
    would lose all below 1e-16. Stops when no value grows by more than the share `tolerance`.
    """
    n = len(starts) - 1
    lanes = len(sources)
    heat[:] = 0
    total = np.empty(lanes)
    growing = True
    sweeps = 0
    while growing:
        growing = False
        for step in range(n):
            i = step if sweeps % 2 == 0 else n - 1 - step
            degree = starts[i + 1] - starts[i]
            total[:] = 0
            for slot in range(starts[i], starts[i + 1]):
                j = indices[slot]
                for lane in range(lanes):
                    total[lane] += heat[j, lane]
            for lane in range(lanes):
                arrives = rate[i] * total[lane] / max(1, degree)
                if sources[lane] == i:
                    arrives += 1
                value = arrives / (1 + rate[i])
                growing |= value > heat[i, lane] * (1 + tolerance)
                heat[i, lane] = value
        sweeps += 1
    return sweeps
