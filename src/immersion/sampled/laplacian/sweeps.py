"""Polynomials of a sparse symmetric matrix applied to blocks of vectors.

A block of eight doubles is one cache line, so eight columns cost little more than one does: the
time is that of fetching the rows of x. Each row of the result is summed by one thread in the order
of the matrix, so the number of threads changes no bit.
"""

from __future__ import annotations

import itertools
import math
import threading
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numpy.typing import NDArray

from immersion.core.host.threads import numba_threads

if TYPE_CHECKING:
    from scipy.sparse import csr_array


_ROWS = 4096
"""Rows a thread takes at least: less work than that costs more to hand out than to do."""


@numba.njit(cache=True, nogil=True)
def _combine(
    starts: NDArray[np.integer],
    columns: NDArray[np.integer],
    data: NDArray[np.float64],
    x: NDArray[np.float64],
    times: float,
    shift: float,
    y: NDArray[np.float64],
    keep: float,
    first: int,
    last: int,
) -> None:
    """Y <- times (A - shift) x - keep y, in place, on the rows from first to last."""
    width = x.shape[1]
    for i in range(first, last):
        for c in range(width):
            y[i, c] = -times * shift * x[i, c] - keep * y[i, c]
        for e in range(starts[i], starts[i + 1]):
            j = columns[e]
            weight = times * data[e]
            for c in range(width):
                y[i, c] += weight * x[j, c]


class Sweeps:
    """A symmetric positive semidefinite matrix as something to sweep with.

    Attributes:
        top: upper bound of the spectrum.
    """

    def __init__(self, matrix: csr_array, top: float) -> None:
        stored: Any = matrix
        self._matrix = stored
        self._parts = (stored.indptr, stored.indices, stored.data)
        self.top = top
        n = len(stored.indptr) - 1
        threads = max(1, min(numba_threads(), n // _ROWS))
        # Equal numbers of edges, not of rows.
        inner = np.linspace(0, int(stored.nnz), threads + 1)[1:-1]
        cuts: list[int] = [0, *np.searchsorted(stored.indptr, inner).tolist(), n]
        self._pieces = list(itertools.pairwise(cuts))

    def _combine(
        self,
        x: NDArray[np.float64],
        times: float,
        shift: float,
        y: NDArray[np.float64],
        keep: float,
    ) -> None:
        """Y <- times (A - shift) x - keep y, in place."""
        rest = [
            threading.Thread(target=_combine, args=(*self._parts, x, times, shift, y, keep, *rows))
            for rows in self._pieces[1:]
        ]
        for thread in rest:
            thread.start()
        _combine(*self._parts, x, times, shift, y, keep, *self._pieces[0])
        for thread in rest:
            thread.join()

    def product(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The matrix times x (n, p)."""
        if x.shape[1] == 1:
            # Without columns to share a cache line, the plain product is twice as fast.
            return self._matrix @ x
        out = np.zeros_like(x)
        self._combine(x, 1.0, 0.0, out, 0.0)
        return out

    def damp(self, x: NDArray[np.float64], cut: float, degree: int) -> NDArray[np.float64]:
        """Chebyshev polynomial of the degree, small on [cut, top], 1 at zero and between below.

        Scaled by its value at zero in every step, so that no degree overflows. Source: Zhou and
        Saad, A Chebyshev-Davidson algorithm (2007), algorithm 3.1.
        """
        half, middle = (self.top - cut) / 2, (self.top + cut) / 2
        ratio = first = -half / middle
        before, now = x.copy(), np.zeros_like(x)
        self._combine(x, first / half, middle, now, 0.0)
        for _ in range(2, degree + 1):
            following = 1 / (2 / first - ratio)
            self._combine(now, 2 * following / half, middle, before, ratio * following)
            before, now, ratio = now, before, following
        return now

    def exponential(
        self, x: NDArray[np.float64], time: float, tolerance: float
    ) -> NDArray[np.float64]:
        """exp(-time A) x, error at most tolerance |x| a column.

        exp(-t A) = e^(-s) (I_0(s) + 2 sum_m I_m(s) T_m(1 - 2 A / top)) with s = t top / 2, cut
        where the coefficients left out add up to less than the tolerance, after about
        sqrt(s log(1 / tolerance)) terms.
        """
        from scipy.special import ive

        s = time * self.top / 2
        most = math.ceil(8 * math.sqrt(s) + 60)
        # ive already holds the factor e^(-s).
        terms: NDArray[np.float64] = 2 * ive(np.arange(most), s)
        terms[0] /= 2
        left_out = np.cumsum(terms[::-1])[::-1]
        degree = int(np.count_nonzero(left_out > tolerance))
        before, now = x.copy(), np.zeros_like(x)
        scale, middle = -2 / self.top, self.top / 2
        total = terms[0] * x
        self._combine(x, scale, middle, now, 0.0)
        for term in terms[1:degree]:
            total += term * now
            self._combine(now, 2 * scale, middle, before, 1.0)
            before, now = now, before
        return total
