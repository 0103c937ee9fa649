"""What one patch of neighbours says about its centre: one-sidedness, distance from a smooth sheet.

A patch is a point and its k nearest neighbours in units of its radius h, the distance to the
furthest one. It is written as a quadratic over its tangent space by least squares; what that leaves
is noise, higher orders of a smooth shape, or no smooth shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.core.chunking import row_chunks
from immersion.measure.singular.voids import largest_caps
from immersion.sampled.shape.quadratic import (
    coefficients,
    hessians,
    own_axes,
    patch_offsets,
    quadratic_fit,
)

if TYPE_CHECKING:
    from immersion.sampled.graph import NeighborGraph

    Array = NDArray[np.float64]

_BUDGET = 1 << 28
_LOCAL = 8
"""Fewest neighbours whose distance gives a density."""

_TURNS = 2
"""Turns of the frame."""


def fewest_for(dim: int) -> int:
    """Neighbours a patch of the dimension needs at least: half as many again as coefficients.

    Example:
        >>> [fewest_for(d) for d in (1, 2, 3, 6)]
        [8, 12, 16, 42]
    """
    return max(coefficients(dim) * 3 // 2, coefficients(dim) + 5, 4 * (dim + 1))


@dataclass(frozen=True, eq=False)
class Patches:
    """What the patches of n points say, at one number of neighbours.

    Attributes:
        k: neighbours of a patch.
        dims: (n,) dimension of each chart.
        decided: (n,) whether the neighbours determine the chart.
        radius: (n,) h.
        residual: (n,) mean square distance off the quadratic over all normal axes, in h^2, free of
            the fit's own degrees of freedom.
        centre: (n,) squared distance of the point off the quadratic that its neighbours alone give,
            in h^2, times 1 - leverage, so that its mean is that of `residual`.
        bend: (n,) h times the greatest normal curvature of the chart.
        slope: (n,) mean square slope of the chart over its neighbours, summed over all axes; the
            share of noise in it subtracted.
        extent: (n,) least extent of the neighbours in any tangent direction, in h.
        thinning: (n,) slope of the log density in that direction, per h; negative where it falls.
        outward: (n, D) that direction, a unit vector, or (n, 0) where it was not wanted.
    """

    k: int
    dims: NDArray[np.int64]
    decided: NDArray[np.bool_]
    radius: Array
    residual: Array
    centre: Array
    bend: Array
    slope: Array
    extent: Array
    thinning: Array
    outward: Array

    @property
    def freedom(self) -> NDArray[np.int64]:
        """(n,) neighbours beyond the coefficients of each fit."""
        terms = [coefficients(d) for d in range(int(self.dims.max()) + 1)]
        return self.k + 1 - np.array(terms)[self.dims]

    def residual_length(self) -> Array:
        """(n,) root of `residual` in the units of the points."""
        return self.radius * np.sqrt(self.residual)


def measure_patches(
    graph: NeighborGraph,
    scales: tuple[int, ...],
    dims: NDArray[np.int64],
    *,
    directions: bool = False,
) -> tuple[Patches, ...]:
    """Patches of all points at each number of neighbours, charts of dimension `dims[i]` at point i.

    The directions `outward` are kept only on demand: they are as large as the points.

    Cost a point: k^2 D flops and a symmetric eigenproblem of size k where D > k, for the largest k;
    then O(k p^2) and 4 k^2 d a scale, for p coefficients.
    """
    n, width = graph.points.shape
    nan = np.full(n, np.nan)
    none = np.zeros(n, np.bool_)
    found = tuple(
        Patches(
            k, dims, none.copy(), nan.copy(), nan.copy(), nan.copy(), nan.copy(), nan.copy(),
            nan.copy(), nan.copy(), np.zeros((n, width if directions else 0)),
        )
        for k in scales
    )  # fmt: skip
    volume = _log_volumes(graph, max(scales))
    for dim in np.unique(dims):
        rows = np.flatnonzero(dims == dim).astype(np.int64)
        p = coefficients(int(dim))
        size = max(scales) + 1
        axes = min(size, width)
        held = 8 * size * (2 * width + 3 * axes + 3 * p)
        for part in row_chunks(len(rows), held, _BUDGET):
            near = graph.indices[rows[part], : max(scales)]
            points, span = own_axes(patch_offsets(graph.points, rows[part], near))
            for at in found:
                way = _fill(at, rows[part], points[:, : at.k + 1], span, int(dim))
                # All scales read the density off the widest patch, which a void spans least of.
                along = np.einsum("mkr,mr->mk", points, way)
                along -= along.mean(axis=1, keepdims=True)
                own = np.concatenate([volume[rows[part], None], volume[near]], axis=1)
                density = -int(dim) * own
                fall = (along * density).sum(axis=1)
                spread = np.maximum((along**2).sum(axis=1), 1e-300)
                at.thinning[rows[part]] = at.radius[rows[part]] * fall / spread
    return found


def _log_volumes(graph: NeighborGraph, k: int) -> Array:
    """(n,) log distance to the neighbour of rank k / 4: the density of few neighbours is local."""
    near = graph.distances[:, max(1, min(k, max(_LOCAL, k // 4))) - 1].astype(np.float64)
    apart = near[near > 0]
    least = 1e-3 * float(np.median(apart)) if len(apart) else 1.0
    return np.log(np.maximum(near, least))


def local_spectra(
    x: NDArray[np.floating], rows: NDArray[np.int64], near: NDArray[np.int64], most: int
) -> Array:
    """(m, most) largest variances of patches about their means, in descending order.

    Zeros beyond min(k, D).

    Args:
        x: (n, D) points.
        rows: (m,) centres.
        near: (m, k) their neighbours.
        most: variances wanted.
    """
    k, width = near.shape[1], x.shape[1]
    found = np.zeros((len(rows), most))
    for part in row_chunks(len(rows), 16 * (k + 1) * (width + k), _BUDGET):
        points = patch_offsets(x, rows[part], near[part])
        points -= points.mean(axis=1, keepdims=True)
        points /= np.maximum(np.abs(points).max(axis=(1, 2), keepdims=True), 1e-300)
        small = points.swapaxes(1, 2) @ points if width <= k else points @ points.swapaxes(1, 2)
        values = np.linalg.eigvalsh(small)[:, ::-1]
        kept = min(most, values.shape[1])
        found[part, :kept] = np.maximum(values[:, :kept], 0)
    return found


def _fill(found: Patches, rows: NDArray[np.int64], points: Array, span: Array, dim: int) -> Array:
    """Fill in the rows; the direction (m, r) of their largest caps."""
    radius = np.sqrt(np.einsum("mki,mki->mk", points, points).max(axis=1))
    points = points / np.where(radius > 0, radius, 1)[:, None, None]
    chart = quadratic_fit(points, dim, _TURNS)
    frame, design, inverse, fit = chart.frame, chart.design, chart.inverse, chart.fit
    left = chart.residual()
    pull = design[:, 0]
    leverage = np.einsum("mp,mpq,mq->m", pull, inverse, pull)
    form = hessians(fit, dim)
    squares = np.einsum("mijr,mjlr->mil", form, form)
    u = chart.u[:, 1:]
    extent, outward = largest_caps(_lengthened(u, points[:, 1:]))
    variance = (left**2).sum(axis=(1, 2)) / (found.k + 1 - design.shape[2])
    # The slope of a chart is H u for Hessians H; the errors of its coefficients tilt it as well.
    spread = u.swapaxes(1, 2) @ u / found.k
    turned = hessians(np.eye(design.shape[2]), dim)[:, :, 1 + dim :]
    pairs = np.einsum("ijp,mjl,liq->mpq", turned, spread, turned, optimize=True)
    blurred = np.einsum("mpq,mpq->m", pairs, inverse[:, 1 + dim :, 1 + dim :])
    decided = chart.decided & (radius > 0)

    def known(values: Array) -> Array:
        return np.where(decided, values, np.nan)

    found.decided[rows] = decided
    found.radius[rows] = radius
    found.residual[rows] = known(variance)
    found.centre[rows] = known((left[:, 0] ** 2).sum(axis=1) / np.maximum(1 - leverage, 1e-3))
    found.bend[rows] = known(np.sqrt(np.maximum(np.linalg.eigvalsh(squares)[:, -1], 0)))
    found.slope[rows] = known(np.einsum("mij,mji->m", squares, spread) - variance * blurred)
    found.extent[rows] = known(extent)
    inner = np.einsum("mrd,md->mr", frame, outward)
    if found.outward.shape[1]:
        found.outward[rows] = np.einsum("mr,mrD->mD", inner, span)
    return inner


def _lengthened(u: Array, offsets: Array) -> Array:
    """Tangent coordinates with the lengths of the offsets: a bent ball is full to its rim."""
    flat = np.sqrt((u**2).sum(axis=2))
    whole = np.sqrt((offsets**2).sum(axis=2))
    return u * (whole / np.where(flat > 0, flat, 1))[:, :, None]
