"""From p-values of points, which depend on their neighbours', to places with false-alarm control.

The points are first covered by patches, whatever their p-values. Each patch has one p-value (Simes
1986, which holds for the positive dependence of overlapping neighbourhoods), and patches are chosen
by Holm's rule, whatever their dependence: the probability that any patch without a singular point
is chosen is at most alpha. Within the chosen ones points are flagged by Benjamini and Hochberg's
rule at the level that a patch had to meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components  # pyright: ignore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from immersion.sampled.graph import NeighborGraph

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]


def cover(graph: NeighborGraph, k: int) -> NDArray[np.int64]:
    """Patch (n,) of each point: in order of density each uncovered point takes its neighbours."""
    order = np.lexsort((np.arange(graph.n), graph.distances[:, k - 1]))
    return _cover(graph.indices[:, :k], order)


def flag(p: Array, family: NDArray[np.int64], alpha: float) -> tuple[Flags, Array, float]:
    """Points flagged (n,), the adjusted p-value (n,) of each point's patch, and the level within.

    Points with p = NaN are not decidable and never flagged.

    Example:
        >>> p = np.array([1e-6, 0.5, 0.6, 0.7])
        >>> flagged, adjusted, level = flag(p, np.array([0, 0, 1, 1]), 0.05)
        >>> flagged.tolist(), adjusted.tolist(), level
        ([True, False, False, False], [4e-06, 4e-06, 0.7, 0.7], 0.05)
    """
    known = np.flatnonzero(np.isfinite(p))
    adjusted = np.full(len(p), np.nan)
    flagged = np.zeros(len(p), bool)
    if len(known) == 0:
        return flagged, adjusted, 0.0
    within = _stepped(p[known], family[known])
    names, which = np.unique(family[known], return_inverse=True)
    simes = np.ones(len(names))
    np.minimum.at(simes, which, within)
    order = np.argsort(simes, kind="stable")
    among = np.empty(len(names))
    left = len(names) - np.arange(len(names))
    among[order] = np.minimum(np.maximum.accumulate(simes[order] * left), 1)
    adjusted[known] = among[which]
    chosen = among <= alpha
    level = alpha / max(1, int(np.count_nonzero(~chosen)))
    flagged[known] = chosen[which] & (within <= level)
    return flagged, adjusted, level


def connected(graph: NeighborGraph, k: int, chosen: Flags) -> NDArray[np.int64]:
    """Piece (n,) of each chosen point among the chosen ones, by size; -1 elsewhere."""
    rows = np.repeat(np.arange(graph.n), k)
    columns = graph.indices[:, :k].ravel()
    kept = chosen[rows] & chosen[columns]
    ones = np.ones(int(kept.sum()), np.int8)
    edges: Any = coo_array((ones, (rows[kept], columns[kept])), shape=(graph.n, graph.n))
    parts: Any = connected_components(edges, directed=False)  # pyright: ignore
    labels: NDArray[np.int64] = np.asarray(parts[1], np.int64)
    found = np.full(graph.n, -1)
    if chosen.any():
        _, first, place, size = np.unique(
            labels[chosen], return_index=True, return_inverse=True, return_counts=True
        )
        number = np.empty(len(size), np.int64)
        number[np.lexsort((first, -size))] = np.arange(len(size))
        found[chosen] = number[place]
    return found


def _stepped(p: Array, family: NDArray[np.int64]) -> Array:
    """Adjusted p-values of Benjamini and Hochberg within each family; the least is Simes's p."""
    order = np.lexsort((p, family))
    ranked, group = p[order], family[order]
    start = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    size = np.diff(np.append(start, len(p)))
    rank = np.arange(len(p)) - np.repeat(start, size) + 1
    scaled = ranked * np.repeat(size, size) / rank
    found = np.empty(len(p))
    _from_the_end(scaled, group, found)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(found, 1)
    return adjusted


@numba.njit(cache=True, nogil=True)
def _from_the_end(
    scaled: NDArray[np.float64], group: NDArray[np.int64], found: NDArray[np.float64]
) -> None:
    for i in range(len(scaled) - 1, -1, -1):
        found[i] = scaled[i]
        if i + 1 < len(scaled) and group[i] == group[i + 1] and found[i + 1] < found[i]:
            found[i] = found[i + 1]


@numba.njit(cache=True, nogil=True)
def _cover(indices: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    family = np.full(len(indices), -1)
    count = 0
    for i in order:
        if family[i] >= 0:
            continue
        family[i] = count
        for j in indices[i]:
            if family[j] < 0:
                family[j] = count
        count += 1
    return family
