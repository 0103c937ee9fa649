"""Shortest paths on a neighbour graph, from all or chosen sources: distances, and the paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from immersion.core.chunking import parse_bytes, row_chunks
from immersion.core.errors import InputError
from immersion.core.progress import Progress, Silent
from immersion.sampled.graph import NeighborGraph
from immersion.sampled.paths.edges import EdgeGraph, as_edges
from immersion.sampled.paths.plan import Plan

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float

MEMORY = "4GB"
"""Most bytes that a result and the work on it take, unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class Path:
    """One shortest path.

    Attributes:
        nodes: (h + 1,) points from the start to the end, both included.
        lengths: (h,) float64 lengths of its edges.
        length: their sum, which is the distance; infinite, without nodes, where no path is.
    """

    nodes: NDArray[np.int64]
    lengths: NDArray[np.float64]
    length: float


@dataclass(frozen=True, eq=False)
class ShortestTrees:
    """The shortest paths from some sources to all points.

    Attributes:
        graph: the edges.
        sources: (s,) where each tree starts.
        distances: (s, n) float64 distances, infinite out of reach.
        predecessors: (s, n) int32 the point before each on its path, -1 at the source and out of
            reach.
    """

    graph: EdgeGraph
    sources: NDArray[np.int64]
    distances: NDArray[np.float64]
    predecessors: NDArray[np.int32]

    def path(self, row: int, end: int) -> Path:
        """The path of tree `row` from its source to the point `end`.

        The lengths of its edges, added from the source on, are `distances[row, end]` to the bit.
        """
        (end,) = as_sources(end, self.graph.n, "end").tolist()
        if not np.isfinite(self.distances[row, end]):
            return Path(np.empty(0, np.int64), np.empty(0), np.inf)
        nodes = [end]
        while (before := int(self.predecessors[row, nodes[-1]])) >= 0:
            nodes.append(before)
        nodes.reverse()
        lengths = np.array([self._length(i, j) for i, j in pairwise(nodes)], np.float64)
        return Path(np.array(nodes), lengths, float(self.distances[row, end]))

    def _length(self, i: int, j: int) -> float:
        start, stop = self.graph.starts[i : i + 2]
        slot = start + np.searchsorted(self.graph.indices[start:stop], j)
        return float(self.graph.lengths[slot])


def shortest_paths(
    graph: NeighborGraph | EdgeGraph,
    sources: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    out: NDArray[np.floating] | None = None,
    memory: str | int = MEMORY,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "s n"]:
    """Lengths of the shortest paths from the sources to all points, infinite out of reach.

    The graph is undirected: an edge joins i and j when either lists the other. Distances are sums
    in float64, rounded at the end, so they err by half a unit in the last place and are the same
    from both ends; they do not depend on the device, the number of threads, or on which other
    sources are asked for.

    Args:
        graph: the edges; a point that no edge touches reaches itself only.
        sources: (s,) where to start, in any order, repeated or not; one number is one row. All
            points by default.
        weights: (n, k) lengths in place of the graph's distances, at least 0.
        out: (s, n) array to write to, a memory map for example; a new float32 array by default.
        memory: most bytes for the result, unless it goes to `out`, and for the work.
        device: where torch computes ("cuda"); compiled sweeps on the CPU by default.
        progress: is told of the sources done.

    Raises:
        InputError: sources that are no points of the graph, weights that are no lengths, `out` of
            another shape, or a result larger than `memory`.

    Cost: about 5 additions a source for each of the 2 m directed edges; 4 s n bytes for the
    result and 129 n for each thread.

    Source: label correction as Bertsekas, A simple and fast label correcting algorithm for
    shortest paths (1993), in the order of Cuthill and McKee (1969).

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> graph = neighbor_graph([[0.0], [1.0], [3.0], [3.5]], k=1)
        >>> shortest_paths(graph, [0, 3])
        array([[0. , 1. , inf, inf],
               [inf, inf, 0.5, 0. ]], dtype=float32)
    """
    edges = as_edges(graph, weights)
    chosen = as_sources(sources, edges.n)
    budget = parse_bytes(memory)
    shape = (len(chosen), edges.n)
    if out is None:
        if 4 * shape[0] * shape[1] > budget:
            raise InputError(
                f"distances of shape {shape} take {4e-9 * shape[0] * shape[1]:.1f} GB, more than "
                f"memory = {memory!r}: choose fewer sources, take them in pieces with "
                "distance_blocks, pass a memory map as out, or allow more memory"
            )
        budget = max(1, budget - 4 * shape[0] * shape[1])
    elif out.shape != shape or out.dtype.str[1:] not in ("f4", "f8"):
        raise InputError(
            f"out must be float32 or float64 of shape {shape}, not {out.dtype} of {out.shape}"
        )
    target = np.empty(shape, np.float32) if out is None else out
    plan = Plan.of(edges)
    with (progress or Silent()).stage("shortest paths", total=len(chosen)) as advance:
        plan.solve(chosen, target, None, budget, device, advance)
    return target


