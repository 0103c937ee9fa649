"""Connected components, and the shortest bridges that join them, by Borůvka's rounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from immersion.core.chunking import parse_bytes, row_chunks
from immersion.core.errors import InputError
from immersion.sampled.paths.edges import EdgeGraph, as_edges

if TYPE_CHECKING:
    from immersion.core.metric import GeodesicManifold
    from immersion.sampled.graph import NeighborGraph

    Block = tuple[NDArray[np.int64], NDArray[np.floating], NDArray[np.floating] | float]
    Blocks = Callable[[NDArray[np.int64]], Iterator[Block]]
    Exact = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Connected:
    """A graph made connected, with every edge that this took.

    Attributes:
        graph: the connected graph.
        added: (c - 1, 2) end points of the added edges, i < j, by ascending length.
        lengths: (c - 1,) their lengths in the metric of the graph. A length far above those of
            the graph's own edges joins pieces that may not belong together.
        components: (n,) the piece of each point before.
    """

    graph: EdgeGraph
    added: NDArray[np.int64]
    lengths: NDArray[np.float64]
    components: NDArray[np.int64]


def components(graph: NeighborGraph | EdgeGraph) -> NDArray[np.int64]:
    """Connected component (n,) of each point, numbered by descending size, then by first point.

    Edges of length zero join as others do; a point without edges is a component of its own.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> components(neighbor_graph([[0.0], [1.0], [8.0], [9.0], [9.0]], k=1)).tolist()
        [1, 1, 0, 0, 0]
    """
    from scipy.sparse import csgraph

    pattern: Any = as_edges(graph).to_scipy()
    # A stored zero would be read as no edge.
    pattern.data = np.ones(pattern.nnz, np.float32)
    pieces = cast("NDArray[np.int32]", csgraph.connected_components(pattern, directed=False)[1])
    _, first, place, size = np.unique(
        pieces, return_index=True, return_inverse=True, return_counts=True
    )
    number = np.empty(len(size), np.int64)
    number[np.lexsort((first, -size))] = np.arange(len(size))
    return number[place]


def connect(graph: NeighborGraph | EdgeGraph, *, memory: str | int = "512MB") -> Connected:
    """Join the components by the edges of a minimum spanning tree between them.

    The tree is that of the distances between components, each the distance of their two nearest
    points, so the bridges are as short together as they can be. Equal lengths are ordered by the
    end points.

    Args:
        graph: the graph; one that is connected comes back with nothing added.
        memory: bytes for the products of the search.

    Raises:
        InputError: a disconnected graph that does not know its points or its metric.

    Cost: about 2 (n - n_1) n D flops, n_1 points in the largest component, for each of at most
    log2 c rounds; a float32 copy of the points.

    Source: Borůvka's algorithm (1926); candidates by float32 products, decided in float64.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> found = connect(neighbor_graph([[0.0], [1.0], [8.0], [9.0], [9.0]], k=1))
        >>> found.added.tolist(), found.lengths.tolist()
        ([[1, 2]], [7.0])
    """
    budget = parse_bytes(memory)
    edges = as_edges(graph)
    labels = components(edges)
    ends, lengths = _shortest_bridges(edges.origin, labels, budget)
    if len(ends) == 0:
        return Connected(edges, ends, lengths, labels)
    own, given = edges.edges()
    joined = edges.with_edges(
        np.concatenate([own, ends]), np.concatenate([given, lengths.astype(given.dtype)])
    )
    return Connected(joined, ends, lengths, labels)


_Edge = tuple[float, int, int]


@dataclass(frozen=True, eq=False)
class _Space:
    """Numbers that grow with the distance: in blocks up to rounding, exactly for chosen pairs.

    Attributes:
        blocks: for some rows, pieces of them, the numbers to all points and their rounding error.
        exact: the numbers of pairs of points.
        to_metric: distances from the numbers.
    """

    blocks: Blocks
    exact: Exact
    to_metric: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _shortest_bridges(
    graph: NeighborGraph, labels: NDArray[np.int64], budget: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """End points (c - 1, 2) and lengths of a minimum spanning tree between the c components.

    Every round gives each component but the largest its shortest edge to any other one, which by
    the cut property belongs to the tree; so the largest is never searched from.

    Raises:
        InputError: the graph is in pieces and does not know its points or its metric.
    """
    labels = labels.copy()
    found: list[_Edge] = []
    if labels.max(initial=0) == 0:
        return np.empty((0, 2), np.int64), np.empty(0)
    space = _space(graph, budget)
    while labels.max() > 0:
        sizes = np.bincount(labels)
        rows = np.flatnonzero(labels != np.argmax(sizes))
        chosen = sorted(set(_least_edges(rows, labels, space).values()))
        found += chosen
        labels = _merged(labels, np.array([edge[1:] for edge in chosen]))
    found.sort()
    ends = np.array([edge[1:] for edge in found], np.int64)
    return ends, space.to_metric(np.array([edge[0] for edge in found]))


def _least_edges(
    rows: NDArray[np.int64], labels: NDArray[np.int64], space: _Space
) -> dict[int, _Edge]:
    """The least (length, i, j) that leaves each component of the `rows`."""
    best: dict[int, _Edge] = {}
    bound = np.full(labels.max() + 1, np.inf)
    for part, near, error in space.blocks(rows):
        home = labels[part]
        near[home[:, None] == labels] = np.inf
        nearest = near.argmin(axis=1)
        np.minimum.at(bound, home, space.exact(part, nearest))
        # All that rounding cannot tell from the best so far is decided by exact lengths.
        close = near <= bound[home][:, None] + error
        row, other = np.nonzero(close & np.isfinite(near))
        lengths = space.exact(part[row], other)
        low, high = np.minimum(part[row], other), np.maximum(part[row], other)
        order = np.lexsort((high, low, lengths, home[row]))
        first = order[np.flatnonzero(np.diff(home[row][order], prepend=-1))]
        for place in first.tolist():
            piece = int(home[row[place]])
            edge = (float(lengths[place]), int(low[place]), int(high[place]))
            best[piece] = min(best.get(piece, edge), edge)
    return best


def _merged(labels: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.sparse import coo_array, csgraph

    count = int(labels.max()) + 1
    joined = (np.ones(len(ends), np.int8), (labels[ends[:, 0]], labels[ends[:, 1]]))
    graph = coo_array(joined, shape=(count, count))
    piece = cast("NDArray[np.int32]", csgraph.connected_components(graph, directed=False)[1])
    return piece.astype(np.int64)[labels]


def _space(graph: NeighborGraph, budget: int) -> _Space:
    if graph.points.shape[1] == 0:
        raise InputError(
            "joining components needs distances between any two points, and this graph has "
            "neighbours only; make it by neighbor_graph from points, or analyse each component"
        )
    if graph.manifold is not None:
        return _Space(*_on_manifold(graph.points, graph.manifold, budget), lambda lengths: lengths)
    if graph.metric == "euclidean":
        return _Space(*_flat(graph.points, np.ones(graph.n), budget), np.sqrt)
    if graph.metric == "cosine":
        # 1 - cos is half of the squared distance on the unit sphere.
        norms = [
            np.linalg.norm(np.asarray(graph.points[part], np.float64), axis=1)
            for part in row_chunks(graph.n, 8 * graph.points.shape[1], budget)
        ]
        unit = 1 / np.concatenate(norms)
        return _Space(*_flat(graph.points, unit, budget), lambda lengths: lengths / 2)
    raise InputError(
        f"joining components needs the metric, and that of this graph is {graph.metric!r}; make it "
        "by neighbor_graph from points, or analyse each component"
    )


def _flat(
    points: NDArray[np.floating], scale: NDArray[np.float64], budget: int
) -> tuple[Blocks, Exact]:
    """Squared Euclidean distances of scaled points."""
    n, width = points.shape
    moved = np.empty((n, width), np.float32)
    centre = np.zeros(width)
    parts = list(row_chunks(n, 16 * width, budget))
    for part in parts:
        centre += (points[part] * scale[part, None]).sum(axis=0, dtype=np.float64) / n
    for part in parts:
        moved[part] = points[part] * scale[part, None] - centre
    squares = np.einsum("ij,ij->i", moved, moved)
    roots = np.sqrt(squares)

    def blocks(rows: NDArray[np.int64]) -> Iterator[Block]:
        for part in row_chunks(len(rows), 16 * n, budget):
            some = rows[part]
            near = moved[some] @ moved.T
            near *= -2
            near += squares
            near += squares[some, None]
            # As in the exact search: rounding of a product of length D, and of the two squares.
            unit = float(np.finfo(np.float32).eps)
            error = 6 * math.sqrt(width + 2) * unit * (roots[some] + roots.max()) ** 2
            yield some, near, error[:, None]

    def exact(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        squared = np.empty(len(rows))
        for part in row_chunks(len(rows), 32 * width, budget):
            i, j = rows[part], columns[part]
            difference = points[i] * scale[i, None] - points[j] * scale[j, None]
            squared[part] = np.einsum("ij,ij->i", difference, difference)
        return squared

    return blocks, exact


def _on_manifold(
    points: NDArray[np.floating], manifold: GeodesicManifold, budget: int
) -> tuple[Blocks, Exact]:
    """Geodesic distances in float64."""
    n = len(points)

    def at(rows: NDArray[np.int64] | slice) -> torch.Tensor:
        some = torch.from_numpy(np.array(points[rows], np.float64))
        return some.reshape(len(some), *manifold.point_shape)

    def blocks(rows: NDArray[np.int64]) -> Iterator[Block]:
        # The pairwise points are expanded inside dist: a few copies of the block.
        for part in row_chunks(len(rows), 64 * n * points.shape[1], budget):
            some = rows[part]
            yield some, manifold.dist(at(some)[:, None], at(slice(None))[None]).numpy(), 0.0

    def exact(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        lengths = np.empty(len(rows))
        for part in row_chunks(len(rows), 64 * points.shape[1], budget):
            lengths[part] = manifold.dist(at(rows[part]), at(columns[part])).numpy()
        return lengths

    return blocks, exact
