"""Intrinsic dimension from how the number of close pairs grows with the distance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.dimension.pca import euclidean_graph, patch_rows
from immersion.measure.dimension.uncertainty import (
    FEWEST,
    Sentence,
    caveats,
    undecided,
)
from immersion.sampled.graph import NeighborGraph

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray


def correlation_dimension(
    points: ArrayLike | torch.Tensor | NeighborGraph,
    *,
    near: int | None = None,
    far: int | None = None,
    rows: int = 1000,
    seed: int = 0,
) -> Measurement:
    """Correlation dimension: the slope of the log share of pairs closer than r over log r.

    d = log(C(r2) / C(r1)) / log(r2 / r1), with r1 and r2 the median distances to the near-th and
    the far-th neighbour and C(r) the share of pairs closer than r. Dense places hold most close
    pairs, so where density or dimension varies this is the dimension of the densest part.

    Args:
        points: (n, D) points, or a Euclidean graph with at least `far` neighbours.
        near: neighbour whose median distance is r1; half of `far` by default.
        far: neighbour whose median distance is r2; 20 by default, or the graph's k where that is
            smaller.
        rows: pairs are counted between this many points, drawn at random, and all others; with
            rows >= n all pairs count and the value is exact.
        seed: of the draw.

    Returns:
        Dimension with the standard error of a two-sample U-statistic, which counts the pairs of a
        point as dependent. NaN where the two distances are equal or hold no pairs.

    Raises:
        InputError: not 1 <= near < far, too few neighbours, or a graph of another metric.

    Cost: O(n k), and 2 D flops for each pair of a row and a point that both have more than k points
    within r2, in chunks of 128 MB; the graph has the others. With k = 64 a quarter of the points of
    images are such, hence a sixteenth of all pairs.

    Source: Grassberger and Procaccia 1983, doi:10.1016/0167-2789(83)90298-1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> plane = rng.uniform(size=(2000, 2)) @ rng.normal(size=(2, 10))
        >>> d = correlation_dimension(plane)
        >>> abs(d.value - 2) < 3 * d.stderr
        True
    """
    if far is None:
        far = min(20, points.k) if isinstance(points, NeighborGraph) else 20
    near = far // 2 if near is None else near
    if not 1 <= near < far:
        raise InputError(f"1 <= near < far is needed, not near = {near} and far = {far}")
    graph = euclidean_graph(points, far, "correlation_dimension")
    chosen = patch_rows(graph.n, rows, seed)
    r1, r2 = (float(np.median(graph.distances[:, m - 1])) for m in (near, far))
    settings = {"near": near, "far": far, "rows": len(chosen), "seed": seed, "r1": r1, "r2": r2}
    if graph.n < FEWEST or not 0 < r1 < r2:
        return undecided("correlation_dimension", graph, settings, min(graph.n, len(chosen)))
    within1, within2 = _pairs_within(graph, chosen, r1, r2)
    if within1.sum() == 0 or within2.sum() == within1.sum():
        why = Sentence(
            "no_pairs",
            "no pairs of the {rows} points drawn are as close as their neighbours",
            rows=len(chosen),
        )
        return Measurement("correlation_dimension", math.nan, math.nan, 0, settings, None, (why,))
    span = math.log(r2 / r1)
    d = math.log(within2.sum() / within1.sum()) / span
    influence = (within2 / within2.mean() - within1 / within1.mean()) / span
    # A point drawn is in its own row and in the others' columns (Hoeffding's projection).
    m, n = len(chosen), graph.n
    stderr = math.sqrt(float(influence.var(ddof=1)) * (1 / m + 3 / n))
    return Measurement("correlation_dimension", d, stderr, m, settings, caveats=caveats(graph, d))


def _pairs_within(
    graph: NeighborGraph, rows: NDArray[np.int64], r1: float, r2: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row, how many other points are closer than r1 and than r2.

    A point whose farthest neighbour is at least r2 away has all of its pairs in the graph. Only
    pairs of two other, crowded points are counted from the points.
    """
    crowded = np.flatnonzero((graph.distances[:, -1] < r2) | (graph.recall < 1))
    counts = np.count_nonzero(graph.distances < r1, 1), np.count_nonzero(graph.distances < r2, 1)
    rows_of = np.intersect1d(rows, crowded, assume_unique=True)
    if len(rows_of):
        sparse = np.ones(graph.n, bool)
        sparse[crowded] = False
        among = _counted(graph.points, rows_of, crowded, r1, r2)
        for count, r, more in zip(counts, (r1, r2), among, strict=True):
            near = graph.indices[sparse][graph.distances[sparse] < r]
            count[rows_of] = np.bincount(near, minlength=graph.n)[rows_of] + more
    return counts[0][rows], counts[1][rows]


def _counted(
    points: NDArray[np.floating],
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    r1: float,
    r2: float,
) -> NDArray[np.int64]:
    """(2, m) how many of `others`, which hold the rows, are closer to each row than r1 and r2."""
    centre = points.mean(axis=0, dtype=np.float64).astype(points.dtype)
    own = points[rows] - centre
    lengths = np.einsum("nd,nd->n", own, own, dtype=np.float64)
    # |x|^2 + |y|^2 - 2xy loses eps |x|^2 / r^2 of its digits; float64 has them to spare.
    dtype = np.float32 if r1**2 > 1e-3 * float(lengths.max()) else np.float64
    own = own.astype(dtype, copy=False)
    # r^2 - |x|^2 in float64: only the comparison is rounded.
    bounds = [(r * r - lengths).astype(dtype)[:, None] for r in (r1, r2)]
    counts = np.full((2, len(rows)), -1, np.int64)  # the point itself is closer too
    width = np.dtype(dtype).itemsize * (len(rows) + points.shape[1])
    for part in row_chunks(len(others), 2 * width, 1 << 27):
        these = (points[others[part]] - centre).astype(dtype, copy=False)
        distances = own @ these.T
        distances *= -2
        distances += np.einsum("nd,nd->n", these, these)
        for count, bound in zip(counts, bounds, strict=True):
            count += np.count_nonzero(distances < bound, axis=1)
    return counts
