"""Symmetric weights on the edges of a neighbour graph, with the density taken out or left in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from immersion.sampled.graph import NeighborGraph


@dataclass(frozen=True)
class UnitWeights:
    """Every edge has weight 1."""


@dataclass(frozen=True)
class GaussianWeights:
    """Weights exp(-dist^2 / b^2) with one bandwidth b for all points.

    `bandwidth` None is half the median distance to the last neighbour, where the kernel has fallen
    to exp(-4) = 0.018 and the edges that the graph lacks no longer matter.
    """

    bandwidth: float | None = None

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not (
            self.bandwidth > 0 and math.isfinite(self.bandwidth)
        ):
            raise InputError(f"the bandwidth is a positive length, not {self.bandwidth}")


@dataclass(frozen=True)
class SelfTuningWeights:
    """Weights exp(-dist_ij^2 / (b_i b_j)), b_i the distance from i to its `neighbor`-th neighbour.

    `neighbor` None is the middle one of the graph's k. Source: Zelnik-Manor and Perona 2004.
    """

    neighbor: int | None = None

    def __post_init__(self) -> None:
        if self.neighbor is not None and self.neighbor < 1:
            raise InputError(f"neighbours are counted from 1, not from {self.neighbor}")


Kernel = UnitWeights | GaussianWeights | SelfTuningWeights


@dataclass(frozen=True, eq=False)
class EdgeWeights:
    """Symmetric weights and squared lengths on the same edges, by one pattern.

    Attributes:
        weights: (n, n) positive, symmetric, without diagonal.
        squared: (e,) squared length of each stored edge, in the order of `weights.data`.
        bandwidth: typical bandwidth b, the median over points; NaN where the kernel has none.
        caveats: what the kernel cannot do on this graph.
    """

    weights: csr_array
    squared: NDArray[np.float64]
    bandwidth: float
    caveats: tuple[str, ...]


def edge_weights(
    graph: NeighborGraph, kernel: Kernel, alpha: float | None, dim: int | None
) -> EdgeWeights:
    """Weights W_ij = K_ij / (q_i q_j)^a on the union of both directions of the graph's edges.

    K is the kernel and q the density that it sees, q_i = sum_j K_ij / b_i^d. The power a is
    alpha for one bandwidth and alpha - 1/2 - 1/d for self-tuning ones, whose b goes as
    density^(-1/d). Either way the generator of the random walk tends to
    Laplace + 2 (1 - alpha) grad(log density) . grad, so alpha = 1 leaves the geometry alone.

    Args:
        graph: k neighbours of n points.
        kernel: how the weight falls with distance.
        alpha: share of the density to remove; None leaves K as it is.
        dim: dimension d of the manifold; needed by a self-tuning kernel with alpha.

    Raises:
        InputError: a neighbour beyond the graph's k, or `dim` missing.

    Source: Coifman and Lafon 2006; variable bandwidths by Berry and Harlim 2016.
    """
    pattern, caveats = _union(graph)
    rows = np.repeat(np.arange(graph.n), np.diff(pattern.indptr))
    columns, squared = pattern.indices, pattern.data
    if isinstance(kernel, UnitWeights):
        bandwidth = np.ones(graph.n)
        values = np.ones(len(squared))
    else:
        bandwidth = _bandwidth(graph, kernel)
        values = np.exp(-squared / (bandwidth[rows] * bandwidth[columns]))
    alone = int(np.count_nonzero(graph.distances[:, 0] > 2 * bandwidth))
    if isinstance(kernel, GaussianWeights) and alone:
        caveats.append(
            f"the nearest neighbour of {alone} points is further than two bandwidths, where "
            "the kernel is blind: SelfTuningWeights() follows the density"
        )
    if alpha is not None:
        last = np.where(np.isfinite(graph.distances), graph.distances, 0).max(axis=1)
        if isinstance(kernel, SelfTuningWeights):
            # A kernel of dist^2 / (b_i b_j) must also end at a multiple of b_i b_j: the union of
            # neighbourhoods alone reaches further on the dense side of an edge, which is a drift.
            values[squared > last[rows].astype(np.float64) * last[columns] * (1 + 1e-6)] = 0
        cut = float(np.median(np.exp(-((last / bandwidth) ** 2))))
        if isinstance(kernel, GaussianWeights) and cut > 0.05:
            caveats.append(
                f"the kernel is still {cut:.2f} at the last neighbour, so the number of "
                "neighbours shapes it: take more neighbours or a smaller bandwidth"
            )
        power, scale = alpha, np.zeros(graph.n)
        if isinstance(kernel, SelfTuningWeights):
            if dim is None:
                raise InputError(
                    "alpha with a self-tuning kernel needs the dimension of the manifold: pass "
                    "dim, or kernel=GaussianWeights()"
                )
            # In logarithms, for b^d leaves the range of floats in high dimension.
            power, scale = alpha - 0.5 - 1 / dim, dim * np.log(bandwidth)
        seen = np.bincount(rows, values, graph.n)
        density = np.log(np.where(seen > 0, seen, 1)) - scale
        density -= density.mean()
        values *= np.exp(-power * (density[rows] + density[columns]))
    weights: Any = pattern
    weights.data = values
    if not values.all():
        squared = squared[values > 0]
        weights.eliminate_zeros()
    typical = math.nan if isinstance(kernel, UnitWeights) else float(np.median(bandwidth))
    return EdgeWeights(weights, squared, typical, tuple(caveats))


def _union(graph: NeighborGraph) -> tuple[Any, list[str]]:
    """Squared lengths on the union of both directions; duplicates are edges of length zero."""
    from scipy.sparse import csr_array

    there = (graph.indices >= 0) & np.isfinite(graph.distances)
    # Half the bytes of an index are half of what a sweep over the edges reads beside the weights.
    small = np.int32 if graph.n <= np.iinfo(np.int32).max else np.int64
    rows = np.broadcast_to(np.arange(graph.n, dtype=small)[:, None], there.shape)[there]
    columns = graph.indices[there].astype(small)
    # Sparse matrices forget zeros: duplicates pass as the smallest number and come back below.
    tiny = np.finfo(np.float64).tiny
    squared = np.maximum(graph.distances[there].astype(np.float64) ** 2, tiny)
    directed: Any = csr_array((squared, (rows, columns)), shape=(graph.n, graph.n))
    both = directed.maximum(directed.T).tocsr()
    both.sort_indices()
    both.data[both.data == tiny] = 0
    missing = there.size - int(np.count_nonzero(there))
    return both, [f"{missing} of {there.size} neighbours are missing"] if missing else []


def _bandwidth(
    graph: NeighborGraph, kernel: GaussianWeights | SelfTuningWeights
) -> NDArray[np.float64]:
    distances = np.where(np.isfinite(graph.distances), graph.distances, 0).astype(np.float64)
    if isinstance(kernel, GaussianWeights):
        chosen = kernel.bandwidth
        if chosen is None:
            chosen = 0.5 * float(np.median(distances.max(axis=1))) or float(distances.max()) or 1.0
        return np.full(graph.n, chosen)
    place = kernel.neighbor or (graph.k + 1) // 2
    if place > graph.k:
        raise InputError(
            f"a bandwidth from neighbour {place} needs as many; the graph has k = {graph.k}"
        )
    own = distances[:, place - 1].copy()
    if not own.all():
        # Among duplicates the nearest point elsewhere stands in; with none, the typical distance.
        flat = own == 0
        elsewhere = np.where(distances[flat] > 0, distances[flat], np.inf).min(axis=1)
        typical = float(np.median(own[~flat])) if not flat.all() else 1.0
        own[flat] = np.where(np.isfinite(elsewhere), elsewhere, typical)
    return own