def distance_blocks(
    graph: NeighborGraph | EdgeGraph,
    sources: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    memory: str | int = "256MB",
    device: str | torch.device | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The distances of `shortest_paths` piece by piece, where all rows together are too many.

    Yields:
        Some of the sources (b,), in the order given, and their distances (b, n) float32, in an
        array that the next piece overwrites.

    Raises:
        InputError: as `shortest_paths`.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> graph = neighbor_graph([[0.0], [1.0], [3.0]], k=1)
        >>> [float(rows.max()) for _, rows in distance_blocks(graph, memory="24B")]
        [3.0, 3.0]
    """
    edges = as_edges(graph, weights)
    chosen = as_sources(sources, edges.n)
    budget = parse_bytes(memory)
    return _blocks(edges, chosen, budget, device)


def shortest_trees(
    graph: NeighborGraph | EdgeGraph, sources: ArrayLike, *, weights: ArrayLike | None = None
) -> ShortestTrees:
    """The shortest paths themselves, from each source to all points.

    Of equally short paths, one with the fewest edges.

    Args:
        graph: the edges.
        sources: (s,) where to start.
        weights: (n, k) lengths in place of the graph's distances.

    Raises:
        InputError: as `shortest_paths`.

    Cost: that of `shortest_paths`, and one breadth-first pass over the edges a source; 12 s n
    bytes.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> trees = shortest_trees(neighbor_graph([[0.0], [1.0], [3.0]], k=1), [2])
        >>> trees.predecessors.tolist(), trees.path(0, 0).nodes.tolist()
        ([[1, 2, -1]], [2, 1, 0])
    """
    edges = as_edges(graph, weights)
    chosen = as_sources(sources, edges.n)
    distances = np.empty((len(chosen), edges.n))
    predecessors = np.empty((len(chosen), edges.n), np.int32)
    Plan.of(edges).solve(
        chosen, distances, predecessors, parse_bytes(MEMORY), None, lambda steps: None
    )
    return ShortestTrees(edges, chosen, distances, predecessors)


def path(
    graph: NeighborGraph | EdgeGraph, start: int, end: int, *, weights: ArrayLike | None = None
) -> Path:
    """A shortest path between two points; `shortest_trees` serves many paths.

    Raises:
        InputError: as `shortest_paths`.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> found = path(neighbor_graph([[0.0], [1.0], [3.0]], k=1), 0, 2)
        >>> found.nodes.tolist(), found.length
        ([0, 1, 2], 3.0)
    """
    edges = as_edges(graph, weights)
    as_sources(end, edges.n, "end")
    return shortest_trees(edges, [start]).path(0, end)


def as_sources(sources: ArrayLike | None, n: int, name: str = "sources") -> NDArray[np.int64]:
    """Indices (s,) of points of a graph of n.

    Raises:
        InputError: says which is no point.
    """
    if sources is None:
        return np.arange(n)
    chosen = np.atleast_1d(np.asarray(sources))
    if chosen.size == 0:
        return np.empty(0, np.int64)
    if chosen.dtype.kind not in "iu" or chosen.ndim != 1:
        raise InputError(
            f"{name} must be indices of points, whole numbers in one list; met {chosen.dtype} of "
            f"shape {chosen.shape}"
        )
    outside = (chosen < 0) | (chosen >= n)
    if outside.any():
        raise InputError(
            f"{name} has {chosen[outside][0]}, and the graph has the points 0 to {n - 1}"
        )
    return chosen.astype(np.int64)


def _blocks(
    edges: EdgeGraph, chosen: NDArray[np.int64], budget: int, device: str | torch.device | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    plan = Plan.of(edges)
    kept: NDArray[np.float32] | None = None
    for part in row_chunks(len(chosen), 4 * edges.n, budget):
        some = chosen[part]
        kept = np.empty((len(some), edges.n), np.float32) if kept is None else kept
        plan.solve(some, kept[: len(some)], None, budget, device, lambda steps: None)
        yield some, kept[: len(some)]
