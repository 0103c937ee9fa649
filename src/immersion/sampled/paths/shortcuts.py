"""Edges that cut through the space between parts of the data, and the graph without them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.host.threads import numba_threads
from immersion.sampled.paths.components import components
from immersion.sampled.paths.edges import EdgeGraph, as_edges

if TYPE_CHECKING:
    from immersion.sampled.graph import NeighborGraph


_MANY = 0.02
"""Share of removed edges above which noise is likelier than shortcuts: at k = 20 swiss rolls whose
shortcuts are told apart lose about 0.5% of their edges, at k = 10 4.9%, nearly all wrongly."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """A graph without its shortcut edges, with all that decided about them.

    Attributes:
        graph: what is left.
        ends: (m, 2) every edge of the graph before, i < j.
        curvature: (m,) its Ollivier-Ricci curvature, NaN where an end has no other edge.
        detour: (m,) for edges of strongly negative curvature, the distance of their ends without
            all such edges, in units of the local edge length; NaN for other edges.
        removed: (m,) which edges were removed.
        kept_by_need: (m,) which edges would have left a point alone and so were kept.
        threshold: curvature below which an edge was suspected.
        reach: detour above which a suspected edge was removed.
        pieces: number of components before and after.
        caveats: when not to trust the result, one sentence each.
    """

    graph: EdgeGraph
    ends: NDArray[np.int64]
    curvature: NDArray[np.float64]
    detour: NDArray[np.float64]
    removed: NDArray[np.bool_]
    kept_by_need: NDArray[np.bool_]
    threshold: float
    reach: float
    pieces: tuple[int, int]
    caveats: tuple[str, ...] = ()


def edge_curvature(
    graph: NeighborGraph | EdgeGraph,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ollivier-Ricci curvature of every edge, lengths aside.

    kappa(x, y) = 1 - W1(mu_x, mu_y), where mu_x is uniform on the neighbours of x other than y,
    and W1 is the least mean number of edges that carries one to the other. It lies between -2 (all
    have to go by way of x and y) and 1 (the neighbours are common).

    Returns:
        The edges (m, 2) with i < j and the curvature (m,), NaN where an end has no other edge.

    Cost: for neighbourhoods of p and q points about p q (p + q), and the edges two steps around;
    hubs pay most. 12 bytes a point for each thread.

    Source: Ollivier, Ricci curvature of Markov chains on metric spaces (2009); exact transport by
    the Hungarian method.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> ends, kappa = edge_curvature(neighbor_graph([[0.0], [1.0], [2.0], [3.0]], k=2))
        >>> dict(zip(map(tuple, ends.tolist()), kappa.tolist(), strict=True))[(1, 2)]
        1.0
    """
    from immersion.sampled.paths.transport import curvatures

    edges = as_edges(graph)
    ends, _ = edges.edges()
    curvature = np.empty(len(ends))

    def write(part: slice) -> None:
        curvatures(edges.starts, edges.indices, ends[part], curvature[part])

    with ThreadPoolExecutor(numba_threads()) as pool:
        list(pool.map(write, row_chunks(len(ends), 1, 4096)))
    return ends, curvature


