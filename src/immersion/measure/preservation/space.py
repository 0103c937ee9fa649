"""Points prepared for rows of squared distances in float32 whose errors are bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.sampled.graph import NeighborGraph, as_points

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import ArrayLike

    Points = ArrayLike | torch.Tensor | NeighborGraph

_FEW = 8
"""Coordinates up to which sums of squared differences cost no more than a product."""

_PASS = 1 << 22


@dataclass(frozen=True, eq=False)
class Space:
    """One side of a map, in units in which its coordinates are of order one.

    Attributes:
        points: (n, D) as given, or scaled by a power of two where float32 would not hold it.
        columns: (D, n) about the mean where D is small, else (0, n).
        extended: (n, D + 2) rows x, |x|^2, 1 about the mean, for products; (0, 0) where D is small.
            Coordinates that are the same for all points are left out here and above.
        squares: (n,) squared lengths about the mean.
        c: a squared distance of points i, j errs by at most c (squares[i] + squares[j]).
    """

    points: NDArray[np.floating]
    columns: NDArray[np.float32]
    extended: NDArray[np.float32]
    squares: NDArray[np.float64]
    c: float

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.points)

    @property
    def most(self) -> float:
        """Greatest of the squares."""
        return float(self.squares.max())

    @property
    def collapsed(self) -> bool:
        """Whether all points coincide."""
        return bool((self.points == self.points[0]).all())

    def rows(self, rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Fill `out` (B, n) with squared distances from some points to all."""
        if len(self.columns):
            from immersion.measure.preservation.kernels import fill_rows

            in_threads(len(rows), lambda part: fill_rows(self.columns, rows[part], out[part]))
        else:
            self.products(rows, slice(0, self.n), out)

    def products(self, rows: NDArray[np.int64], columns: slice, out: NDArray[np.float32]) -> None:
        """Fill `out` with squared distances from some points to a range, where D is not small."""
        # |x - y|^2 = (-2 x, 1, |x|^2) . (y, |y|^2, 1): one product, and no pass over its result.
        block = self.extended[rows]
        block[:, :-2] *= -2
        block[:, -2:] = block[:, :-3:-1]
        np.matmul(block, self.extended[columns].T, out=out)


def in_threads(count: int, work: Callable[[slice], None]) -> None:
    """Run compiled loops that hold no lock on slices of `range(count)`, one a thread of torch."""
    from concurrent.futures import ThreadPoolExecutor

    import torch

    threads = min(torch.get_num_threads(), count)
    if threads == 1:
        work(slice(0, count))
        return
    slices = [slice(t * count // threads, (t + 1) * count // threads) for t in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, slices))


def as_space(points: Points, name: str) -> Space:
    """Points, or those of a graph, checked and prepared.

    Raises:
        InputError: points that `as_points` refuses; a graph whose metric is neither "euclidean"
            nor "cosine".
    """
    x = checked_points(points, name)
    low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
    centre = x.mean(axis=0, dtype=np.float64)
    size = float(np.maximum(high - centre, centre - low).max())
    if not 2.0**-20 <= size <= 2.0**20 and size > 0:
        power = -math.frexp(size)[1]
        x, centre = np.ldexp(x, power), np.ldexp(centre, power)
    # A coordinate that is the same for all points is no part of a distance.
    varying = np.flatnonzero(high > low)
    n, width = len(x), len(varying)
    few = width <= _FEW
    centred = np.ones((n, width if few else width + 2), np.float32)
    squares = np.empty(n)
    for part in row_chunks(n, 16 * x.shape[1], _PASS):
        block = x[part] if width == x.shape[1] else x[part, varying]
        np.subtract(block, centre[varying], out=centred[part, :width], casting="same_kind")
        squares[part] = np.square(centred[part, :width], dtype=np.float64).sum(axis=1)
    # A product of length D errs by 6 sqrt(D) u |x||y| with probability 1 - 1e-7 (Higham and Mary
    # 2019) and casts by a few u; (|x| + |y|)^2 <= 2 (|x|^2 + |y|^2).
    c = 2 * (6 * math.sqrt(width + 4) + 8) * 2.0**-24
    if few:
        # Points that all coincide leave no column; zeros give them the distances they have.
        columns = np.ascontiguousarray(centred.T) if width else np.zeros((1, n), np.float32)
        return Space(x, columns, np.empty((0, 0), np.float32), squares, c)
    centred[:, -2] = squares
    return Space(x, np.empty((0, n), np.float32), centred, squares, c)


def checked_points(points: Points, name: str) -> NDArray[np.floating]:
    """Points, or those of a graph, whose Euclidean distances rank as the metric does.

    Raises:
        InputError: as in `as_space`.
    """
    if isinstance(points, NeighborGraph) and not points.has_points:
        raise InputError(
            f"{name}: the graph knows distances only; give the points themselves, or the graph "
            "with points="
        )
    given = points.points if isinstance(points, NeighborGraph) else points
    try:
        x = as_points(given)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if not isinstance(points, NeighborGraph) or points.metric == "euclidean":
        return x
    if points.metric != "cosine":
        raise InputError(
            f"{name}: the graph has metric {points.metric!r}; ranks need points with 'euclidean' "
            "or 'cosine' distances"
        )
    # Chords of unit vectors grow with the angle, so their ranks are those of cosine distances.
    return x / np.linalg.norm(x, axis=1, keepdims=True)
