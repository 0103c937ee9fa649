"""Local quadratic charts: a sampled manifold as a graph over its tangent space, with errors.

Around each point its neighbours are written as x = o + T u + a + Q(u, u) / 2 by least squares over
tangent coordinates u, and the frame T is turned until no linear term is left. Then T spans the
tangent space at the foot o + a, free from the curvature that local principal components mix in,
and Q is the second fundamental form there.

Orders beyond the second bias Q where the patch is one-sided or wide. They are fitted to what the
quadratic leaves, and taken out of the coefficients as far as they stand out of the noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.sampled.shape.quadratic import (
    coefficients,
    gram_inverse,
    own_axes,
    patch_offsets,
    quadratic_fit,
)

if TYPE_CHECKING:
    from immersion.sampled.graph import NeighborGraph

    Array = NDArray[np.float64]

_SPARE = 2
"""Neighbours beyond all that is fitted below which no error of a fit is known."""
_ROOM = 8
"""Neighbours to spare above which all cubics are fitted, and not those along |u|^2 alone."""
_TURNS = 3
"""Turns of the frame."""
_DOUBT = 0.35
"""Share of what higher orders moved that is taken as the error of the correction."""
_THIN = 1e-5
"""Extent over radius of a patch below which a direction is rounding, in float32 too."""
_BUDGET = 1 << 28


def fewest_neighbors(dim: int) -> int:
    """Neighbours a point that a quadratic chart of the dimension, with error, needs at least.

    Example:
        >>> [fewest_neighbors(d) for d in (1, 2, 3, 10)]
        [6, 10, 15, 78]
    """
    return coefficients(dim) + dim + _SPARE


@dataclass(frozen=True, eq=False)
class Charts:
    """Quadratic charts of m points in units of each patch's radius h; axes r span the patches.

    Attributes:
        rows: (m,) points of the graph.
        span: (m, r, D) orthonormal rows (zeros beyond a patch's rank): D-vector = r-vector @ span.
        radius: (m,) h, distance from the point to its furthest neighbour.
        frame: (m, r, d) orthonormal tangent frame.
        solve: (m, p, K) coefficients from the heights over the frame, of the K = k + 1 points, the
            point itself the first.
        fit: (m, p, r) coefficients of `quadratic_columns`, freed from higher orders.
        drift: (m, p, r) how far higher orders may still have moved them.
        residual: (m, K, r) what is left of each point.
        leverage: (m, K) share of each point's own height in its fit.
        freedom: (m,) points beyond what was fitted.
        decided: (m,) whether the patch determines the fit at all.
    """

    rows: NDArray[np.int64]
    span: Array
    radius: Array
    frame: Array
    solve: Array
    fit: Array
    drift: Array
    residual: Array
    leverage: Array
    freedom: Array
    decided: NDArray[np.bool_]

    @property
    def dim(self) -> int:
        """Dimension d of the charts."""
        return self.frame.shape[2]

    def variance(self) -> Array:
        """(m,) variance of one residual, summed over the axes."""
        return (self.residual**2).sum(axis=(1, 2)) / self.freedom

    def left_out(self) -> Array:
        """(m, K, r) what is left of each point by the fit to all others."""
        return self.residual / np.maximum(1 - self.leverage, 0.05)[:, :, None]


def require_charts(graph: NeighborGraph, dim: int) -> None:
    """Raise unless quadratic charts of the dimension can be fitted to the graph's neighbours.

    Raises:
        InputError: no points, a metric that is not Euclidean, dim outside 1..D - 1, or too few
            neighbours for dim.
    """
    if graph.metric not in ("euclidean", "precomputed"):
        raise InputError(
            f"shape is measured in Euclidean coordinates; the graph's metric is {graph.metric}: "
            "build it with metric='euclidean', on unit vectors where directions are meant"
        )
    width = graph.points.shape[1]
    if width == 0:
        raise InputError(
            "the graph has distances only; pass points= where it is made, the shape needs them"
        )
    if not 1 <= dim < width:
        raise InputError(f"dim must lie in 1..D - 1 = {width - 1}, not be {dim}")
    if graph.k < fewest_neighbors(dim):
        raise InputError(
            f"quadratic charts of dimension {dim} need k >= {fewest_neighbors(dim)} neighbours a "
            f"point; the graph has {graph.k}"
        )


def chosen_rows(graph: NeighborGraph, rows: ArrayLike | None) -> NDArray[np.int64]:
    """The rows (m,) that were asked for, all by default.

    Raises:
        InputError: no list of indices in 0..n - 1.
    """
    if rows is None:
        return np.arange(graph.n)
    chosen = np.asarray(rows)
    if chosen.ndim != 1 or (len(chosen) and chosen.dtype.kind not in "iu"):
        raise InputError(
            f"rows have shape {chosen.shape} and dtype {chosen.dtype}; give a list of indices"
        )
    if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < graph.n:
        raise InputError(
            f"rows run from {chosen.min()} to {chosen.max()}; they must lie in 0..{graph.n - 1}"
        )
    return chosen.astype(np.int64)


def quadratic_charts(
    graph: NeighborGraph, dim: int, rows: NDArray[np.int64]
) -> Iterator[tuple[slice, Charts]]:
    """Charts of the rows in pieces that fit the memory budget, each with its place in `rows`.

    Cost a point: a symmetric eigenproblem of size min(k + 1, D), and O(k p^2 + k p min(k, D)) for
    p coefficients; O(k^2 D) where D > k.
    """
    size, width = graph.k + 1, graph.points.shape[1]
    axes = min(size, width)
    p = coefficients(dim)
    held = 8 * (2 * size * width + axes * width + 3 * size * p + 5 * size * axes + 4 * p * axes)
    for part in row_chunks(len(rows), held, _BUDGET):
        yield part, _fit(graph, dim, rows[part])


def _fit(graph: NeighborGraph, dim: int, rows: NDArray[np.int64]) -> Charts:
    patch = patch_offsets(graph.points, rows, graph.indices[rows])
    radius = np.sqrt(np.einsum("mki,mki->mk", patch, patch).max(axis=1))
    patch /= np.where(radius > 0, radius, 1)[:, None, None]
    points, span = own_axes(patch)
    size, dims = points.shape[1], coefficients(dim)
    found = quadratic_fit(points, dim, _TURNS)
    u, design, fit, inverse = found.u, found.design, found.fit, found.inverse
    extent = np.sqrt((u**2).mean(axis=1).min(axis=1))
    solve = inverse @ design.swapaxes(1, 2)
    residual = found.residual()
    leverage = np.einsum("mkp,mpk->mk", design, solve)
    # Higher orders: what the quadratic takes for its own of them, and what it leaves.
    higher = _higher(u, size - dims - _ROOM)
    aliased = solve @ higher
    outside = higher - design @ aliased
    weight, also = gram_inverse(outside.swapaxes(1, 2) @ outside)
    pull = weight @ outside.swapaxes(1, 2)
    left = outside @ (pull @ residual)
    terms = higher.shape[2]
    variance = ((residual - left) ** 2).sum(axis=(1, 2)) / (size - dims - terms)
    moved = aliased @ pull
    drift = moved @ residual
    trust = _trust(drift, (moved**2).sum(axis=2) * variance[:, None], dim)
    last = trust[:, -1]
    leverage += last[:, None] * np.einsum("mkt,mtk->mk", outside, pull)
    trust = trust[:, :, None]
    return Charts(
        rows, span, radius, found.frame,
        solve - trust * moved,
        fit - trust * drift,
        (1 - (1 - _DOUBT) * trust) * drift,
        residual - last[:, None, None] * left,
        leverage, size - dims - last * terms, found.decided & also & (extent > _THIN),
    )  # fmt: skip


def _trust(drift: Array, noise: Array, dim: int) -> Array:
    """(m, p) share of the drift that noise does not explain: of value, gradient and Hessian."""
    trust = np.empty_like(noise)
    for order in (slice(0, 1), slice(1, 1 + dim), slice(1 + dim, None)):
        seen = np.maximum((drift[:, order] ** 2).sum(axis=(1, 2)), 1e-300)
        trust[:, order] = np.maximum(1 - 2 * noise[:, order].sum(axis=1) / seen, 0)[:, None]
    return trust


def _higher(u: Array, room: int) -> Array:
    """(m, K, t) functions of u (m, K, d) beyond a quadratic, the more the more points there are.

    At least |u|^2 u_i and |u|^4, what a one-sided and what a round patch bends by; with room all
    cubics; with more |u|^2 u_i u_j, which bends each direction by itself.
    """
    dim = u.shape[2]
    square = (u**2).sum(axis=2, keepdims=True)
    first, second, third = np.array(list(combinations_with_replacement(range(dim), 3))).T
    row, column = np.triu_indices(dim)
    cubic, quartic = square * u, square**2
    if len(first) + 1 <= room:
        cubic = u[:, :, first] * u[:, :, second] * u[:, :, third]
    if len(first) + len(row) <= room:
        quartic = square * u[:, :, row] * u[:, :, column]
    return np.concatenate([cubic, quartic], axis=2)
