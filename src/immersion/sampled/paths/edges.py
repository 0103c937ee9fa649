"""The undirected graph of edges that paths run along, from neighbour lists or from an edge list."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from immersion.core.errors import InputError
from immersion.sampled.graph import NeighborGraph

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class _Adjacency(TypedDict):
    starts: NDArray[np.int64]
    indices: NDArray[np.int32]
    lengths: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class EdgeGraph:
    """An undirected graph with lengths, where points may have any number of neighbours.

    What `connect` and `prune_shortcuts` return, and what every function of this folder takes in
    place of a `NeighborGraph`.

    Attributes:
        starts: (n + 1,) the neighbours of point i are `indices[starts[i]:starts[i + 1]]`.
        indices: (2 m,) int32, ascending within each point; every edge stands in both directions.
        lengths: (2 m,) lengths of the edges, zero between duplicates.
        origin: the neighbour graph from which the edges come: its points and its metric.
    """

    starts: NDArray[np.int64]
    indices: NDArray[np.int32]
    lengths: NDArray[np.floating]
    origin: NeighborGraph

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.starts) - 1

    @property
    def m(self) -> int:
        """Number of edges, each counted once."""
        return len(self.indices) // 2

    @property
    def degrees(self) -> NDArray[np.int64]:
        """(n,) number of neighbours of each point."""
        return np.diff(self.starts)

    def edges(self) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        """Every edge once: end points (m, 2) with i < j, in ascending order, and lengths (m,)."""
        ends = np.repeat(np.arange(self.n, dtype=np.int64), self.degrees)
        once = ends < self.indices
        pairs = np.column_stack([ends[once], self.indices[once].astype(np.int64)])
        return pairs, self.lengths[once]

    def with_edges(self, ends: NDArray[np.int64], lengths: NDArray[np.floating]) -> EdgeGraph:
        """The same points with these edges (m, 2) instead; of equal edges the shortest counts."""
        return replace(self, **_adjacency(self.n, ends, lengths))

    def to_scipy(self) -> csr_array:
        """Symmetric (n, n) matrix of lengths, with explicit zeros between duplicates."""
        from scipy.sparse import csr_array

        return csr_array((self.lengths, self.indices, self.starts), shape=(self.n, self.n))


def as_edges(graph: NeighborGraph | EdgeGraph, weights: ArrayLike | None = None) -> EdgeGraph:
    """The undirected graph in which i and j are joined when either lists the other.

    A point that lists itself, and entries that are missing (a negative index or an infinite
    distance), give no edge. Where i and j list each other with different weights the smaller holds.

    Args:
        graph: neighbour lists; an `EdgeGraph` is returned as it is.
        weights: (n, k) lengths in place of the distances, one for every entry of `indices`.

    Raises:
        InputError: weights of another shape, negative, NaN, or for a graph that is no lists.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> graph = as_edges(neighbor_graph([[0.0], [1.0], [3.0]], k=1))
        >>> graph.edges()[0].tolist(), graph.edges()[1].tolist()
        ([[0, 1], [1, 2]], [1.0, 2.0])
    """
    if isinstance(graph, EdgeGraph):
        if weights is not None:
            raise InputError(
                "weights belong to neighbour lists (n, k); this graph has edges with lengths of "
                "their own: graph.with_edges(ends, lengths) replaces them"
            )
        return graph
    given = graph.distances if weights is None else _as_weights(weights, graph)
    near, far = np.repeat(np.arange(graph.n), graph.k), graph.indices.ravel()
    lengths = given.ravel()
    real = (far >= 0) & (far != near) & np.isfinite(lengths)
    if not real.all():
        near, far, lengths = near[real], far[real], lengths[real]
    return EdgeGraph(**_adjacency(graph.n, np.column_stack([near, far]), lengths), origin=graph)


def _adjacency(n: int, ends: NDArray[np.int64], lengths: NDArray[np.floating]) -> _Adjacency:
    """Both directions of every edge, rows sorted, the shortest of parallel edges kept."""
    from scipy.sparse import coo_array

    low, high = ends.min(axis=1, initial=n), ends.max(axis=1, initial=-1)
    key = low * n + high
    order = np.lexsort((lengths, key))
    key = key[order]
    kept = order[np.flatnonzero(np.diff(key, prepend=-1))]
    low, high, lengths = low[kept].astype(np.int32), high[kept].astype(np.int32), lengths[kept]
    rows, columns = np.concatenate([low, high]), np.concatenate([high, low])
    both = np.concatenate([lengths, lengths])
    matrix: Any = coo_array((both, (rows, columns)), shape=(n, n)).tocsr()
    matrix.sort_indices()
    return {
        "starts": matrix.indptr.astype(np.int64),
        "indices": matrix.indices.astype(np.int32, copy=False),
        "lengths": matrix.data,
    }


def _as_weights(weights: ArrayLike, graph: NeighborGraph) -> NDArray[np.floating]:
    found = np.asarray(weights)
    if found.shape != graph.indices.shape or found.dtype.kind not in "fiub":
        raise InputError(
            f"weights must be numbers of shape (n, k) = {graph.indices.shape}, one for every "
            f"neighbour; met {found.dtype} of shape {found.shape}"
        )
    wide = found.astype(np.float64 if found.dtype.itemsize > 4 else np.float32)
    wrong = ~(wide >= 0)
    if wrong.any():
        row, slot = (int(place[0]) for place in np.nonzero(wrong))
        raise InputError(
            f"weights are lengths, at least 0; weights[{row}, {slot}] is {wide[row, slot]} "
            f"({np.count_nonzero(wrong)} entries are negative or NaN)"
        )
    return wide
