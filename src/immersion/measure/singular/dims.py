"""Which dimension the manifold has at each point, before anything is said about singular points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.measure.dimension.intrinsic import intrinsic_dimension
from immersion.measure.dimension.local import local_dimension
from immersion.measure.dimension.uncertainty import resolvable
from immersion.measure.singular.patches import local_spectra
from immersion.sampled.graph import NeighborGraph, neighbor_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GAP = 10.0
"""Drop of the local variances that shows a dimension by itself, whatever the whole data has."""

_SPAN, _MOST, _WIDEST = 32, 256, 16
"""Neighbours whose variances show the dimension of the whole data, doubled where noise hides it, to
256 or a sixteenth of the points."""

_PATCHES = 400
"""Patches whose variances are looked at for the whole data."""

_BEND = 2e-3
"""Variance, over the largest, below which a direction counts as empty."""

_NEEDED, _WHOLE = 12, 64
"""Neighbours that the intrinsic dimension needs, and those it is measured with."""

_FEWEST = 30
"""Points below which nothing is decided."""


@dataclass(frozen=True)
class Whole:
    """Dimension of the whole data.

    Attributes:
        dim: the dimension; 0 where there is none.
        k: neighbours of the patches whose variances show it, 0 where distances gave it.
        why: why it cannot be worked with, or an empty text.
    """

    dim: int
    k: int
    why: str = ""


def whole_dim(points: NDArray[np.floating] | NeighborGraph, dim: int | None) -> Whole:
    """The dimension to assume for all of the data: given, shown by patches, or by distances.

    Raises:
        InputError: `dim` outside 1..D.
    """
    n = points.n if isinstance(points, NeighborGraph) else len(points)
    x = points.points if isinstance(points, NeighborGraph) else points
    width = x.shape[1]
    if dim is not None:
        if not 1 <= dim <= width:
            raise InputError(f"dim must lie in 1..D = {width}, not be {dim}")
        return Whole(dim, 0, "" if n >= _FEWEST else _few(n))
    if n < _FEWEST:
        return Whole(0, 0, _few(n))
    if isinstance(points, NeighborGraph) and points.k >= _NEEDED:
        whole = points
    else:
        whole = neighbor_graph(x, min(_WHOLE, n - 1))
    measured = intrinsic_dimension(whole)
    lowest = min((e.value for e in measured.curve.estimates if e.decidable), default=0.0)
    shown, k = _shown(x)
    # Noise adds dimensions at small scales only, so the curve must come down to what is shown.
    if shown > 0 and lowest < shown + 1:
        return Whole(shown, k)
    if not measured.dimension.decidable:
        return Whole(0, 0, f"no dimension: {measured.caveats[0]}")
    found = max(1, round(measured.value))
    limit = resolvable(n)
    if found > limit:
        why = (
            f"the data has about {measured.value:.3g} dimensions, and {n} points resolve up to "
            f"2 log10(n) = {limit:.1f}: neighbours are too far apart to tell a smooth sheet from "
            "anything else"
        )
        return Whole(found, 0, why)
    return Whole(min(found, width), 0)


def _few(n: int) -> str:
    return f"{n} points are too few; {_FEWEST} are needed"


def require_points(points: NDArray[np.floating] | NeighborGraph, k: int, who: str) -> NeighborGraph:
    """The Euclidean graph of k neighbours at least.

    Raises:
        InputError: another metric, no points, too few neighbours or points.
    """
    if not isinstance(points, NeighborGraph):
        if k >= len(points):
            raise InputError(f"{who} needs {k} neighbours a point; there are {len(points)} points")
        return neighbor_graph(points, k)
    if points.metric != "euclidean":
        raise InputError(
            f"{who} needs a Euclidean graph; this one has the metric {points.metric!r}"
        )
    if not points.has_points:
        raise InputError(f"{who} needs the points, and the graph was made without them")
    if points.k < k:
        raise InputError(f"the graph has {points.k} neighbours a point and {who} needs {k}")
    return points


def local_dims(graph: NeighborGraph, k: int, dim: int) -> NDArray[np.int64]:
    """Dimension (n,) at each point: `dim`, unless the local variances show another one.

    Where the j-th and the next variance of a patch differ tenfold, and by more than any other two,
    the patch spans j dimensions. It has them if the distances of its points, whose growth two
    crossing sheets do not change, agree with j more than with `dim`. Each point then takes what
    most of its patch says.
    """
    own = spanned(graph, k)
    near = local_dimension(graph, k=k).values
    inverse = np.concatenate([1 / near[:, None], 1 / near[graph.indices[:, :k]]], axis=1)
    with np.errstate(invalid="ignore"):
        grown = 1 / np.where(np.isfinite(inverse), inverse, 1 / dim).mean(axis=1)
    own = np.where((own > 0) & (np.abs(grown - own) < np.abs(grown - dim)), own, dim)
    return _vote(own, graph.indices[:, :k], max(int(own.max()), dim))


def spanned(graph: NeighborGraph, k: int) -> NDArray[np.int64]:
    """Dimensions (n,) that each patch spans by a clear drop of its variances, 0 without one."""
    most = min(graph.points.shape[1], k, int(resolvable(graph.n)) + 1)
    if most < 2:
        return np.zeros(graph.n, np.int64)
    return _drops(local_spectra(graph.points, np.arange(graph.n), graph.indices[:, :k], most))


def _drops(spectra: NDArray[np.float64]) -> NDArray[np.int64]:
    # Exact zeros beyond the directions of a bend must not outdo the drop to the bend.
    floor = np.maximum(spectra, _BEND * spectra[:, :1] + 1e-300)
    drops = floor[:, :-1] / floor[:, 1:]
    return np.where(drops.max(axis=1) > _GAP, 1 + np.argmax(drops, axis=1), 0)


def _shown(x: NDArray[np.floating]) -> tuple[int, int]:
    """The dimension that most of some patches span, and their least number of neighbours."""
    n, width = x.shape
    k = _SPAN
    most = min(width, int(resolvable(n)) + 1)
    rows: NDArray[np.int64] = np.linspace(0, n - 1, min(n, _PATCHES), dtype=np.int64)
    while most > 1 and k <= max(_SPAN, min(n // _WIDEST, _MOST)) and k < n:
        count = np.bincount(_drops(local_spectra(x, rows, _nearest(x, rows, k), most)))
        best = int(np.argmax(count))
        if best > 0 and count[best] > len(rows) / 2:
            return best, k
        k *= 2
    return 0, 0


def _nearest(x: NDArray[np.floating], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The k nearest neighbours (m, k) of some rows, in no order."""
    found = np.empty((len(rows), k), np.int64)
    centre = x.mean(axis=0, dtype=np.float64)
    y = (x - centre).astype(np.float64)
    square = (y**2).sum(axis=1)
    for part in row_chunks(len(rows), 16 * len(x), 1 << 26):
        far = square - 2 * (y[rows[part]] @ y.T)
        far[np.arange(len(far)), rows[part]] = np.inf
        found[part] = np.argpartition(far, k - 1, axis=1)[:, :k]
    return found


@numba.njit(cache=True, nogil=True)
def _vote(own: NDArray[np.int64], indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The most frequent value of each point and its neighbours; its own among equal ones."""
    voted = np.empty_like(own)
    count = np.empty(most + 1, np.int64)
    for i in range(len(own)):
        count[:] = 0
        count[own[i]] += 1
        for j in indices[i]:
            count[own[j]] += 1
        best = own[i]
        for value in range(most + 1):
            if count[value] > count[best]:
                best = value
        voted[i] = best
    return voted
