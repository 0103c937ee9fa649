"""Standard errors of estimates whose terms share neighbours, and when an estimate says nothing.

Neighbouring points share distances, so their terms are correlated and the textbook error
d / sqrt(n) is too small. The variance here sums the products of influences over pairs of points
that are close in the neighbour graph (Conley 1999, spatial autocorrelation), floored at the
textbook one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numba
import numpy as np

from immersion.core.measurement import Measurement
from immersion.core.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from immersion.core.measurement import Setting
    from immersion.sampled.graph import NeighborGraph

FEWEST = 20
"""Points below which a dimension is not decidable: its relative error exceeds 1 / sqrt(20)."""

_HUBS = 1.4
"""Widening of the error of patches for points that many of them share."""


class Sentence(Reason):
    """An English sentence about a dimension, which catalogues have as `dimension.<id>`.

    Example:
        >>> why = Sentence("coincide", "{count} points coincide", count=3)
        >>> why, why.id, why.params
        ('3 points coincide', 'coincide', {'count': 3})
    """


def resolvable(n: int) -> float:
    """2 log10(n), the largest dimension that neighbour counts of n points resolve.

    Source: Eckmann and Ruelle 1992, doi:10.1016/0167-2789(92)90023-G.

    Example:
        >>> resolvable(1000)
        6.0
    """
    return 2 * math.log10(n)


def graph_stderr(
    graph: NeighborGraph, influence: NDArray[np.float64], usable: NDArray[np.bool_], k: int
) -> float:
    """Standard error of a mean of influences that are correlated along the k-neighbour graph.

    Two sums over pairs, of which the greater is taken: pairs joined by an edge count in full, or
    pairs count by the share of neighbours that they have in common. Over six manifolds of dimension
    1 to 10, 300 to 1,500 points and 40 repetitions each, the result is 0.84 to 1.16 of the spread
    over repetitions; the textbook error is 0.6 to 0.9 of it.
    """
    edges, shared = _pair_sums(graph.indices, k, influence)
    return math.sqrt(max(edges, shared / (k + 1))) / int(np.count_nonzero(usable))


def patch_stderr(
    graph: NeighborGraph, influence: NDArray[np.float64], usable: NDArray[np.bool_], k: int
) -> float:
    """Standard error of a mean over patches of k neighbours, which overlap.

    Patches overlap beyond the edges of the k-neighbour graph, so edges to 2k neighbours count where
    the graph has them; pairs of points that many patches hold (hubs) add what no sum over edges
    shows, and the result is widened by 1.4 for them. Over spheres, cubes, Gaussians and tori of
    dimension 2 to 20, with all patches of 600 points (40 repetitions) or 500 patches of 3,000 (25),
    the result is then 0.85 to 1.75 of the spread over repetitions; without both, 0.55 to 1.25.
    """
    edges, _ = _pair_sums(graph.indices, min(2 * k, graph.k), influence)
    alone = float(influence @ influence)
    return _HUBS * math.sqrt(max(edges, alone)) / int(np.count_nonzero(usable))


def caveats(graph: NeighborGraph, d: float) -> tuple[str, ...]:
    """When not to trust the dimension d: too few points for it, points left out."""
    found: list[str] = []
    limit = resolvable(graph.n)
    if d > limit:
        found.append(
            Sentence(
                "lower_bound",
                "above 2 log10(n) = {limit:.1f} a dimension estimated from {n} points is a lower "
                "bound (Eckmann and Ruelle 1992)",
                limit=limit,
                n=graph.n,
            )
        )
    if graph.duplicates:
        found.append(left_out(graph))
    return tuple(found)


def patch_caveats(graph: NeighborGraph, d: float) -> tuple[str, ...]:
    """When not to trust a dimension d of small patches: they are not small."""
    limit = resolvable(graph.n)
    if d <= limit:
        return ()
    why = Sentence(
        "wide_patches",
        "above 2 log10(n) = {limit:.1f} dimensions patches of {n} points are not small: directions "
        "into which the data bends are counted, and uneven density lowers the value",
        limit=limit,
        n=graph.n,
    )
    return (why,)


def left_out(graph: NeighborGraph) -> Reason:
    """How many points coincide, which have no ratio of distances."""
    return Sentence(
        "coincide",
        "{count} points coincide with another one and were left out",
        count=graph.duplicates,
    )


def undecided(
    name: str, graph: NeighborGraph, settings: Mapping[str, Setting], usable: int
) -> Measurement:
    """No dimension, and the reason: too few points that differ, or all equally far."""
    why = (
        Sentence(
            "few_distinct",
            "only {usable} of {n} points have distinct neighbours; {fewest} are needed",
            usable=usable,
            n=graph.n,
            fewest=FEWEST,
        )
        if usable < FEWEST
        else Sentence("equally_far", "all neighbours are equally far, as on a lattice")
    )
    return Measurement(name, math.nan, math.nan, usable, settings, None, (why,))


@numba.njit(cache=True, nogil=True)
def _pair_sums(
    indices: NDArray[np.int64], k: int, influence: NDArray[np.float64]
) -> tuple[float, float]:
    """Sums of products of influences over edges, each pair and point once, and over shared ends."""
    shared = influence.copy()
    over_edges = 0.0
    for i in range(len(indices)):
        own = influence[i]
        if own == 0:
            continue
        around = own
        for slot in range(k):
            j = indices[i, slot]
            shared[j] += own
            # An edge stands for both orders of its pair unless its reverse is an edge too.
            mutual = False
            for back in range(k):
                if indices[j, back] == i:
                    mutual = True
                    break
            around += influence[j] if mutual else 2 * influence[j]
        over_edges += own * around
    return over_edges, np.sum(shared * shared)