def prune_shortcuts(
    graph: NeighborGraph | EdgeGraph, *, delta: float = 0.8, distortion: float = 0.01
) -> Pruned:
    """Remove edges of strongly negative curvature whose ends are far apart without such edges.

    An edge is suspected when its curvature is below -1 + 4 (1 - delta). It is a shortcut when the
    graph without all suspected edges leads from one end to the other only by a way longer than
    pi^2 (1 - distortion) / (2 sqrt(24 distortion)) local edge lengths, or not at all; the local
    length is the mean over the edges at an end, the larger of both. Suspected edges with a short
    detour are kept, and so is the shortest edge of a point that would be left alone.

    It wants about 20 neighbours: on a noisy swiss roll of 4,000 points with k = 20, all 29
    shortcuts are found and no other edge is lost; on 2,000 points with k = 10, 38 of 54 and 555 of
    12,000 others, for in sparse graphs chance and the boundary look like necks. Where noise mixes
    the neighbourhoods of two parts, curvature sees one part. On the first 10,000 images of
    MNIST with k = 10 it removes 46% of the edges. `caveats` says when so many go.

    Args:
        graph: the graph.
        delta: between 0.5 and 1; a higher one suspects fewer edges. 0.8 as in the source.
        distortion: between 0 and 1; a lower one asks for longer detours. 0.01 as in the source.

    Raises:
        InputError: parameters outside their range.

    Cost: that of `edge_curvature`, and for each point with a suspected edge a search over the
    points nearer than its detours.

    Source: Saidi, Hickok and Blumberg, Recovering manifold structure using Ollivier-Ricci
    curvature (ICLR 2025), algorithm ORC-ManL, with curvature in whole edges.

    Example:
        >>> import numpy as np
        >>> from immersion.sampled.graph import neighbor_graph
        >>> x = np.random.default_rng(0).random((2000, 2))
        >>> x[:1000, 0] += 1.08
        >>> found = prune_shortcuts(neighbor_graph(x, k=15))
        >>> found.pieces
        (1, 2)
    """
    from immersion.sampled.paths.detours import detours

    if not 0.5 <= delta <= 1:
        raise InputError(f"delta lies between 0.5 and 1, not {delta}")
    if not 0 < distortion < 1:
        raise InputError(f"distortion lies between 0 and 1, both excluded, not {distortion}")
    threshold = -1 + 4 * (1 - delta)
    reach = math.pi**2 * (1 - distortion) / (2 * math.sqrt(24 * distortion))
    edges = as_edges(graph)
    ends, curvature = edge_curvature(edges)
    _, lengths = edges.edges()
    # NaN compares false: an edge without which an end would be alone is not suspected.
    suspected = curvature < threshold
    total = np.bincount(ends.ravel(), np.repeat(lengths, 2), minlength=edges.n)
    local = total / np.maximum(edges.degrees, 1)
    unit = local[ends].max(axis=1, initial=0)
    rest = edges.with_edges(ends[~suspected], lengths[~suspected])
    asked = np.flatnonzero(suspected)
    detour = np.full(len(ends), np.nan)
    # Suspected edges are in the order of their first end, so that one search serves all of them.
    first = np.flatnonzero(np.diff(ends[asked, 0], prepend=-1))
    groups = np.append(first, len(asked))
    found = np.empty(len(asked))
    weights = rest.lengths.astype(np.float64)
    limits = reach * unit[asked]
    threads = numba_threads()
    pairs = ends[asked]

    def write(part: slice) -> None:
        some = groups[part.start : part.stop + 1]
        detours(rest.starts, rest.indices, weights, pairs, limits, some, found)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, row_chunks(len(first), 1, max(1, -(-len(first) // (4 * threads))))))
    with np.errstate(invalid="ignore", divide="ignore"):
        detour[asked] = np.where(found == 0, 0, found / unit[asked])
    removed = detour > reach
    alone = np.ones(edges.n, np.bool_)
    alone[ends[~removed].ravel()] = False
    needed = _shortest_at(alone, ends, lengths) & removed
    removed &= ~needed
    left = edges.with_edges(ends[~removed], lengths[~removed])
    before, after = (int(components(some).max(initial=-1)) + 1 for some in (edges, left))
    share = np.count_nonzero(removed) / max(1, len(ends))
    caveats: list[str] = []
    if share > _MANY:
        caveats.append(
            f"{share:.1%} of the edges were removed, more than shortcuts account for: with so few "
            "neighbours chance looks like a neck; use about 20 neighbours, or a higher delta"
        )
    if after > before:
        caveats.append(f"the graph fell from {before} into {after} pieces")
    return Pruned(
        left, ends, curvature, detour, removed, needed, threshold, reach, (before, after),
        tuple(caveats),
    )  # fmt: skip


def _shortest_at(
    points: NDArray[np.bool_], ends: NDArray[np.int64], lengths: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Which edges are the shortest at one of the points, the first of equal ones."""
    chosen = np.zeros(len(ends), np.bool_)
    either = np.concatenate([ends[:, 0], ends[:, 1]])
    edge = np.tile(np.arange(len(ends)), 2)
    order = np.lexsort((edge, lengths[edge], either))
    first = order[np.flatnonzero(np.diff(either[order], prepend=-1))]
    chosen[edge[first[points[either[first]]]]] = True
    return chosen
